"""Time as an object, so that whatever waits can be tested without waiting."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from proa.core.runtime.errors import Code, ProaError


class Clock(Protocol):
    """A source of time."""

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""
        ...

    def now(self) -> datetime:
        """The wall clock, in UTC. For records and expiry, never for measuring."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let the given number of seconds pass."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        time.sleep(max(seconds, 0.0))


@dataclass
class VirtualClock:
    """A clock that moves only when somebody sleeps on it: for tests and simulations."""

    at: float = 0.0
    """Seconds since the start."""
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)
    """Every sleep that was asked for, in seconds."""

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return self.at

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return datetime.fromtimestamp(self.start.timestamp() + self.at, UTC)

    def sleep(self, seconds: float) -> None:
        """See :class:`Clock`; returns at once, the clock having moved on."""
        self.slept.append(seconds)
        self.at += max(seconds, 0.0)


SYSTEM = SystemClock()


@dataclass(frozen=True)
class Deadline:
    """A point in time by which something must have happened.

    Attributes:
        what: What is waited for, as it stands in the error.
        seconds: How long there is, from the start.
        clock: Whose time counts.
        started: The clock's reading at the start, in seconds.
    """

    what: str
    seconds: float
    clock: Clock = SYSTEM
    started: float = field(default=-1.0)

    def __post_init__(self) -> None:
        if self.started < 0:
            object.__setattr__(self, "started", self.clock.monotonic())

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.started + self.seconds - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.remaining == 0.0

    def check(self, at: object = "") -> None:
        """Raise ``TIMEOUT`` once the time is up."""
        if self.passed:
            raise ProaError(Code.TIMEOUT, f"{self.what}: not within {self.seconds:g} s", at=at)
