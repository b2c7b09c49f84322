"""Waiting for what others do: asked again and again, with an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from proa.core.runtime.clock import SYSTEM, Clock, Deadline

T = TypeVar("T")
_PAUSE: Final = 0.05
LIMIT: Final = 600.0
"""Seconds after which something hangs: no promise, and enough for a machine that is busy with other things."""


def until(ask: Callable[[], T | None], what: str, seconds: float = LIMIT, *, clock: Clock = SYSTEM) -> T:
    """Ask until the answer is neither false, empty nor none; that answer.

    Args:
        ask: What is asked.
        what: What is waited for, as it stands in the error.
        seconds: How long.
        clock: Whose time counts.

    Raises:
        ProaError: ``TIMEOUT``.
    """
    deadline = Deadline(what, seconds, clock)
    while True:
        if answer := ask():
            return answer
        deadline.check()
        clock.sleep(_PAUSE)
