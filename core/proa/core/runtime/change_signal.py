"""One signal for all changes: a thread that waits for work waits for it, and then looks at what there is to do."""

from __future__ import annotations

import threading


class ChangeSignal:
    """A signal that threads raise when they have news. Signals are counted, so none is lost while nobody waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self.closed = False
        """Whether it is closed: nothing is signalled any more, and nobody waits."""

    @property
    def count(self) -> int:
        """How often it was raised."""
        with self._condition:
            return self._count

    def notify(self) -> None:
        """Wake the threads that wait."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, heard: int, seconds: float | None = None) -> int:
        """Wait until it was raised more often than ``heard`` says, or is closed.

        Args:
            heard: What this method, or :attr:`rings`, gave the last time.
            seconds: How long at most; without end if none.

        Returns:
            How often it was raised; ``heard`` when the time was up.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._count != heard or self.closed, seconds)
            return self._count

    def close(self) -> None:
        """Wake all waiting threads for the last time."""
        with self._condition:
            self.closed = True
            self._condition.notify_all()
