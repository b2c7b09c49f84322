"""A thread that does one turn after the other until it is stopped, and whose defect is raised where it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.errors import Code, ProaError


class Worker:
    """What has a thread of its own.

    Args:
        name: The thread's name.
        turn: Does what is to be done now; how many seconds to wait before the next turn.
        changed: Raised when a turn has ended by a defect.
    """

    def __init__(self, name: str, turn: Callable[[], float], changed: ChangeSignal) -> None:
        self._turn = turn
        self._changed = changed
        self._stop = threading.Event()
        self.defect: Exception | None = None
        """What has ended it, if that was not :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start its thread."""
        self._thread.start()

    def stop(self, seconds: float = 0.0) -> bool:
        """Have it end; whether it has, after so many seconds."""
        self._stop.set()
        return self.join(seconds)

    def join(self, seconds: float = 5.0) -> bool:
        """Wait for its end; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def check(self, what: str) -> None:
        """Raise what has ended it.

        Raises:
            ProaError: ``INTERNAL``, and ``what`` has stopped.
        """
        if self.defect is not None:
            raise ProaError(Code.INTERNAL, what) from self.defect

    def _run(self) -> None:
        try:
            try:
                while not self._stop.is_set():
                    self._stop.wait(self._turn())
            finally:
                self._ended()
        except Exception as error:  # noqa: BLE001 -- it is raised again in the thread that asks
            self.defect = error
            self._changed.notify()

    def _ended(self) -> None:
        """What is to be done in the thread before it ends."""
