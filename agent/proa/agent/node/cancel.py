"""The wish to stop, which long work looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.core.runtime.clock import Clock
from proa.core.runtime.errors import Code, ProaError

_NAP: Final = 0.5
"""Seconds between two looks while something sleeps."""


class Cancel:
    """A request to stop that long-running work checks; the first reason counts."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._code = Code.CANCELLED
        self._lock = threading.RLock()  # a signal may ask while its thread holds it
        self._actions: list[Callable[[], None]] = []

    def ask(self, code: Code = Code.CANCELLED) -> None:
        """Ask for the work to stop, and end whatever it waits for."""
        with self._lock:
            if self._event.is_set():
                return
            self._code = code
            self._event.set()
            actions = list(self._actions)
        for action in actions:
            action()

    @property
    def asked(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise ``CANCELLED`` or ``INTERRUPTED`` once it was asked for."""
        if self._event.is_set():
            raise ProaError(self._code)

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        """See :class:`proa.core.runtime.stop.Stop`."""
        with self._lock:
            self._actions.append(action)
            asked = self.asked
        if asked:
            action()
        try:
            yield
        finally:
            with self._lock:
                self._actions.remove(action)

    def clock(self, clock: Clock) -> Clock:
        """The same clock, on which a sleep ends, with an error, once it was asked for."""
        return _Waking(clock, self)

    def wait(self, seconds: float) -> bool:
        """Wait up to so long; whether it was asked for."""
        return self._event.wait(seconds)


@dataclass(frozen=True)
class _Waking:
    """A clock that sleeps in naps."""

    inner: Clock
    activation: Cancel

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return self.inner.monotonic()

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return self.inner.now()

    def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        end = self.inner.monotonic() + seconds
        while (left := end - self.inner.monotonic()) > 0:
            self.activation.check()
            self.inner.sleep(min(left, _NAP))
        self.activation.check()
