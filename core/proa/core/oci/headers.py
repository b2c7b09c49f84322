"""Fields of HTTP as their grammar has them (RFC 9110), from servers that write them as they like.

Everything here takes time in proportion to a field's length, and refuses what is longer than any server needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_FIELD: Final = 16 * 1024
"""Characters of a field beyond which nothing of it is read."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|\Z))")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
_EQUALS: Final = re.compile(r"[ \t]*=[ \t]*")
_LINK: Final = re.compile(r'<([^<>]*)>((?:[^,"<]|"[^"]*")*)')
_RELATION: Final = re.compile(r';[ \t]*rel[ \t]*=[ \t]*("[^"]*"|[^",; \t]+)', re.I)
_GAP: Final = re.compile(r"[ \t,]*")
_SPACE: Final = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Challenge:
    """One way to log in that a server offers (RFC 9110, section 11.6.1).

    Attributes:
        scheme: Its name, in lower case.
        parameters: Its parameters, names in lower case; of one that stands there twice, the first.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(text: str) -> list[Challenge]:
    """What a ``WWW-Authenticate`` field offers, up to the first place that goes against the grammar."""
    found: list[tuple[str, dict[str, str]]] = []
    for scheme, name, value in _elements(text if len(text) <= MAX_FIELD else ""):
        if scheme:
            found.append((scheme.lower(), {}))
        if name and found:
            found[-1][1].setdefault(name.lower(), value)
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def media_type(text: str | None) -> str:
    """The type of a ``Content-Type``, in lower case and without parameters (RFC 9110, section 8.3.1)."""
    return (text or "").partition(";")[0].strip().lower()


def next_link(text: str | None) -> str:
    """Where a ``Link`` field says that the next page is (RFC 8288, section 3), as it was sent; empty if nowhere."""
    for link in _LINK.finditer((text or "")[:MAX_FIELD]):
        relation = _RELATION.search(link[2])
        if relation and "next" in relation[1].strip('"').lower().split():
            return link[1].strip()
    return ""


def date(text: str | None) -> datetime | None:
    """A date of HTTP (RFC 9110, section 5.6.7); none if it is not there or none that a calendar has."""
    try:
        found = parsedate_to_datetime((text or "").strip()[:100])
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _elements(text: str) -> Iterator[tuple[str, str, str]]:
    """The elements of the list of challenges: a scheme, or none where one goes on; a parameter, if there is one."""
    at = _skip(_GAP, text, 0)
    while word := _TOKEN.match(text, at):
        scheme, name = word[0], ""
        if _EQUALS.match(text, word.end()):
            scheme = ""
        else:
            at = _skip(_SPACE, text, word.end())
            if lone := _TOKEN68.match(text, at) if at > word.end() else None:
                yield scheme, "", ""
                at = _skip(_GAP, text, lone.end())
                continue
            next_word = _TOKEN.match(text, at) if at > word.end() else None
            if next_word is None:
                yield scheme, "", ""
                if at < len(text) and text[at] != ",":
                    return
                at = _skip(_GAP, text, at)
                continue
            word = next_word
        name = word[0]
        value = _value(text, word.end())
        if value is None:
            if scheme:
                yield scheme, "", ""
            return
        yield scheme, name, value[0]
        if value[1] < len(text) and text[value[1]] not in " \t,":
            return
        at = _skip(_GAP, text, value[1])


def _value(text: str, at: int) -> tuple[str, int] | None:
    """A parameter's value that begins with its equals sign, and where it ends."""
    equals = _EQUALS.match(text, at)
    if not equals:
        return None
    if quoted := _QUOTED.match(text, equals.end()):
        return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.S), quoted.end()
    plain = _TOKEN.match(text, equals.end())
    return (plain[0], plain.end()) if plain else None


def _skip(what: re.Pattern[str], text: str, at: int) -> int:
    found = what.match(text, at)
    return found.end() if found else at
