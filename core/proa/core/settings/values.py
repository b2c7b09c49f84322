"""Kinds of values that a setting can have: how each is checked, described to a person, and narrowed by a release.

A kind accepts what is listed for it and nothing else. The daemons behind the files ignore in silence what they do not
understand, so that nothing doubtful may reach them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

Value = bool | int | str | Sequence[int] | Sequence[str] | Mapping[str, str]
"""What a document can hold for a key."""
MAX_TEXT: Final = 1024
"""Characters of a text."""
_QUANTITY: Final = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi|Ti|k|M|G|T)?")
_PERCENT: Final = re.compile(r"[1-9]?[0-9]%")
_DURATION: Final = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?")
_SECRET: Final = re.compile(
    r"-----BEGIN|\b(?:eyJ[A-Za-z0-9_-]{8,}\.|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-)|://[^/@\s]*:[^/@\s]*@"
)
"""Private keys, JSON web tokens, well-known access tokens, and passwords in URLs."""


class Kind(Protocol):
    """A kind of value."""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        ...

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        ...

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema (2020-12)."""
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number between two others, both included."""

    low: int
    high: int
    unit: str = ""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"{self.low} to {self.high} {self.unit}".rstrip()

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def narrowed(self, low: int | None, high: int | None) -> Whole:
        """The same with narrower limits."""
        lowest = self.low if low is None else max(self.low, low)
        return replace(self, low=lowest, high=self.high if high is None else min(self.high, high))


@dataclass(frozen=True)
class Wholes:
    """A fixed number of whole numbers that do not fall, as ``net.ipv4.tcp_rmem`` has them."""

    count: int
    each: Whole

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"a list of {self.count} numbers in ascending order, each {self.each.allowed}"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return (
            isinstance(value, list | tuple)
            and len(value) == self.count
            and all(self.each.fits(one) for one in value)
            and list(value) == sorted(value)
        )

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "array", "items": self.each.schema(), "minItems": self.count, "maxItems": self.count}


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    among: tuple[str | bool, ...]

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return " or ".join(str(one).lower() if isinstance(one, bool) else repr(one) for one in self.among)

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted; 1 is not true."""
        return any(type(value) is type(one) and value == one for one in self.among)

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"enum": list(self.among)}


FLAG: Final = Choice((True, False))


@dataclass(frozen=True)
class Text:
    """A text of a certain form, on one line."""

    pattern: str
    what: str
    longest: int = MAX_TEXT

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return self.what

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return isinstance(value, str) and len(value) <= self.longest and re.fullmatch(self.pattern, value) is not None

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "maxLength": self.longest}


@dataclass(frozen=True)
class Address:
    """An IP address, version 4 or 6, without a zone."""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "an IP address"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        if not isinstance(value, str) or "%" in value:
            return False
        try:
            ipaddress.ip_address(value)
        except ValueError:
            return False
        return True

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}], "maxLength": 45}


@dataclass(frozen=True)
class Lines:
    """The content of a small text file: printable characters, tabs and line ends."""

    longest: int = 4096

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"a text of at most {self.longest} bytes without control characters"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return (
            isinstance(value, str)
            and len(value.encode(errors="surrogatepass")) <= self.longest
            and all(one.isprintable() or one in "\n\t" for one in value)
        )

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "maxLength": self.longest}


@dataclass(frozen=True)
class Duration:
    """A length of time as Go writes it: ``1h30m``, ``45s``."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"a duration such as '5m' or '1h30m', {self.low} to {self.high} seconds"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if found is None:
            return False
        hours, minutes, seconds = (int(one or 0) for one in found.groups())
        return self.low <= 3600 * hours + 60 * minutes + seconds <= self.high

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": f"^(?=.){_DURATION.pattern}$"}


@dataclass(frozen=True)
class Amount:
    """A quantity of bytes as Kubernetes writes it (``100Mi``), a count, or a part of the whole (``10%``)."""

    percent: bool = False

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "a quantity such as '500Mi'" + (" or a percentage such as '10%'" if self.percent else "")

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        if not isinstance(value, str):
            return False
        return _QUANTITY.fullmatch(value) is not None or (self.percent and _PERCENT.fullmatch(value) is not None)

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        either = f"(?:{_QUANTITY.pattern})" + (f"|(?:{_PERCENT.pattern})" if self.percent else "")
        return {"type": "string", "pattern": f"^(?:{either})$"}


@dataclass(frozen=True)
class ListOf:
    """Some values of a kind, none of them twice."""

    each: Kind
    most: int

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"a list of at most {self.most}, each {self.each.allowed}"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return (
            isinstance(value, list | tuple)
            and 0 < len(value) <= self.most
            and all(self.each.fits(one) for one in value)
            and len(set(value)) == len(value)
        )

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "array", "items": self.each.schema(), "minItems": 1, "maxItems": self.most, "uniqueItems": True}


@dataclass(frozen=True)
class MapOf:
    """Values of a kind under certain names."""

    names: tuple[str, ...]
    each: Kind

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"a table with {', '.join(self.names)}, each {self.each.allowed}"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return (
            isinstance(value, Mapping)
            and bool(value)
            and all(k in self.names and self.each.fits(v) for k, v in value.items())
        )

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {
            "type": "object",
            "properties": {name: self.each.schema() for name in self.names},
            "additionalProperties": False,
            "minProperties": 1,
        }


def looks_secret(value: Any) -> bool:
    """Whether a value, or a part of it, looks like a key, a token or a password."""
    if isinstance(value, Mapping):
        return any(looks_secret(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(looks_secret(one) for one in value)
    return isinstance(value, str) and _SECRET.search(value) is not None
