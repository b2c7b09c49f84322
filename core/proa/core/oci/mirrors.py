"""Which mirrors a registry has: settings, light enough for code that talks to none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proa.core.oci.reference import Reference, parse
from proa.core.runtime.errors import Code, ProaError

MAX_MIRRORS: Final = 16
"""Mirrors of one registry."""
_PLAIN: Final = "http://"
_TLS: Final = "https://"


@dataclass(frozen=True)
class Mirror:
    """Another place for what a registry has.

    Attributes:
        host: The host, with its port if it has one.
        prefix: What stands before the name of each repository there; empty for nothing.
        plain_http: Whether it is spoken to without TLS.
    """

    host: str
    prefix: str = ""
    plain_http: bool = False

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host

    def reference(self, original: Reference) -> Reference:
        """What a reference means there."""
        name = f"{self.prefix}/{original.name}" if self.prefix else original.name
        return dataclasses.replace(original, host=self.host, name=name)


Mirrors = Mapping[str, tuple[Mirror, ...]]
"""The mirrors of each registry, in the order in which they are asked."""
NO_MIRRORS: Final[Mirrors] = {}


def read_mirrors(table: Mapping[str, object], at: object) -> Mirrors:
    """The mirrors that a table of settings names: a list of ``[http://]HOST[:PORT][/PREFIX]`` for each registry.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    return {_registry(host, at): _mirrors(found, f"{at}: mirrors.{host}") for host, found in table.items()}


def _registry(host: str, at: object) -> str:
    if _reference(host, at).host != host:
        raise ProaError(Code.CONFIG_VALUE, f"{host[:80]!r} is not a registry: write HOST[:PORT]", at=at)
    return host


def _mirrors(found: object, at: str) -> tuple[Mirror, ...]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found) or len(found) > MAX_MIRRORS:
        raise ProaError(Code.CONFIG_VALUE, f"it is not a list of at most {MAX_MIRRORS} mirrors", at=at)
    return tuple(_mirror(one, at) for one in found)


def _mirror(text: str, at: str) -> Mirror:
    plain = text.startswith(_PLAIN)
    found = _reference(text.removeprefix(_PLAIN if plain else _TLS).rstrip("/"), at)
    return Mirror(found.host, found.name.rpartition("/")[0], plain)


def _reference(place: str, at: object) -> Reference:
    """A place as a reference to some repository in it."""
    try:
        found = parse(f"{place}/any")
    except ProaError as error:
        raise ProaError(Code.CONFIG_VALUE, f"{place[:80]!r}: {error.message}", at=at) from error
    if found.tag or not found.host:
        raise ProaError(Code.CONFIG_VALUE, f"{place[:80]!r} is not a host", at=at)
    return found
