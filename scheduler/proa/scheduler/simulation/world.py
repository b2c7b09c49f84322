"""A cluster in virtual time: what actions do to it. Its nodes go on by themselves.

``simulate`` runs a whole rollout in it, and the planner's property tests let everything go wrong in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from proa.core.orders.messages import Order
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.views import CONTROL_PLANE, ZONE, DrainView, NodeOSView, NodeView, Snapshot
from proa.scheduler.simulation.behaviour import Fate
from proa.scheduler.simulation.machines import Machines
from proa.scheduler.spec.rolloutstatus import Blocker

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass
class World(Machines):
    """The cluster: its nodes, and what is written about them."""

    undrainable: Mapping[str, tuple[Blocker, ...]] = field(default_factory=dict)
    """What would keep which nodes from being drained for ever."""
    _drained: dict[str, datetime] = field(default_factory=dict)

    def snapshot(self, pending: Iterable[str] = ()) -> Snapshot:
        """All that can be known now."""
        drains = {name: DrainView(done=when <= self.now) for name, when in self._drained.items()}
        return Snapshot(
            self.nodes,
            self.oses,
            self.rollouts,
            drains,
            pending=frozenset(pending),
            own_node=self.own_node,
            undrainable=self.undrainable,
        )

    def carry_out(self, plan: Plan) -> None:
        """Carry out a plan, all at once."""
        for action in plan.actions:
            self.apply(action)
        self.write_statuses(plan)
        self.drain(plan)

    def write_statuses(self, plan: Plan) -> None:
        """Write the rollouts' statuses that have changed."""
        for name, status in plan.statuses.items():
            if name in self.rollouts and self.rollouts[name].status != status:
                self.rollouts[name] = dataclasses.replace(self.rollouts[name], status=status)

    def drain(self, plan: Plan) -> None:
        """Drain the nodes that are to be drained, and only those."""
        self._drained = {name: when for name, when in self._drained.items() if name in plan.drains}
        for name in plan.drains:
            slow = self._fate(name, "") is Fate.UNDRAINABLE and name not in plan.forced
            if name not in self._drained or (name in plan.forced and self._drained[name] == _NEVER):
                seconds = self.behaviour.drain
                self._drained[name] = _NEVER if slow else self.now + timedelta(seconds=seconds)
                self.at(seconds, lambda: None)

    def apply(self, action: Action) -> None:
        """Do to the cluster what an action does; what is not possible any more changes nothing."""
        match action:
            case Create(name) if name in self.nodes and name not in self.oses:
                self.oses[name] = NodeOSView(name, f"os-{name}-{next(self._numbers)}", self.nodes[name].uid)
                self.at(self.behaviour.report, lambda: self._report_first(name))
            case Forget(name, uid) if name in self.oses and self.oses[name].uid == uid:
                del self.oses[name]
            case Give(name, number, verb, release, proof, timeout) if name in self.oses:
                os = self.oses[name]
                if os.order is None or os.order.id < number:
                    order = Order(number, verb, 1, release, timeout, proof, text(self.now))
                    self.oses[name] = dataclasses.replace(os, order=order)
                    self._give_soon(name, order)
            case Cordon(name, mark) if name in self.nodes:
                node = self.nodes[name]
                # A person's cordon that was there first has two owners from now on, and outlives ours.
                ours = mark.cordoned and (node.mark is not None or not node.unschedulable)
                own = dataclasses.replace(mark, cordoned=ours)
                # Where a person's cordon was seen only the mark is written: if it is gone by now, no other one comes.
                unschedulable = node.unschedulable or mark.cordoned
                self.nodes[name] = dataclasses.replace(node, mark=own, unschedulable=unschedulable)
            case Uncordon(name) if name in self.nodes:
                node = self.nodes[name]
                ours = node.mark is not None and node.mark.cordoned
                self.nodes[name] = dataclasses.replace(node, mark=None, unschedulable=node.unschedulable and not ours)
            case Note(name, record) if name in self.oses:
                self.oses[name] = dataclasses.replace(self.oses[name], record=record)
            case _:
                pass


def make_nodes(count: int, zones: int = 3, control_planes: int = 0) -> dict[str, NodeView]:
    """Nodes by name, spread over zones; the first ones are of the control plane."""
    found = {}
    for number in range(count):
        name = f"node-{number:04}"
        own = {ZONE: f"zone-{number % zones}", "kubernetes.io/hostname": name}
        if number < control_planes:
            own[CONTROL_PLANE] = ""
        found[name] = NodeView(name, f"uid-{name}", own, boot_id=f"boot-{name}")
    return found
