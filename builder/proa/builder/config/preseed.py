"""Answers to debconf, as debconf-set-selections(1) reads them: what a line says, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proa.builder.config.near import did_you_mean

KINDS: Final = ("select", "multiselect", "string", "boolean", "note", "text", "title", "error")
"""Types of questions (debconf-devel(7)); passwords are refused."""
_SEEN: Final = "seen"


@dataclass(frozen=True)
class Answer:
    """A line.

    Attributes:
        line: Its number, from 1.
        question: The question's name.
        kind: Its type.
        value: The answer.
    """

    line: int
    question: str
    kind: str
    value: str


def answers(text: str) -> list[Answer]:
    """The answers of a text that has no :func:`mistakes`."""
    return [Answer(line, *words[1:]) for line, words in _lines(text) if words[2] != _SEEN]


def mistakes(text: str) -> Iterator[tuple[int, str, str]]:
    """What is wrong with a text: the line, what, and a hint."""
    for line, words in _lines(text):
        if len(words) < 3:
            yield line, "it is not OWNER QUESTION TYPE VALUE", "See debconf-set-selections(1)."
            continue
        kind, value = words[2], words[3]
        if kind == "password":
            what = "a password would be in the release, where everybody can read it"
            yield line, what, "Give it to the node by a systemd credential."
        elif kind not in (*KINDS, _SEEN):
            yield line, f"there is no type '{kind}'", did_you_mean(kind, KINDS)
        elif kind in ("boolean", _SEEN) and value not in ("true", "false"):
            yield line, f"'{value}' is neither true nor false", ""


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that say something, as owner, question, type and value; a backslash at the end continues one."""
    begun, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first or number
        if raw.endswith("\\"):
            begun += raw[:-1]
            continue
        line, start = (begun + raw).strip(), first
        begun, first = "", 0
        if line and not line.startswith("#"):
            words = line.split(None, 3)
            yield start, [*words, ""] if len(words) == 3 else words
