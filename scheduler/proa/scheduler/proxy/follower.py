"""Listens to the node's agent, in a thread of its own, for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from proa.core.orders.client import OrderClient
from proa.core.orders.messages import NodeStatus
from proa.core.runtime.backoff import Backoff, jitter
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import ProaError
from proa.scheduler.kube.worker import Worker

_FIRST: Final = 0.2
_LONGEST: Final = 5.0
"""Seconds between two looks for an agent that is away: it is on this very machine, and its socket says no at once."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the agent has told of the node.

    Attributes:
        status: Its last word; none if it has not said any yet.
        answering: Whether it is listened to now.
        since: Since when it is, or is not, by the clock's monotonic reading.
        connection: How often it was listened to anew: it may be another agent each time.
        problem: Why it is not listened to.
    """

    status: NodeStatus | None = None
    answering: bool = False
    since: float = 0.0
    connection: int = 0
    problem: str = ""


class Follower(Worker):
    """Keeps the agent's last word. A stream that is silent when it is stopped is left to the end of the process.

    Args:
        agent: The agent.
        changed: Raised when it has told something, and when it is no longer heard.
        clock: The clock.
        random: A number from 0 to 1, another one at every call.
    """

    def __init__(
        self, agent: OrderClient, changed: ChangeSignal, clock: Clock = SYSTEM, random: Callable[[], float] = jitter
    ) -> None:
        super().__init__("agent", self.cycle, changed)
        self._agent = agent
        self._clock = clock
        self._backoff = Backoff(_FIRST, _LONGEST, random)
        self.told = Told(since=clock.monotonic())
        """What the agent has told."""

    def cycle(self) -> float:
        """Listen as long as the agent speaks; how many seconds to wait before the next try."""
        heard = False
        try:
            for status in self._agent.follow():
                self._hear(status, again=heard)
                heard = True
                if self._stop.is_set():
                    return 0.0
            problem = "the agent has ended its stream"
        except ProaError as error:
            problem = error.message
        if heard:
            self._backoff.reset()
        if self.told.answering or self.told.problem != problem:
            since = self._clock.monotonic() if self.told.answering else self.told.since
            self.told = replace(self.told, answering=False, since=since, problem=problem)
            self._changed.notify()
        return self._backoff.next()

    def _hear(self, status: NodeStatus, *, again: bool) -> None:
        told = self.told
        if again:
            self.told = replace(told, status=status)
        else:
            self.told = Told(status, True, self._clock.monotonic(), told.connection + 1)
        self._changed.notify()
