"""Wakes those who wait for something to have happened, whatever it is: they look for themselves then."""

from __future__ import annotations

import threading


class Bell:
    """Rings; who waits gives the count that it knows, so that nothing is missed between a look and the wait."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self.count = 0
        """How often it rang."""
        self.closed = False
        """Whether it rings no more, and nobody waits any longer."""

    def ring(self) -> None:
        """Something has happened."""
        with self._rung:
            self.count += 1
            self._rung.notify_all()

    def wait(self, known: int, seconds: float | None) -> bool:
        """Wait until it has rung more than ``known`` times, or so long; whether it did."""
        with self._rung:
            return self._rung.wait_for(lambda: self.count > known or self.closed, seconds)

    def close(self) -> None:
        """Wake everybody for the last time."""
        with self._rung:
            self.closed = True
            self._rung.notify_all()
