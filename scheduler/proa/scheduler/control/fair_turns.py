"""How much of a plan is carried out in one pass, and where the next pass begins.

What a pass leaves is planned again. It begins with the nodes that had no turn, so that writes that take long, or always
fail, keep nobody waiting for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from proa.core.runtime.clock import Clock
from proa.scheduler.planning.actions import Action

STINT: Final = 5.0
"""Seconds after which a pass begins no further action."""


@dataclass(eq=False)
class Stints:
    """Deals out the actions of plans.

    Attributes:
        clock: The clock.
        cut: Whether the last pass has left some.
    """

    clock: Clock
    cut: bool = field(default=False, init=False)
    _had: set[str] = field(default_factory=set)

    def deal(self, actions: Sequence[Action]) -> Iterator[Action]:
        """The actions of one pass, those of one node at least and in their order.

        Whoever takes no more of them leaves the rest as well.
        """
        if all(one.node in self._had for one in actions):
            self._had.clear()
        until, node, self.cut = self.clock.monotonic() + STINT, "", True
        for action in sorted(actions, key=lambda one: one.node in self._had):
            if node and action.node != node and self.clock.monotonic() >= until:
                return
            node = action.node
            self._had.add(node)
            yield action
        self.clear()

    def clear(self) -> None:
        """All is done, or another term begins."""
        self.cut = False
        self._had.clear()
