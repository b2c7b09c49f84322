"""The agent's settings: ``agent.toml`` and ``registry.toml``, of the release and then of the node's owner.

A key in ``/etc/proa`` stands over the same key in ``/usr/lib/proa``. Trust is not here: see ``policy``.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from proa.agent.node.boot import command_line
from proa.agent.node.paths import Paths
from proa.core.oci.access import Access
from proa.core.oci.limits import DEFAULT_LIMITS, TransferLimits
from proa.core.oci.mirrors import Mirrors, read_mirrors
from proa.core.orders.messages import LEAST_RATE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.parsing import toml_table

MAX_FILE: Final = 1 << 16
"""Bytes of a settings file beyond which it is refused."""
INITRD_DEADLINE: Final = 600.0
"""Seconds after which the initrd ends a trial that is not committed, where the command line says nothing else."""
MAX_GROUP: Final = (1 << 32) - 2
"""The highest number that a group can have."""
Table = TypeVar(
    "Table", "HealthSettings", "ClusterSettings", "CommitSettings", "LineSettings", "MirrorSettings", Access
)


@dataclass(frozen=True)
class HealthSettings:
    """The table ``[health]`` of ``agent.toml``."""

    deadline: float = 0.0
    """Seconds from the kernel's start by which a trial must be healthy, else the agent takes it back. 0 stands for
    nine tenths of the initrd's own deadline (``proa.deadline`` of the signed command line), which holds when there
    is no agent."""
    interval: float = 5.0
    """Seconds between two looks."""
    check_limit: float = 60.0
    """Seconds that one check may take."""
    units: tuple[str, ...] = ()
    """Units that must be active, besides that none may have failed."""
    ignore: tuple[str, ...] = ()
    """Units whose failure and restarts do not count."""
    seconds: float = 60.0
    """Seconds for which nothing may be wrong before the trial is committed, by whomever; at most half of the
    deadline."""

    def resolved(self, paths: Paths) -> HealthSettings:
        """The same with a deadline that is never 0, and seconds that fit into it."""
        deadline = self.deadline or 0.9 * _signed_deadline(paths)
        return dataclasses.replace(self, deadline=deadline, seconds=min(self.seconds, deadline / 2))


def _signed_deadline(paths: Paths) -> float:
    """Seconds of the initrd's own deadline."""
    signed = [word.partition("=")[2] for word in command_line(paths).split() if word.startswith("proa.deadline=")]
    return float(signed[-1]) if signed and signed[-1].isdecimal() else INITRD_DEADLINE


@dataclass(frozen=True)
class LineSettings:
    """The limits in ``registry.toml``: what the network between node and registry is like."""

    connect: float = DEFAULT_LIMITS.connect
    """Seconds for a connection to come up."""
    silence: float = DEFAULT_LIMITS.silence
    """Seconds without a byte of content after which a connection is given up."""
    answer: float = DEFAULT_LIMITS.answer
    """Seconds from a request to the end of its answer's head."""
    patience: float = DEFAULT_LIMITS.patience
    """Seconds for a transfer with all its tries, before what its size adds."""
    minimum_rate: float = DEFAULT_LIMITS.minimum_rate
    """Bytes a second below which a connection is given up for another one; a transfer's size adds time at this rate."""
    maximum_rate: float = DEFAULT_LIMITS.maximum_rate
    """Bytes a second that an install may fetch at; 0 for no limit."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = LEAST_RATE if name == "maximum_rate" else 1
            if value < least and (name, value) != ("maximum_rate", 0):
                what = f"{name} is {value:g}, but must be at least {least}"
                raise ProaError(Code.CONFIG_VALUE, what, at="registry.toml")


@dataclass(frozen=True)
class MirrorSettings:
    """The mirrors in ``registry.toml``."""

    mirrors: Mirrors = field(default_factory=dict)
    """The mirrors of each registry, in the order in which they are asked."""


class Commit(enum.Enum):
    """Who commits a trial."""

    CHECKS = "checks"
    """The agent, as soon as its health checks pass."""
    ORDER = "order"
    """The cluster: a healthy trial waits for the order, until its deadline."""


@dataclass(frozen=True)
class ClusterSettings:
    """The table ``[cluster]`` of ``agent.toml``."""

    group: int | None = None
    """The number of the group that may give orders; without one there is no order socket."""
    commit: Commit = Commit.CHECKS
    """Who commits a trial: ``checks`` or ``order``."""


@dataclass(frozen=True)
class CommitSettings:
    """The table ``[commit]`` of ``agent.toml``."""

    raises_floor: bool = False
    """Whether a commit raises the recorded floor to the release's serial, so that no way back is left below it."""


