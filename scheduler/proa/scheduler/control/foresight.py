"""Looks at a node before it is cordoned: what could never be drained is told, and not even begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.core.clock import SYSTEM, Clock
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.spec.rollout import Drain, OnTimeout
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.spec.times import text

AGAIN: Final = 300.0
"""Seconds after which a node that could never be drained is looked at again."""
LINGER: Final = 30.0
"""Seconds for which it is still told then: when nothing has changed, that has not begun anew."""


@dataclass(eq=False)
class Foresight:
    """Nodes that were looked at.

    Attributes:
        look: What would keep a node from being drained for ever.
        clock: The clock.
    """

    look: Callable[[str, Drain], tuple[Blocker, ...]]
    clock: Clock = SYSTEM
    _hopeless: dict[str, tuple[float, tuple[Blocker, ...]]] = field(default_factory=dict)

    def hopeless(self, now: float) -> Mapping[str, tuple[Blocker, ...]]:
        """What keeps which nodes from being drained for ever, as far as was looked lately."""
        self._hopeless = {node: found for node, found in self._hopeless.items() if now < found[0] + LINGER}
        return {node: blockers for node, (until, blockers) in self._hopeless.items() if now < until}

    @property
    def told(self) -> Mapping[str, tuple[Blocker, ...]]:
        """The same, and what is being looked at again."""
        return {node: blockers for node, (_, blockers) in self._hopeless.items()}

    def allows(self, cordon: Cordon, policy: Drain, now: float) -> bool:
        """Look at a node that is about to be cordoned; whether that makes sense.

        Raises:
            ApiError: When its pods cannot be listed.
        """
        blockers = () if policy.on_timeout is OnTimeout.FORCE else self.look(cordon.node, policy)
        _, before = self._hopeless.pop(cordon.node, (0.0, ()))
        if blockers:
            self._hopeless[cordon.node] = (now + AGAIN, self._since(blockers, before))
        return not blockers

    def due(self, now: float) -> float | None:
        """Seconds until one of them may be looked at again; none if there is none."""
        return min((until - now for until, _ in self._hopeless.values() if now < until), default=None)

    def clear(self) -> None:
        """Another term begins."""
        self._hopeless.clear()

    def _since(self, blockers: tuple[Blocker, ...], before: tuple[Blocker, ...]) -> tuple[Blocker, ...]:
        """With the time at which each was seen first."""
        known = {(one.pod, one.budget): one.since for one in before}
        now = text(self.clock.now())
        return tuple(dataclasses.replace(one, since=known.get((one.pod, one.budget), now)) for one in blockers)
