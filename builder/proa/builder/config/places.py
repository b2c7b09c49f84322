"""Where each key and value of a TOML text stands.

The standard library reads TOML but forgets the places. The text that is walked here has already been accepted by
it, so that the walk needs to know only how TOML 1.0 is written (https://toml.io/en/v1.0.0), not what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

Way = tuple[str | int, ...]
"""The way to a value: keys, and indexes into arrays."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # up to two quotation marks may stand right before the closing ones
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]+")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_SHORT: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


@dataclass
class Places:
    """Line and column, both from 1, of every key and of every value."""

    keys: dict[Way, tuple[int, int]] = field(default_factory=dict)
    values: dict[Way, tuple[int, int]] = field(default_factory=dict)

    def of(self, path: Way, *, key: bool = False) -> tuple[int, int]:
        """The place of the value at ``path`` (or of its key); of the nearest table around it if it is not there."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        while path:
            if path in first or path in second:
                return first[path] if path in first else second[path]
            path = path[:-1]
        return (1, 1)


def find(text: str) -> Places:
    """Walk a TOML text that is known to be valid."""
    return _Walk(text).walk()


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places = Places()
        self.counts: dict[Way, int] = {}
        """How many tables each array of tables has so far."""

    def walk(self) -> Places:
        table: Way = ()
        self.blank()
        while self.at < len(self.text):
            table = self.header() if self.text[self.at] == "[" else self.pair(table)
            self.blank()
        return self.places

    def blank(self) -> None:
        self.take(_BLANK)

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[0]

    def place(self, offset: int) -> tuple[int, int]:
        start = self.text.rfind("\n", 0, offset) + 1
        return (self.text.count("\n", 0, offset) + 1, offset - start + 1)

    def header(self) -> Way:
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        self.take(_SPACE)
        parts = list(self.parts())
        self.take(_SPACE)
        self.at += 2 if many else 1
        path: Way = ()
        for number, (name, offset) in enumerate(parts):
            path = (*path, name)
            self.places.keys.setdefault(path, self.place(offset))
            if many and number == len(parts) - 1:
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
                self.places.keys.setdefault(path, self.place(offset))
        return path

    def pair(self, table: Way) -> Way:
        path = table
        for name, offset in self.parts():
            path = (*path, name)
            self.places.keys.setdefault(path, self.place(offset))
        self.blank()
        self.at += 1  # the equals sign
        self.blank()
        self.value(path)
        return table

    def parts(self) -> Iterator[tuple[str, int]]:
        while True:
            offset = self.at
            yield (self.take(_BARE) or _unquote(self.take(_STRING))), offset
            if not self.take(_DOT):
                return

    def value(self, path: Way) -> None:
        self.places.values[path] = self.place(self.at)
        match self.text[self.at]:
            case "[":
                self.items(path, "]")
            case "{":
                self.items(path, "}")
            case '"' | "'":
                self.take(_STRING)
            case _:
                self.take(_SCALAR)

    def items(self, path: Way, end: str) -> None:
        """The items of an array, or the pairs of an inline table."""
        self.at += 1
        number = 0
        while True:
            self.blank()
            if self.text[self.at] == end:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif end == "}":
                self.pair(path)
            else:
                self.value((*path, number))
                number += 1


def _unquote(quoted: str) -> str:
    if quoted.startswith("'"):
        return quoted[1:-1]

    def plain(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _SHORT.get(match[3], match[3])

    return _ESCAPE.sub(plain, quoted[1:-1])