def health_settings(paths: Paths) -> HealthSettings:
    """The table ``[health]``, the owner's keys over the release's.

    Raises:
        ProaError: ``CONFIG_SYNTAX``, ``CONFIG_UNKNOWN_KEY`` or ``CONFIG_VALUE``, with the file in ``at``.
    """
    return _agent_settings(paths, "health", HealthSettings())


def cluster_settings(paths: Paths) -> ClusterSettings:
    """The table ``[cluster]``, the owner's keys over the release's.

    Raises:
        ProaError: as :func:`health_settings`.
    """
    return _agent_settings(paths, "cluster", ClusterSettings())


_REGISTRY: Final = (Access(), LineSettings(), MirrorSettings())
"""The tables whose keys ``registry.toml`` has."""


def registry_settings(paths: Paths) -> Access:
    """``registry.toml``: what ``install`` uses where its flags say nothing. The owner's keys over the release's.

    Raises:
        ProaError: as :func:`health_settings`.
    """
    return _registry_table(paths, Access())


def transfer_limits(paths: Paths) -> TransferLimits:
    """The limits of talking to a registry, from ``registry.toml`` too.

    Raises:
        ProaError: as :func:`health_settings`.
    """
    line = _registry_table(paths, LineSettings())
    return TransferLimits(**vars(line))


def registry_mirrors(paths: Paths) -> Mirrors:
    """The mirrors of registries, from ``registry.toml`` too.

    Raises:
        ProaError: as :func:`health_settings`.
    """
    return _registry_table(paths, MirrorSettings()).mirrors


def _registry_table(paths: Paths, result: Table) -> Table:
    """The keys of ``registry.toml`` that a table has; those of the others are left aside."""
    mine, theirs = set(vars(result)), {key for table in _REGISTRY for key in vars(table)}
    for file in (paths.usr / "registry.toml", paths.etc / "registry.toml"):
        document = _load(file)
        if unknown := sorted(set(document) - theirs):
            known = ", ".join(sorted(theirs))
            raise ProaError(Code.CONFIG_UNKNOWN_KEY, f"'{unknown[0]}' is not a setting; use one of: {known}", at=file)
        result = _over(result, {key: value for key, value in document.items() if key in mine}, file)
    return result


def commit_settings(paths: Paths) -> CommitSettings:
    """The table ``[commit]``; its default where it cannot be read: a commit must not fail for it."""
    try:
        return _agent_settings(paths, "commit", CommitSettings())
    except ProaError:
        return CommitSettings()


_TABLES: Final = ("health", "cluster", "commit")


def _agent_settings(paths: Paths, name: str, result: Table) -> Table:
    """One table of ``agent.toml``."""
    for file in (paths.usr / "agent.toml", paths.etc / "agent.toml"):
        document = _load(file)
        unknown = sorted(set(document) - set(_TABLES))
        if unknown:
            what = f"'{unknown[0]}' is not a table; use one of: {', '.join(_TABLES)}"
            raise ProaError(Code.CONFIG_UNKNOWN_KEY, what, at=file)
        result = _over(result, document.get(name, {}), file)
    return result


def _load(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with os_errors(file), file.open("rb") as opened:
        data = opened.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ProaError(Code.CONFIG_SYNTAX, f"more than {MAX_FILE} bytes", at=file)
    try:
        return toml_table(data.decode())
    except ValueError as error:
        raise ProaError(Code.CONFIG_SYNTAX, str(error), at=file) from error


def _over(table: Table, values: object, file: Path) -> Table:
    if not isinstance(values, dict):
        raise ProaError(Code.CONFIG_VALUE, "must be a table", at=file)
    kinds = typing.get_type_hints(type(table))
    for key, value in values.items():
        if key not in kinds:
            raise ProaError(
                Code.CONFIG_UNKNOWN_KEY, f"'{key}' is not a setting; use one of: {', '.join(kinds)}", at=file
            )
        change: dict[str, Any] = {key: _convert(kinds[key], value, f"{file}: {key}")}
        table = dataclasses.replace(table, **change)
    return table


def _convert(kind: object, value: object, at: str) -> object:
    """A TOML value as the field's type."""
    if kind is bool and isinstance(value, bool):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6:
        return float(value)
    if kind == (int | None):
        if type(value) is int and 1 <= value <= MAX_GROUP:
            return value
    elif kind == (Path | None) and isinstance(value, str):
        return Path(value) if value else None
    if kind is str and isinstance(value, str) and value.isprintable():
        return value
    if kind == Mirrors and isinstance(value, dict):
        return read_mirrors(value, at.partition(": ")[0])
    if kind is Commit and value in [one.value for one in Commit]:
        return Commit(value)
    if typing.get_origin(kind) is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    shown = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(str(value)[:80])
    raise ProaError(Code.CONFIG_VALUE, f"{shown} is not a valid value for this setting", at=at)
