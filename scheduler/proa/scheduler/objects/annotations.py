"""What we write into annotations: our mark on a Node, and the record on a NodeOS, each a small JSON object as a text.

Anybody may edit an annotation. What cannot be read never stops the scheduler: a mark that is none counts as one of no
rollout that there is, so that its node counts as away until a person takes the annotation away; a record that is none
counts as not there, so that its node has its turn as if nothing had gone wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final

from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.views import Mark, Record

UNREADABLE: Final = Mark("", "", datetime.fromtimestamp(0, UTC), cordoned=False, boot_id="")
"""What a mark that cannot be read counts as: no rollout has an empty name."""
_LAST_YEAR: Final = 2999
MAX_MESSAGE: Final = 1024
"""Characters of a record's message."""


def mark_text(mark: Mark) -> str:
    """A mark as a text."""
    return _text(
        {
            "rollout": mark.rollout,
            "release": mark.release,
            "since": text(mark.since),
            "cordoned": mark.cordoned,
            "bootID": mark.boot_id,
            **({"rootHash": mark.root_hash} if mark.root_hash else {}),
        }
    )


def read_mark(said: str) -> Mark:
    """The mark that a text stands for; :data:`UNREADABLE` for what is none."""
    found = _Found(said)
    since = found.time("since")
    rollout, release, boot_id = (found.text(key) for key in ("rollout", "release", "bootID"))
    if not rollout or since is None or not found.is_flag("cordoned"):
        return UNREADABLE
    return Mark(rollout, release, since, found.flag("cordoned"), boot_id, found.text("rootHash"))


def record_text(record: Record) -> str:
    """A record as a text; of a long message the beginning."""
    said = {
        "rollout": record.rollout,
        "release": record.release,
        "attempt": record.attempt,
        "back": record.back,
        "failures": record.failures,
        "parks": record.parks,
        "notBefore": text(record.not_before) if record.not_before else "",
        "failed": record.failed,
        "order": record.order,
        "mark": text(record.mark) if record.mark else "",
        "reason": record.reason,
        "message": record.message[:MAX_MESSAGE],
    }
    return _text({key: value for key, value in said.items() if value})


def read_record(said: str) -> Record | None:
    """The record that a text stands for; none for what is none."""
    found = _Found(said)
    rollout, release = found.text("rollout"), found.text("release")
    if not rollout or not release:
        return None
    return Record(
        rollout,
        release,
        attempt=found.number("attempt"),
        back=found.flag("back"),
        failures=found.number("failures"),
        parks=found.number("parks"),
        not_before=found.time("notBefore"),
        failed=found.flag("failed"),
        order=found.number("order"),
        mark=found.time("mark"),
        reason=found.text("reason"),
        message=found.text("message"),
    )


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


def _text(values: Mapping[str, object]) -> str:
    return json.dumps(values, separators=(",", ":"))


class _Found:
    """What a text holds, each key as what it must be, or nothing."""

    def __init__(self, said: str) -> None:
        try:
            values = json.loads(said)
        except (ValueError, RecursionError):
            values = None
        self._values: Mapping[str, Any] = values if isinstance(values, dict) else {}

    def text(self, key: str) -> str:
        value = self._values.get(key)
        return intern(value) if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        value = self._values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    def time(self, key: str) -> datetime | None:
        return read_time(self._values.get(key))

    def flag(self, key: str) -> bool:
        return self._values.get(key) is True

    def is_flag(self, key: str) -> bool:
        return isinstance(self._values.get(key), bool)
