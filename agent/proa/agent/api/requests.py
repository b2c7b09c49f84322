"""What may stand in the body of a request: named fields of known types, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from proa.agent.install.order import Activation, InstallOrder
from proa.agent.node.settings import RegistrySettings
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import TRIES_MAX

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class InstallRequest:
    """The body of ``POST /v1/install``."""

    reference: str
    activate: bool = False
    reboot: bool = False
    tries: int = TRIES_MAX
    plain_http: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    auth_file: str = ""

    def order(self, defaults: RegistrySettings) -> InstallOrder:
        """What it asks for, ``registry.toml`` standing in for what it does not say."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if name in _REGISTRY and value}
        activation = Activation(self.activate, self.reboot, self.tries)
        return InstallOrder(self.reference, activation, dataclasses.replace(defaults, **given))

    def body(self) -> dict[str, Any]:
        """The request as JSON."""
        return dataclasses.asdict(self)


_REGISTRY = {field.name for field in dataclasses.fields(RegistrySettings)}


@dataclass(frozen=True)
class ActivateRequest:
    """The body of ``POST /v1/activate``."""

    tries: int = TRIES_MAX
    reboot: bool = False


@dataclass(frozen=True)
class RollbackRequest:
    """The body of ``POST /v1/rollback``."""

    reboot: bool = False


@dataclass(frozen=True)
class ScrubRequest:
    """The body of ``POST /v1/scrub``; an empty slot is the running one."""

    slot: str = ""


@dataclass(frozen=True)
class CancelRequest:
    """The body of ``POST /v1/cancel``; 0 is whatever is under way."""

    job: int = 0


@dataclass(frozen=True)
class EmptyRequest:
    """The body of the requests that have nothing to say."""


def read_request(kind: type[_Kind], body: Mapping[str, Any]) -> _Kind:
    """The request that a JSON object is.

    Raises:
        ProaError: ``USAGE``, with the field in ``at``.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # all are dataclasses
    for name, value in body.items():
        if name not in fields:
            raise ProaError(Code.USAGE, "there is no such field", at=name[:80])
        if type(value).__name__ != fields[name].type:
            raise ProaError(Code.USAGE, f"must be of type {fields[name].type}", at=name)
    missing = [name for name, one in fields.items() if one.default is dataclasses.MISSING and name not in body]
    if missing:
        raise ProaError(Code.USAGE, "a required field is missing", at=missing[0])
    return kind(**body)
