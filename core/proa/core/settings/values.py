"""Kinds of values that a setting can have: how each is checked, described to a person, and narrowed by a release.

A kind accepts what is listed for it and nothing else. The daemons behind the files ignore in silence what they do not
understand, so that nothing doubtful may reach them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

Value = bool | int | str | Sequence[int] | Sequence[str] | Mapping[str, str]
"""What a document can hold for a key."""
MAX_TEXT: Final = 1024
"""Characters of a text."""


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
    """A fixed number of whole numbers that do not fall, as ``net.ipv4.tcp_rmem`` has them.

    Attributes:
        count: How many.
        each: What each can be.
        apart: By how much the last one exceeds the first one at least.
    """

    count: int
    each: Whole
    apart: int = 0

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        apart = f", the last one at least {self.apart} above the first one" if self.apart else ""
        return f"a list of {self.count} numbers in ascending order, each {self.each.allowed}{apart}"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return (
            isinstance(value, list | tuple)
            and len(value) == self.count
            and all(self.each.fits(one) for one in value)
            and list(value) == sorted(value)
            and value[-1] - value[0] >= self.apart
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
    """Values under certain names, each of a kind of its own."""

    kinds: Mapping[str, Kind]

    @classmethod
    def each(cls, names: Iterable[str], kind: Kind) -> MapOf:
        """Values of one kind under certain names."""
        return cls(dict.fromkeys(names, kind))

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        names: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            names.setdefault(kind.allowed, []).append(name)
        each = "; ".join(f"{', '.join(found)}: {what}" for what, found in names.items())
        return f"a table with {each}"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return (
            isinstance(value, Mapping)
            and bool(value)
            and all(k in self.kinds and self.kinds[k].fits(v) for k, v in value.items())
        )

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {
            "type": "object",
            "properties": {name: kind.schema() for name, kind in self.kinds.items()},
            "additionalProperties": False,
            "minProperties": 1,
        }
