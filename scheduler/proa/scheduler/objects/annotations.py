"""What we write into annotations: our mark on a Node, and the record on a NodeOS, each a small JSON object as a text.

Anybody may edit an annotation. What cannot be read never stops the scheduler: a mark that is none counts as one of no
rollout that there is, so that its node counts as away until a person takes the annotation away; a record that is none
counts as not there, so that its node has its turn as if nothing had gone wrong.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final

from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.views import Mark, Record

_Key = tuple[str, Callable[[object], Any]]
"""A field, and how its value is read."""
UNREADABLE: Final = Mark("", "", datetime.fromtimestamp(0, UTC), cordoned=False, boot_id="")
"""What a mark that cannot be read counts as: no rollout has an empty name."""
_LAST_YEAR: Final = 2999
MAX_MESSAGE: Final = 1024
"""Characters of a record's message."""


def mark_text(mark: Mark) -> str:
    """A mark as a text."""
    return _text(mark, _MARK, always=("since", "cordoned", "bootID"))


def read_mark(said: str) -> Mark:
    """The mark that a text stands for; :data:`UNREADABLE` for what is none."""
    found = _read(said, _MARK)
    is_one = found["rollout"] and found["since"] and found["cordoned"] is not None
    return Mark(**found) if is_one else UNREADABLE


def record_text(record: Record) -> str:
    """A record as a text; of a long message the beginning."""
    return _text(dataclasses.replace(record, message=record.message[:MAX_MESSAGE]), _RECORD)


def read_record(said: str) -> Record | None:
    """The record that a text stands for; none for what is none."""
    found = _read(said, _RECORD)
    return Record(**found) if found["rollout"] and found["release"] else None


def read_time(said: object) -> datetime | None:
    """The time that a text stands for; none for what is none, or lies so far away that nobody can reckon with it."""
    when = read(said) if isinstance(said, str) else None
    return when.astimezone(UTC) if when is not None and 1970 <= when.year <= _LAST_YEAR else None


def read_fence(said: object) -> int:
    """The fence that a text stands for; -1 for what is none."""
    return int(said) if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 19 else -1


def read_wish(said: object) -> str | None:
    """What a person says by an annotation: its text; none where it is not there, or says ``false``."""
    if not isinstance(said, str) or said.strip().lower() == "false":
        return None
    return said.strip()[:MAX_MESSAGE]


def _text(thing: Mark | Record, keys: Mapping[str, _Key], always: Collection[str] = ()) -> str:
    """What is written of a thing: what is there, and what is always written."""
    values = {key: getattr(thing, field) for key, (field, _) in keys.items()}
    told = {key: text(one) if isinstance(one, datetime) else one for key, one in values.items() if one or key in always}
    return json.dumps(told, separators=(",", ":"))


def _read(said: str, keys: Mapping[str, _Key]) -> dict[str, Any]:
    """What a text holds, by field: each as what it must be, or nothing."""
    try:
        values = json.loads(said)
    except (ValueError, RecursionError):
        values = None
    known = values if isinstance(values, dict) else {}
    return {field: read_value(known.get(key)) for key, (field, read_value) in keys.items()}


def _word(value: object) -> str:
    return intern(value) if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_MARK: Final[Mapping[str, _Key]] = {
    "rollout": ("rollout", _word),
    "release": ("release", _word),
    "since": ("since", read_time),
    "cordoned": ("cordoned", _flag),
    "bootID": ("boot_id", _word),
    "rootHash": ("root_hash", _word),
}
_RECORD: Final[Mapping[str, _Key]] = {
    "rollout": ("rollout", _word),
    "release": ("release", _word),
    "attempt": ("attempt", _number),
    "back": ("back", lambda value: value is True),
    "failures": ("failures", _number),
    "parks": ("parks", _number),
    "notBefore": ("not_before", read_time),
    "failed": ("failed", lambda value: value is True),
    "order": ("order", _number),
    "mark": ("mark", read_time),
    "reason": ("reason", _word),
    "message": ("message", _word),
}
