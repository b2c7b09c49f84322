"""A term of a leader: how long things take, and what is known of a lease."""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass
from uuid import uuid4

from proa.core.runtime.clock import SystemClock


class BootClock(SystemClock):
    """The machine's clock, whose readings go on also while the machine sleeps."""

    def monotonic(self) -> float:
        """See :class:`proa.core.runtime.clock.Clock`."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class LeaseTimings:
    """How long things take, in seconds.

    Attributes:
        lease: Without a sign of the leader, others may take the lease after this.
        stop: A leader that could not renew its lease stops after this, counted from when it asked.
        renew: From one renewal to the next.
        retry: From one look at somebody else's lease to the next.
        request: What a request of the elector may take: connect, and read.
        settle: A new leader starts nothing for so long: a write of the one before may still be under way.
    """

    lease: float = 20.0
    stop: float = 14.0
    renew: float = 4.0
    retry: float = 2.5
    request: float = 6.0
    settle: float = 1.0


class Role(enum.Enum):
    """What an elector is."""

    CANDIDATE = "candidate"
    SETTLING = "settling"
    """It has the lease, and does not act yet."""
    LEADER = "leader"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Term:
    """A lease that is ours.

    Attributes:
        fence: Its transitions.
        version: Its resource version.
        until: When it must not be relied on any more.
        ready: When it may be settled at the earliest.
        settled: Whether it is acted on: it was time to, and no higher fence was seen.
        due: When it is to be renewed.
    """

    fence: int
    version: str
    until: float
    ready: float
    settled: bool
    due: float


@dataclass(frozen=True)
class ObservedLease:
    """Somebody else's lease: what it said, and when that was first seen."""

    said: tuple[object, ...]
    since: float


def identity() -> str:
    """A name that no other process has, nor this one's next life: ``HOST_RANDOM``."""
    return f"{os.uname().nodename}_{uuid4().hex[:8]}"
