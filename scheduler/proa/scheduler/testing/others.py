"""Clusters in which others act as well.

Who repairs nodes replaces them, who knows machines registers them anew, who scales a group lets nodes join and go, and
who runs databases lifts budgets once a node is cordoned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from proa.core.orders.messages import Order
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.views import NodeOSView, NodeView
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.lagging import UnreliableWorld


@dataclass
class CrowdedWorld(UnreliableWorld):
    """A cluster with other controllers.

    Attributes:
        anew: Whether Nodes are deleted while they are down, and registered again when they come up.
        repairs: After how long a node that is not Ready is replaced by another one; never if none.
        replaced: Nodes that were.
        registered: Nodes that were registered anew.
        strangers: Nodes without an agent, such as virtual kubelets.
        shielded: Nodes whose drain a budget seems to block for ever, until an operator sees the cordon.
        most_trials: The most nodes that were seen on trial, or down, at once.
        exposed: Nodes that rebooted while pods could be placed on them.
    """

    anew: bool = False
    repairs: timedelta | None = None
    replaced: list[str] = field(default_factory=list)
    registered: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    shielded: set[str] = field(default_factory=set)
    most_trials: int = 0
    exposed: list[str] = field(default_factory=list)
    _down: dict[str, tuple[NodeView, NodeOSView]] = field(default_factory=dict)
    _joined: int = 0

    def repair(self) -> None:
        """Replace the nodes that have not been Ready for too long."""
        for name, node in list(self.nodes.items()):
            overdue = self.repairs is not None and node.ready_since and self.now - node.ready_since >= self.repairs
            if not node.ready and overdue:
                self.replaced.append(name)
                del self.nodes[name]
                self.oses.pop(name, None)
                self._add(f"node-r{len(self.replaced):04}", node)

    def join(self, like: str, *, agent: bool = True) -> None:
        """A node joins, with the labels of another one."""
        self._joined += 1
        name = f"node-j{self._joined:04}"
        self._add(name, self.nodes[like])
        if not agent:
            self.strangers.add(name)

    def shrink(self) -> None:
        """The nodes that are about to go are gone, and others there for them: the group keeps its size."""
        for name in [name for name, node in self.nodes.items() if node.leaving]:
            self.join(name)
            del self.nodes[name]
            self.oses.pop(name, None)

    def shield(self, name: str) -> None:
        """A budget allows no eviction from a node, before an operator sees that the node is cordoned."""
        self.shielded.add(name)
        blocker = Blocker(name, "shop/db-0", "shop/db", reason="disruption budget shop/db never allows an eviction")
        self.undrainable = {**self.undrainable, name: (blocker,)}

    def drain(self, plan: Plan) -> None:
        """The same, once operators have seen which nodes are cordoned."""
        seen = {name for name in self.shielded if name in self.nodes and self.nodes[name].mark is not None}
        self.undrainable = {name: found for name, found in self.undrainable.items() if name not in seen}
        self.shielded -= seen
        super().drain(plan)

    def count(self) -> None:
        """Look at how many are out at once."""
        booted = {name: os.status.booted for name, os in self.oses.items() if os.status and name in self.nodes}
        trials = {name for name, one in booted.items() if one is not None and not one.committed}
        down = {name for name, node in self.nodes.items() if not node.ready}
        self.most_trials = max(self.most_trials, len(trials | down | self._down.keys()))

    def _add(self, name: str, like: NodeView) -> None:
        self.nodes[name] = NodeView(name, f"uid-{name}", like.labels, ready_since=self.now, boot_id=f"boot-{name}")

    def _report_first(self, name: str) -> None:
        if name not in self.strangers:
            super()._report_first(name)

    def _reboot(self, name: str, order: Order) -> None:
        boots = self.boots.get(name, 0)
        if not self.nodes[name].unschedulable:
            self.exposed.append(name)
        super()._reboot(name, order)
        if self.anew and self.boots.get(name, 0) > boots:
            self._down[name] = self.nodes.pop(name), self.oses.pop(name)

    def _up(self, name: str, order: Order) -> None:
        if name not in self._down:
            super()._up(name, order)
            return
        self.registered.add(name)
        node, self.oses[name] = self._down.pop(name)
        self.nodes[name] = dataclasses.replace(node, uid=f"{node.uid}'", mark=None, unschedulable=False)
        super()._up(name, order)
        self.lose_object(name)


def crowded(world: UnreliableWorld, **others: object) -> CrowdedWorld:
    """The same cluster with other controllers."""
    values = {one.name: getattr(world, one.name) for one in dataclasses.fields(UnreliableWorld)}
    make: Callable[..., CrowdedWorld] = CrowdedWorld
    return make(**values | others)
