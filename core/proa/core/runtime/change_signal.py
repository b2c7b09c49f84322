"""One bell for all that happens: whoever waits for something to do waits for it, and looks for himself then."""

from __future__ import annotations

import threading


class Bell:
    """Rung by threads that have news. A ring that nobody has heard yet is not lost: rings are counted."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0
        self.closed = False
        """Whether it rings no more, and nobody waits any longer."""

    @property
    def rings(self) -> int:
        """How often it was rung."""
        with self._condition:
            return self._rings

    def ring(self) -> None:
        """Wake whoever waits."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, seconds: float | None = None) -> int:
        """Wait until it was rung more often than ``heard``, or is closed.

        Args:
            heard: What this method, or :attr:`rings`, gave the last time.
            seconds: How long at most; without end if none.

        Returns:
            How often it was rung; ``heard`` when the time was up.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._rings != heard or self.closed, seconds)
            return self._rings

    def close(self) -> None:
        """Wake everybody for the last time."""
        with self._condition:
            self.closed = True
            self._condition.notify_all()
