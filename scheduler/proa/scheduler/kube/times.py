"""Points in time as Kubernetes writes them: RFC 3339, UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def text(when: datetime) -> str:
    """``2026-01-31T12:00:00Z``, in whole seconds."""
    return when.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def micro(when: datetime) -> str:
    """``2026-01-31T12:00:00.000000Z``: a ``MicroTime``."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read(said: str) -> datetime | None:
    """The time that a text stands for; none for what is none."""
    try:
        when = datetime.fromisoformat(said)
    except ValueError:
        return None
    return when if when.tzinfo else None
