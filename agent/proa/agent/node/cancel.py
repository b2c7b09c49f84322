"""The wish to stop, which long work looks at."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.core.runtime.clock import Clock
from proa.core.runtime.errors import Code, ProaError

_NAP: Final = 0.5
"""Seconds between two looks while something sleeps."""


class Cancel:
    """A wish to stop that long work looks at; the first reason counts."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._code = Code.CANCELLED

    def ask(self, code: Code = Code.CANCELLED) -> None:
        """Ask for the work to stop."""
        if not self._event.is_set():
            self._code = code
            self._event.set()

    @property
    def asked(self) -> bool:
        """Whether it was asked for."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise ``CANCELLED`` or ``INTERRUPTED`` once it was asked for."""
        if self._event.is_set():
            raise ProaError(self._code)

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
