"""What is worth another try, how long to wait before it, and when it is enough. No network in here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from proa.core.oci.headers import date
from proa.core.oci.limits import DEFAULT_LIMITS, TransferLimits
from proa.core.oci.pace import Pace
from proa.core.runtime.backoff import Backoff, jitter
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.notices import notice

Result = TypeVar("Result")


LONGEST_PAUSE: Final = 24 * 3600.0
"""Seconds of a ``Retry-After`` beyond which it counts as so many: a server whose clock is wrong may name any date."""


class Temporary(Exception):  # noqa: N818 -- it is a kind of failure, told to the one who retries
    """A failure that may not happen again on the next try.

    Attributes:
        error: What it comes to when no more tries are made.
        after: How many seconds the other side asks to be left alone, if it does.
    """

    def __init__(self, error: ProaError, after: float | None = None) -> None:
        self.error = error
        self.after = after
        super().__init__(error.message)


@dataclass
class Patience:
    """The time and the tries that one transfer has. Only time spent waiting for the network counts.

    Attributes:
        limits: The limits.
        size: Bytes of the transfer; more bytes, more time.
        clock: Whose time counts.
        jitter: A number from 0 to 1, another one at every call, so that a thousand nodes do not come back at once.
        pace: What slows the transfer down on purpose; such waits are not spent on the network.
    """

    limits: TransferLimits = DEFAULT_LIMITS
    size: int = 0
    clock: Clock = SYSTEM
    jitter: Callable[[], float] = jitter
    pace: Pace | None = None
    spent: float = field(default=0.0, init=False)
    _window_time: float = field(default=0.0, init=False)
    _window_bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        self._backoff = Backoff(limits.backoff, limits.longest_wait, self.jitter, longest_request=math.inf)

    @property
    def total(self) -> float:
        """All the seconds there are."""
        return self.limits.patience + self.size / self.limits.minimum_rate

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self.total - self.spent)

    def head(self, size: int) -> float:
        """The seconds that an answer's head may take, the request having a body of ``size`` bytes.

        Raises:
            ProaError: ``NETWORK`` when the time is up.
        """
        self._check()
        return min(self.left, self.limits.answer + size / self.limits.minimum_rate)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as spent on the network."""
        started = self.clock.monotonic()
        try:
            yield
        finally:
            took = self.clock.monotonic() - started
            self.spent += took
            self._window_time += took

    def connected(self) -> None:
        """A new connection begins: its rate is measured afresh."""
        self._window_time = 0.0
        self._window_bytes = 0

    def got(self, count: int) -> None:
        """Count new bytes that arrived.

        Raises:
            Temporary: When they come too slowly: another connection may be faster.
            ProaError: ``NETWORK`` when the time is up.
        """
        self._backoff.reset()
        self._window_bytes += count
        self._check()
        if self._window_time >= self.limits.window:
            rate = self._window_bytes / self._window_time
            self.connected()
            if rate < self.limits.minimum_rate:
                slow = f"only {rate:.0f} bytes per second arrived, fewer than {_told(self.limits, 'minimum_rate')}"
                raise Temporary(ProaError(Code.NETWORK, slow, hint=_HINT))
        if self.pace is not None:
            self.pace.took(count)

    def _check(self) -> None:
        if self.spent >= self.total:
            limits = f"{_told(self.limits, 'patience')}, {_told(self.limits, 'minimum_rate')}"
            raise ProaError(Code.NETWORK, f"it did not finish within {self.total:.0f} s ({limits})", hint=_HINT)

    def wait(self, failure: Temporary) -> None:
        """Wait before the next try, for as long as the failure asks, or give up.

        Raises:
            ProaError: The failure's own error, when tries or time are used up.
        """
        pause = self._backoff.next(failure.after)
        unwilling = failure.after is not None and failure.after > self.limits.longest_pause
        if unwilling or self._backoff.failures >= self.limits.attempts or self.spent + pause > self.total:
            raise self._enough(failure) from failure
        where = f" ({failure.error.at})" if failure.error.at else ""
        notice(f"{failure.error.message}{where}: trying again in {pause:.1f} s")
        self.clock.sleep(pause)
        self.spent += pause

    def keep_trying(self, action: Callable[[], Result]) -> Result:
        """The result of ``action``, tried again after temporary failures.

        Raises:
            ProaError: What the last failure comes to.
        """
        while True:
            try:
                return action()
            except Temporary as failure:
                self.wait(failure)

    def _enough(self, failure: Temporary) -> ProaError:
        error = failure.error
        tries = f"{self._backoff.failures} attempts in {self.spent:.0f} s"
        if failure.after is not None and failure.after > min(self.limits.longest_pause, self.total - self.spent):
            tries += f"; the server asks for a pause of {failure.after:.0f} s"
        return ProaError(error.code, f"{error.message} ({tries})", at=error.at, hint=error.hint)


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for: a number or a date (RFC 9110, section 10.2.3).

    None if there is no header or it makes no sense; never below zero, and at most ``LONGEST_PAUSE``.

    Args:
        header: The header.
        now: The time by the server's own clock, where it tells it.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_PAUSE)
    wanted = date(text)
    return None if wanted is None else min(max(0.0, (wanted - now).total_seconds()), LONGEST_PAUSE)


_HINT: Final = "If the connection is slow, set a lower minimum_rate or more patience in registry.toml."


def _told(limits: TransferLimits, name: str) -> str:
    """A limit with its setting's name and default."""
    return f"{name} = {getattr(limits, name):g} (default {getattr(DEFAULT_LIMITS, name):g})"
