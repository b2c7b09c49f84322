"""A limit on bytes per second, over all transfers of one session with a registry."""

from __future__ import annotations

import threading
from typing import Final

from proa.core.runtime.clock import Clock

SLACK: Final = 1.0
"""Seconds at the full rate that may be made up for after a time without any transfer."""


class Pace:
    """Lets bytes through at a rate, in the long run; safe to call from several threads.

    Args:
        rate: Bytes per second; 0 for no limit.
        clock: Whose time counts, and which sleeps.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free = clock.monotonic()

    def took(self, count: int) -> None:
        """Count bytes that arrived, and wait until more may."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock.monotonic()
            self._free = max(self._free, now - SLACK) + count / self._rate
            wait = self._free - now
        if wait > 0:
            self._clock.sleep(wait)
