"""The kinds of values that a setting can have: each checks, says what is allowed, and knows its JSON schema."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

_UNITS: Final[Mapping[str, int]] = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"(\d{1,12}) ?(KiB|MiB|GiB|TiB)")
_SECONDS: Final[Mapping[str, int]] = {"s": 1, "min": 60, "h": 3600}
_DURATION = re.compile(r"(\d{1,9}) ?(s|min|h)")


class Refused(ValueError):  # noqa: N818 -- what a kind says to a value
    """A value that a kind does not allow; its text says why, without naming the setting."""


class ValueKind(Protocol):
    """A kind of value."""

    @property
    def allowed(self) -> str:
        """What is allowed, as it stands in an error and in the reference page."""
        ...

    @property
    def schema(self) -> dict[str, Any]:
        """The same as JSON schema (draft 2020-12)."""
        ...

    def read(self, value: object) -> Any:
        """The value as the builder uses it.

        Raises:
            Refused: The value is not allowed.
        """
        ...


@dataclass(frozen=True)
class Text:
    """A string that matches a pattern as a whole."""

    pattern: str = r"[^\x00]*"
    what: str = "a text"

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return self.what

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}

    def read(self, value: object) -> str:
        """See :class:`Kind`."""
        if not isinstance(value, str):
            raise Refused(f"{_show(value)} is not a string")
        if not re.fullmatch(self.pattern, value, re.DOTALL):
            raise Refused(f"{_show(value)} is not {self.what}")
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return (
            "one of " + ", ".join(f'"{word}"' for word in self.words) if len(self.words) > 1 else f'"{self.words[0]}"'
        )

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"enum": list(self.words)}

    def read(self, value: object) -> str:
        """See :class:`Kind`."""
        if value in self.words:
            return str(value)
        near = difflib.get_close_matches(value, self.words, 1) if isinstance(value, str) else []
        raise Refused(f"{_show(value)} is not {self.allowed}" + (f"; did you mean {_show(near[0])}?" if near else ""))


@dataclass(frozen=True)
class Number:
    """A whole number within bounds, or one of a few."""

    low: int
    high: int
    only: tuple[int, ...] = ()

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        if self.only:
            return "one of " + ", ".join(str(number) for number in self.only)
        return f"a number from {self.low} to {self.high}"

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        if self.only:
            return {"enum": list(self.only)}
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def read(self, value: object) -> int:
        """See :class:`Kind`."""
        if type(value) is int and (value in self.only if self.only else self.low <= value <= self.high):
            return value
        raise Refused(f"{_show(value)} is not {self.allowed}")


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return "true or false"

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "boolean"}

    def read(self, value: object) -> bool:
        """See :class:`Kind`."""
        if isinstance(value, bool):
            return value
        raise Refused(f"{_show(value)} is not {self.allowed}")


@dataclass(frozen=True)
class Size:
    """A number of bytes: ``"512 MiB"``, or a whole number."""

    low: int
    high: int = 1 << 45
    step: int = 1 << 20
    """Bytes that the size must be a multiple of."""
    derived: bool = False
    """Whether 0 stands for a size that follows from what there is."""

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        size = f'a size such as "512 MiB", a multiple of {size_text(self.step)}, at least {size_text(self.low)}'
        return f"{size}, or 0" if self.derived else size

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {
            "anyOf": [
                {"type": "integer", "minimum": 0 if self.derived else self.low, "maximum": self.high},
                {"type": "string", "pattern": f"^{_SIZE.pattern}$"},
            ]
        }

    def read(self, value: object) -> int:
        """See :class:`Kind`."""
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        count = int(match[1]) * _UNITS[match[2]] if match else value
        low = 0 if self.derived and count == 0 else self.low
        if type(count) is not int or not low <= count <= self.high or count % self.step:
            raise Refused(f"{_show(value)} is not {self.allowed}")
        return count


@dataclass(frozen=True)
class Duration:
    """A span of time in seconds: ``"10 min"``, ``"90 s"``."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return f'a time such as "90 s", "10 min" or "1 h", from {self.low} s to {self.high} s'

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "pattern": f"^{_DURATION.pattern}$"}

    def read(self, value: object) -> int:
        """See :class:`Kind`."""
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = int(match[1]) * _SECONDS[match[2]] if match else -1
        if not self.low <= seconds <= self.high:
            raise Refused(f"{_show(value)} is not {self.allowed}")
        return seconds


@dataclass(frozen=True)
class Moment:
    """A point in time with its zone, in RFC 3339."""

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return 'a time such as "2027-01-31T12:00:00Z", or empty'

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string"}

    def read(self, value: object) -> str:
        """See :class:`Kind`."""
        if value == "":
            return ""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise Refused(f"{_show(value)} is not {self.allowed}")
        return moment.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Listing:
    """A list of values of one kind, none of them twice."""

    of: ValueKind
    least: int = 0
    """How many there must be."""

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return f"a list{f' of at least {self.least}' if self.least else ''}, each {self.of.allowed}"

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "array", "items": self.of.schema, "minItems": self.least}

    def read(self, value: object) -> tuple[Any, ...]:
        """See :class:`Kind`; the whole list at once, without places (the checker reads item by item)."""
        if not isinstance(value, list):
            raise Refused(f"{_show(value)} is not a list")
        return tuple(self.of.read(item) for item in value)


def size_text(count: int) -> str:
    """Bytes as the largest unit that divides them: ``512 MiB``."""
    for unit, factor in reversed(list(_UNITS.items())):
        if count and count % factor == 0:
            return f"{count // factor} {unit}"
    return str(count)


def seconds_text(count: int) -> str:
    """Seconds as the largest unit that divides them: ``10 min``."""
    return next(f"{count // size} {unit}" for unit, size in reversed(list(_SECONDS.items())) if count % size == 0)


def _show(value: object) -> str:
    try:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
    except RecursionError:  # dotted keys nest as deep as they like
        return "a value that is nested this deeply"
    return text if len(text) <= 80 else text[:76] + '..."'
