"""Looks at a node before it is cordoned: what could never be drained is told, and not even begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.spec.rollout import Drain, OnTimeout
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.spec.times import text

AGAIN: Final = 300.0
"""Seconds after which a node that could never be drained is looked at again."""
MOST: Final = 20
"""Nodes that are looked at again in one pass."""


@dataclass(eq=False)
class DrainPrecheck:
    """Nodes that were looked at.

    Attributes:
        look: What would keep a node from being drained for ever.
        clock: The clock.
    """

    look: Callable[[str, Drain], tuple[Blocker, ...]]
    clock: Clock = SYSTEM
    _undrainable: dict[str, tuple[float, tuple[Blocker, ...]]] = field(default_factory=dict)

    @property
    def undrainable(self) -> Mapping[str, tuple[Blocker, ...]]:
        """What keeps which nodes from being drained for ever, as far as was looked."""
        return {node: blockers for node, (_, blockers) in self._undrainable.items()}

    def look_again(self, waiting: Callable[[], Mapping[str, Drain]], now: float) -> None:
        """Look at those again whose time is over, before anything is planned: they are not said to go on meanwhile.

        Args:
            waiting: Tells by node, of those that wait for nothing else, how it would be drained; others are forgotten.
            now: The monotonic clock's.

        Raises:
            ApiError: When pods cannot be listed for now; where they may not be, what was seen last holds on.
        """
        over = [node for node, (until, _) in self._undrainable.items() if until <= now][:MOST]
        policies = waiting() if over else {}
        for node in over:
            if node not in policies:
                del self._undrainable[node]
                continue
            try:
                self._look(node, policies[node], now)
            except ApiError as error:
                if error.is_away:
                    raise
                self._undrainable[node] = (now + AGAIN, self._undrainable[node][1])

    def allows(self, cordon: Cordon, policy: Drain, now: float) -> bool:
        """Look at a node that is about to be cordoned; whether that makes sense.

        Raises:
            ApiError: When its pods cannot be listed.
        """
        return self._look(cordon.node, policy, now)

    def due(self, now: float) -> float | None:
        """Seconds until one of them may be looked at again; none if there is none."""
        return min((max(0.0, until - now) for until, _ in self._undrainable.values()), default=None)

    def clear(self) -> None:
        """Another term begins."""
        self._undrainable.clear()

    def _look(self, node: str, policy: Drain, now: float) -> bool:
        """Look at a node; whether it can be drained."""
        blockers = () if policy.on_timeout is OnTimeout.FORCE else self.look(node, policy)
        if blockers:
            _, before = self._undrainable.get(node, (0.0, ()))
            self._undrainable[node] = (now + AGAIN, self._since(blockers, before))
        else:
            self._undrainable.pop(node, None)
        return not blockers

    def _since(self, blockers: tuple[Blocker, ...], before: tuple[Blocker, ...]) -> tuple[Blocker, ...]:
        """With the time at which each was seen first."""
        known = {(one.pod, one.budget): one.since for one in before}
        now = text(self.clock.now())
        return tuple(dataclasses.replace(one, since=known.get((one.pod, one.budget), now)) for one in blockers)
