"""Schedulers whose caches lag, in a simulated cluster: what the planner promises is tested with them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from proa.core.orders.messages import NodeStatus, Order
from proa.scheduler.planning.actions import Action, Cordon, Give, Uncordon
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.views import NodeOSView, NodeView, RolloutView, Snapshot
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.world import World, make_nodes
from proa.scheduler.spec.rollout import RolloutSpec

START: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""When simulated clusters of tests begin: a Monday, midnight."""
REST: Final = timedelta(minutes=1)
"""How long a node is left alone of which a write was not accepted."""
FIRST: Final = "registry.example/node@sha256:" + "1" * 64
SECOND: Final = "registry.example/node@sha256:" + "2" * 64


@dataclass
class UnreliableWorld(World):
    """A cluster in which proxies may go away, and objects may be deleted."""

    unheard: set[str] = field(default_factory=set)
    """Nodes whose proxy is away: they see no order."""
    refusing: set[str] = field(default_factory=set)
    """Nodes about which a webhook is asked that is down: what a scheduler writes of them is not accepted."""
    astray: list[str] = field(default_factory=list)
    """Nodes that an order has made reboot while they did not have our mark."""
    _last_words: dict[str, NodeStatus] = field(default_factory=dict)
    """What the agents of nodes that have lost their object would tell the next one."""

    def hear_again(self) -> None:
        """All proxies are there: each gives its node the order that stands there now."""
        for name in sorted(self.unheard):
            self.unheard.discard(name)
            os = self.oses.get(name)
            if os is not None and os.order is not None:
                self._give_soon(name, os.order)
            elif os is not None:
                self.at(self.behaviour.report, functools.partial(self._report_first, name))

    def lose_object(self, name: str) -> None:
        """Somebody deletes the object of a node."""
        os = self.oses.pop(name, None)
        if os is not None and os.status is not None:
            self._last_words[name] = dataclasses.replace(os.status, observed_order=None)

    def _take(self, name: str, order: Order) -> None:
        if name not in self.unheard:
            super()._take(name, order)

    def _report_first(self, name: str) -> None:
        os = self.oses.get(name)
        if name in self.unheard:
            return
        if name in self._last_words and os is not None and os.status is None and name in self.nodes:
            self._tell(name, self._last_words.pop(name))
            self.pick_up(name)
        super()._report_first(name)

    def _reboot(self, name: str, order: Order) -> None:
        boots, node = self.boots.get(name, 0), self.nodes[name]
        super()._reboot(name, order)
        if self.boots.get(name, 0) > boots and node.mark is None and self.oses[name].owner == node.uid:
            self.astray.append(name)


def a_world(
    count: int, spec: RolloutSpec, *, zones: int = 3, control_planes: int = 0, behaviour: Behaviour | None = None
) -> UnreliableWorld:
    """A cluster with one rollout, ``workers``, whose nodes have reported."""
    rollouts = {"workers": RolloutView("workers", "uid-workers", 1, spec)}
    made = UnreliableWorld(START, make_nodes(count, zones, control_planes), rollouts, behaviour or Behaviour())
    made.carry_out(Planner().plan(made.snapshot(), made.now))
    made.advance(made.now + timedelta(seconds=5))
    return made


@dataclass
class LaggingScheduler:
    """One scheduler: it plans from its own cache, and writes as long as its fence is the cluster's.

    Attributes:
        world: The cluster.
        fence: The one that it got when it became the leader.
        planner: Its planner.
        cache: What it knows.
        fresh: Whether that is all there is.
        since: Since when it has seen all that happens.
        held: Writes of which its cache may not know yet: node, whether to its Node or to its NodeOS, and what that was
            like when it wrote.
        resting: Nodes of which the last write was not accepted, and until when they are left alone.
    """

    world: UnreliableWorld
    fence: int
    planner: Planner = field(default_factory=Planner)
    cache: Snapshot = field(init=False)
    fresh: bool = True
    since: datetime = field(init=False)
    held: dict[tuple[str, bool], NodeView | NodeOSView | None] = field(default_factory=dict)
    resting: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.since = self.world.now
        self.refresh()

    def refresh(self, names: Iterable[str] | None = None) -> None:
        """The cache catches up, with all nodes or with some."""
        now, self.fresh = self.world.snapshot(), names is None
        if names is None:
            self.cache, self.held = now, {}  # all that was written shows, also what somebody undid meanwhile
        else:
            some, old = set(names), self.cache
            nodes = {n: view if n in some else old.nodes.get(n, view) for n, view in now.nodes.items()}
            oses = {n: view if n in some else old.oses[n] for n, view in now.oses.items() if n in some or n in old.oses}
            self.cache = dataclasses.replace(now, nodes=nodes, oses=oses)
        self.held = {key: before for key, before in self.held.items() if self._known(*key) == before}

    def plan(self) -> Plan:
        """What it would do now."""
        self.resting = {name: until for name, until in self.resting.items() if self.world.now < until}
        held = frozenset(name for name, _ in self.held)
        snapshot = dataclasses.replace(
            self.cache,
            pending=held | self.resting.keys(),
            resting=frozenset(self.resting) - held,
            refused=dict.fromkeys(self.resting, "failed calling webhook"),
            since=self.since,
        )
        return self.planner.plan(snapshot, self.world.now)

    def act(self, plan: Plan, fence: int, watch: Callable[[Action], None], limit: int | None = None) -> None:
        """Write a plan, or its beginning (it is killed then); with an old fence no order and no Node is written.

        The statuses come first, and are written over what was read only: nobody overwrites what another one has noted.

        Args:
            plan: The plan.
            fence: The cluster's.
            watch: Called before each write that reaches the cluster.
            limit: How many writes; all if none.
        """
        if fence == self.fence:
            self.world.write_statuses(plan)
        for action in plan.actions[:limit]:
            if isinstance(action, (Give, Cordon, Uncordon)) and fence != self.fence:
                return
            if action.node in self.world.refusing:
                self.resting[action.node] = self.world.now + REST
                continue
            watch(action)
            key = action.node, isinstance(action, (Cordon, Uncordon))
            self.held.setdefault(key, self._known(*key))
            self.world.apply(action)
        if limit is None:
            self.world.drain(plan)

    def _known(self, name: str, of_node: bool) -> NodeView | NodeOSView | None:
        """What the cache has of a Node, or of its NodeOS."""
        return self.cache.nodes.get(name) if of_node else self.cache.oses.get(name)
