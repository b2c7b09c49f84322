"""Tells people that the API server cannot be asked: at once, then seldom, and when it can be asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.control import log

AGAIN: Final = 60.0
"""Seconds after which a trouble that lasts is told again."""
_LOOK: Final = 1.0


@dataclass
class Complaints:
    """Whether something is in the way of the work, and since when.

    Attributes:
        problem: What is, as of now; empty if nothing is.
        server: The address of the API server.
        clock: The time.
    """

    problem: Callable[[], str]
    server: str
    clock: Clock = SYSTEM
    _since: float | None = None
    _told: float = 0.0
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def look(self) -> None:
        """Look once."""
        said, now = self.problem(), self.clock.monotonic()
        if not said:
            if self._since is not None:
                log.info("the API server answers again", server=self.server, seconds=round(now - self._since))
            self._since = None
            return
        first = self._since is None
        self._since = now if self._since is None else self._since
        if first or now - self._told >= AGAIN:
            self._told = now
            seconds = round(now - self._since)
            log.warning("the API server cannot be asked", server=self.server, problem=said, seconds=seconds)

    def start(self) -> None:
        """Look again and again, in a thread."""
        self._thread = threading.Thread(target=self._run, name="complaints", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * _LOOK)

    def _run(self) -> None:
        while not self._end.wait(_LOOK):
            self.look()
