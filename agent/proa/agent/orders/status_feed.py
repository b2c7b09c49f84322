"""What the node says of itself, to clients that ask once and to those that want to hear of every change."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from proa.agent.api.jobs import Jobs
from proa.agent.node.view import Context, look
from proa.agent.orders.node_status import node_status, since
from proa.agent.settings.engine import Engine
from proa.agent.settings.report import SettingsReport
from proa.agent.trial.health import HealthReport
from proa.core.orders.messages import Condition, NodeStatus
from proa.core.runtime.change_signal import ChangeSignal

ALIVE: Final = 15.0
"""Seconds of silence after which a follower gets a sign of life, which shows when it has gone."""
PACE: Final = 1.0
"""Seconds between two looks while an install goes on, whose progress signals no change."""


@dataclass
class StatusFeed:
    """The node's status.

    Attributes:
        context: Where to look.
        jobs: Whose progress is told.
        changed: Raised when something has happened.
        clock: Seconds, for signs of life.
        health: What the last look at a trial's health found; none if nobody has looked yet.
    """

    context: Context
    jobs: Jobs
    changed: ChangeSignal
    clock: Callable[[], float] = time.monotonic
    health: Callable[[], HealthReport | None] = lambda: None
    _conditions: tuple[Condition, ...] = ()

    def status(self) -> NodeStatus:
        """The node's current status.

        Raises:
            ProaError: as :func:`proa.agent.node.view.look`.
        """
        found = node_status(look(self.context), self.jobs.progress(), self.health(), self.settings())
        self._conditions = since(found.conditions, self._conditions, self.context.time())
        return dataclasses.replace(found, conditions=self._conditions)

    def settings(self) -> SettingsReport:
        """The node's current settings."""
        return Engine(self.context).report()

    def follow(self) -> Iterator[NodeStatus | None]:
        """How the node is: now, and whenever that has changed, until the signal is closed; none as a sign of life."""
        shown: NodeStatus | None = None
        told = self.clock()
        while True:
            known = self.changed.count
            found = self.status()
            silence = self.clock() - told
            if found != shown or silence >= ALIVE:
                yield None if found == shown else found
                shown, told, silence = found, self.clock(), 0.0
            if self.changed.closed:
                return
            self.changed.wait(known, min(PACE if self.jobs.current else ALIVE, max(0.0, ALIVE - silence)))
