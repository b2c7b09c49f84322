"""Spans of time as Kubernetes writes them: ``90s``, ``15m``, ``1h30m`` (Go's ``time.ParseDuration``)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from proa.core.runtime.errors import Code, ProaError

PATTERN: Final = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
"""What is taken: whole hours, minutes and seconds, in this order."""
_PARTS: Final = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")


def parse(text: str) -> timedelta:
    """Parse a duration.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    match = _PARTS.fullmatch(text) if text else None
    if match is None:
        raise ProaError(Code.CONFIG_VALUE, f"{text!r} is not a duration such as '90s', '15m' or '1h30m'")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError as error:
        raise ProaError(Code.CONFIG_VALUE, f"{text!r} is longer than a duration can be") from error


def text(span: timedelta) -> str:
    """The shortest text for a span, in whole seconds: ``1h30m``; ``0s`` for none."""
    seconds = round(span.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
