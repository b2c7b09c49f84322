"""What we write into annotations: our mark on a Node, and the record on a NodeOS, each a small JSON object as a text.

Anybody may edit an annotation. What cannot be read never stops the scheduler: a mark that is none counts as one of no
rollout that there is, so that its node counts as away until a person takes the annotation away; a record that is none
counts as not there, so that its node has its turn as if nothing had gone wrong.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final

from proa.core.runtime.parsing import json_value
from proa.core.runtime.printable import one_line
from proa.core.schema.model import fields_of
from proa.scheduler.kube.stream import whole
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.views import Mark, NodeRecord

UNREADABLE: Final = Mark("", "", datetime.fromtimestamp(0, UTC), cordoned=False, boot_id="")
"""What a mark that cannot be read counts as: no rollout has an empty name."""
MIRROR: Final = "kubernetes.io/config.mirror"
"""Annotation of a pod that shows a static one (Kubernetes, "Static Pods")."""
_LAST_YEAR: Final = 2999
MAX_MESSAGE: Final = 1024
"""Characters of a record's message."""


def mark_text(mark: Mark) -> str:
    """A mark as a text."""
    return _text(mark)


def read_mark(said: str) -> Mark:
    """The mark that a text stands for; :data:`UNREADABLE` for what is none."""
    found = _read(Mark, said)
    is_one = found["rollout"] and "since" in found and "cordoned" in found
    return Mark(**found) if is_one else UNREADABLE


def record_text(record: NodeRecord) -> str:
    """A record as a text; of a long message the beginning."""
    return _text(dataclasses.replace(record, message=record.message[:MAX_MESSAGE]))


def read_record(said: str) -> NodeRecord | None:
    """The record that a text stands for; none for what is none."""
    found = _read(NodeRecord, said)
    return NodeRecord(**found) if found["rollout"] and found["release"] else None


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


def approval_text(release: str, by: str, when: datetime) -> str:
    """The approval of a release as a text.

    Args:
        release: Its digest.
        by: Who approves it.
        when: When.
    """
    return json.dumps({"release": release, "by": by, "at": text(when)}, separators=(",", ":"))


def read_approval(said: object, release: str) -> str:
    """Who has approved a release, and when, as people read it; empty where the text does not approve this one."""
    try:
        values = json_value(said) if isinstance(said, str) else None
    except ValueError:
        values = None
    if not isinstance(values, dict) or not release or values.get("release") != release:
        return ""
    by, when = (one_line(str(values.get(key) or "unknown"), 128) for key in ("by", "at"))
    return f"{by} at {when}"


def _text(thing: Mark | NodeRecord) -> str:
    """What is written of a thing: what is there, and what a thing of its kind must have."""
    values = {
        one.json: getattr(thing, one.name) for one in fields_of(type(thing)) if one.required or getattr(thing, one.name)
    }
    told = {key: text(one) if isinstance(one, datetime) else one for key, one in values.items()}
    return json.dumps(told, separators=(",", ":"))


def _read(kind: type[Mark | NodeRecord], said: str) -> dict[str, Any]:
    """What a text holds, by field: each as what it must be, or not at all."""
    try:
        values = json_value(said)
    except ValueError:
        values = None
    known = values if isinstance(values, dict) else {}
    found = {one.name: _READERS[one.type](known.get(one.json)) for one in fields_of(kind)}
    return {name: value for name, value in found.items() if value is not None}


def _word(value: object) -> str:
    return intern(value) if isinstance(value, str) else ""


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_READERS: Final[Mapping[type, Callable[[object], Any]]] = {
    str: _word,
    int: whole,
    bool: _flag,
    datetime: read_time,
}
