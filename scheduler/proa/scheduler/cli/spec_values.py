"""Values of ``start`` that are more than one word: groups of nodes, pods that may finish, queries to Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from proa.core.runtime import duration
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.schema.model import document
from proa.core.settings.document import parse
from proa.scheduler.planning.settings_aim import wrong_settings
from proa.scheduler.spec import selectors

GROUP: Final = "NAME:LABELS[:SOAK]"
WAIT_FOR: Final = "LABELS:TIME"
ALERT: Final = "NAME=QUERY"


class SpecValue(click.ParamType):  # type: ignore[type-arg]  # generic in click 8.2 only
    """A value that is read by a function, and whose errors are told as those of a command line.

    In an environment variable, several of them stand on a line each.
    """

    envvar_list_splitter = "\n"

    def __init__(self, shape: str, read: Callable[[str], Any]) -> None:
        self.name = shape
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, of which nothing is left where it is empty."""
        try:
            return self._read(value) if value.strip() else {}
        except ProaError as error:
            self.fail(error.message, param, ctx)


def listed(_: click.Context, __: click.Parameter, values: tuple[Any, ...]) -> list[Any] | None:
    """Values of an option that may be repeated: none if it is not given, no values where an empty one is."""
    return [value for value in values if value] if values else None


def group(said: str) -> dict[str, Any]:
    """A group of nodes: its name, which nodes, and how long they must stay healthy."""
    name, labels, soak = _parts(said, GROUP, 2, 3)
    return {"name": name, "nodeSelector": _selector(labels)} | ({"soak": _span(soak)} if soak else {})


def settings(said: str) -> dict[str, Any]:
    """The settings in a file, which some release could allow.

    Raises:
        ProaError: ``SETTINGS_INVALID``, ``SETTINGS_REFUSED`` with all that no release can allow, ``FILE_MISSING``.
    """
    path = Path(said)
    with os_errors(path):
        found = parse(path.read_bytes(), path)
    wanted: dict[str, Any] = json.loads(found.canonical())
    if wrong := wrong_settings(wanted):
        raise ProaError(Code.SETTINGS_REFUSED, "; ".join(wrong), at=path)
    return wanted


def wait_for(said: str) -> dict[str, Any]:
    """Pods that may finish, and how long they may take."""
    labels, timeout, _ = _parts(said, WAIT_FOR, 2, 2)
    return {"selector": _selector(labels), "timeout": _span(timeout)}


def alert(said: str) -> dict[str, Any]:
    """A query to Prometheus, and its name."""
    name, _, query = (part.strip() for part in said.partition("="))
    if not name or not query:
        raise _wrong(said, ALERT)
    return {"name": name, "query": query}


def _parts(said: str, shape: str, fewest: int, most: int) -> list[str]:
    """Three parts between colons, of which the last may be empty: names, labels and times have no colon in them."""
    found = [part.strip() for part in said.split(":")]
    if not fewest <= len(found) <= most or not all(found):
        raise _wrong(said, shape)
    return [*found, ""][:3]


def _selector(said: str) -> dict[str, Any]:
    return document(selectors.parse(said))


def _span(said: str) -> str:
    duration.parse(said)
    return said


def _wrong(said: str, shape: str) -> ProaError:
    return ProaError(Code.USAGE, f"{said!r} is not {shape}")
