"""Looks at a node before it is cordoned: what could never be drained is told, and not even begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.scheduler.planning.actions import Cordon
from proa.scheduler.spec.rollout import Drain, OnTimeout
from proa.scheduler.spec.rolloutstatus import Blocker

AGAIN: Final = 300.0
"""Seconds after which a node that could never be drained is looked at again."""


@dataclass(eq=False)
class Foresight:
    """Nodes that were looked at.

    Attributes:
        look: What would keep a node from being drained for ever.
    """

    look: Callable[[str, Drain], tuple[Blocker, ...]]
    _hopeless: dict[str, tuple[float, tuple[Blocker, ...]]] = field(default_factory=dict)

    def hopeless(self, now: float) -> Mapping[str, tuple[Blocker, ...]]:
        """What keeps which nodes from being drained for ever, as far as was looked lately."""
        self._hopeless = {node: found for node, found in self._hopeless.items() if now < found[0]}
        return {node: blockers for node, (_, blockers) in self._hopeless.items()}

    def allows(self, cordon: Cordon, policy: Drain, now: float) -> bool:
        """Look at a node that is about to be cordoned; whether that makes sense.

        Raises:
            ApiError: When its pods cannot be listed.
        """
        if policy.on_timeout is OnTimeout.FORCE:
            return True
        blockers = self.look(cordon.node, policy)
        if blockers:
            self._hopeless[cordon.node] = (now + AGAIN, blockers)
        return not blockers

    def due(self, now: float) -> float | None:
        """Seconds until one of them may be looked at again; none if there is none."""
        return min((max(0.0, until - now) for until, _ in self._hopeless.values()), default=None)

    def clear(self) -> None:
        """Another term begins."""
        self._hopeless.clear()
