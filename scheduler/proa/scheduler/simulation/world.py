"""A cluster in virtual time: what actions do to it, and what its nodes, agents and proxies do by themselves.

``simulate`` runs a whole rollout in it, and the planner's property tests let everything go wrong in it.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    Booted,
    Condition,
    LastError,
    NodeStatus,
    Order,
    OrderResult,
    Phase,
    Proof,
    SettingsState,
    Standby,
)
from proa.core.runtime import duration
from proa.core.runtime.errors import Code
from proa.core.settings.disruption import Disruption
from proa.core.settings.document import EMPTY, parse
from proa.core.settings.registry import disruption
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.ordered import result_of
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.views import (
    CONTROL_PLANE,
    ZONE,
    AlertsView,
    DrainView,
    NodeOSView,
    NodeView,
    RolloutView,
    Snapshot,
    digest_of,
)
from proa.scheduler.simulation import node_status
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.spec.rolloutstatus import Blocker

WRITTEN: Final = 0.5
"""Seconds that a node needs at most for kernel parameters: a few writes below /proc, and files that are flushed."""
_FACTORY: Final = "0" * 64
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass
class World:
    """The cluster: its nodes, and what is written about them.

    Attributes:
        now: The time.
        behaviour: How nodes behave.
        own_node: Where the scheduler runs.
        boots: How often each node was made to reboot.
        undrainable: What would keep which nodes from being drained for ever.
        firing: What Prometheus says that fires.
        silence: Why Prometheus does not answer; empty if it does.
    """

    now: datetime
    nodes: dict[str, NodeView]
    rollouts: dict[str, RolloutView]
    behaviour: Behaviour = field(default_factory=Behaviour)
    oses: dict[str, NodeOSView] = field(default_factory=dict)
    own_node: str = ""
    boots: dict[str, int] = field(default_factory=dict)
    undrainable: Mapping[str, tuple[Blocker, ...]] = field(default_factory=dict)
    firing: tuple[str, ...] = ()
    silence: str = ""
    _events: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _drained: dict[str, datetime] = field(default_factory=dict)
    _settings_before: dict[str, SettingsState | None] = field(default_factory=dict)

    def at(self, seconds: float, work: Callable[[], None]) -> None:
        """Let something happen later."""
        heapq.heappush(self._events, (self.now + timedelta(seconds=seconds), next(self._numbers), work))

    @property
    def next_event(self) -> datetime | None:
        """When something happens next."""
        return self._events[0][0] if self._events else None

    def advance(self, until: datetime) -> None:
        """Let the time pass, and all happen that happens until then."""
        while self._events and self._events[0][0] <= until:
            self.now, _, work = heapq.heappop(self._events)
            work()
        self.now = max(self.now, until)

    # what is done to it

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
            alerts=dict(self._alerts()),
        )

    def _alerts(self) -> Iterator[tuple[str, AlertsView]]:
        """What Prometheus says of each rollout that asks it."""
        for name, view in self.rollouts.items():
            if queries := view.spec.health.alerts:
                yield name, AlertsView(queries, self.now, self.firing, self.silence, self.now)

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
            stuck = name in self.undrainable or self.behaviour.fate(name, "") is NodeFate.UNDRAINABLE
            slow = stuck and name not in plan.forced
            if name not in self._drained or (name in plan.forced and self._drained[name] == _NEVER):
                seconds = self.behaviour.drain
                self._drained[name] = _NEVER if slow else self.now + timedelta(seconds=seconds)
                self.at(seconds, lambda: None)

    def apply(self, action: Action) -> None:
        """Do to the cluster what an action does; what is not possible any more changes nothing."""
        match action:
            case Create(name) if name in self.nodes and name not in self.oses:
                self.oses[name] = NodeOSView(
                    name, f"os-{name}-{next(self._numbers)}", self.nodes[name].uid, created=self.now
                )
                self.at(self.behaviour.report, lambda: self._report_first(name))
            case Forget(name, uid) if name in self.oses and self.oses[name].uid == uid:
                del self.oses[name]
            case Give(name, number) if name in self.oses:
                os = self.oses[name]
                if os.order is None or os.order.id < number:
                    order = action.order(1, text(self.now))
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

    # what nodes do

    def pick_up(self, name: str) -> None:
        """Let a node go on with what it did when it was looked at; one that is not Ready only comes up again."""
        os, node = self.oses[name], self.nodes[name]
        order, status = os.order, os.status
        if status is None or (booted := status.booted) is None:
            return
        observed = status.observed_order
        if order is not None and not self._has_seen(name, order) and node.ready:
            self._give_soon(name, order)
        elif order is not None and observed is not None and observed.result == OrderResult.RUNNING.value:
            if order.action is Verb.STAGE and node.ready:
                self.at(self.behaviour.stage, lambda: self._staged(name, order))
            elif order.action in (Verb.BOOT, Verb.ROLLBACK):
                self.at(self.behaviour.boot, lambda: self._up(name, order))
            elif order.action is Verb.CONFIGURE and node.ready:
                self.at(self._settling(order), lambda: self._configure(name, order))
        if status.settings is not None and (tried := status.settings.trial_hash):
            self.at(self.behaviour.trial, lambda: self._revert(name, tried, "it was not committed in time"))
        if not booted.committed and status.standby is not None:
            self.at(self.behaviour.trial, lambda: self._return(name, booted.boot_id))

    def _give_soon(self, name: str, order: Order) -> None:
        self.at(self.behaviour.report, lambda: self._take(name, order))

    def _tell(self, name: str, status: NodeStatus) -> None:
        self.oses[name] = dataclasses.replace(self.oses[name], status=status)

    def _report_first(self, name: str) -> None:
        os = self.oses.get(name)
        if os is not None and name in self.nodes and os.status is None:
            booted = Booted("a", "factory", "", _FACTORY, self.nodes[name].boot_id, True)
            unset = node_status.UNSET
            self._tell(name, NodeStatus(phase=Phase.GOOD, booted=booted, standby=Standby("b"), settings=unset))

    def _end(self, name: str, result: OrderResult, **changes: object) -> None:
        self._tell(name, node_status.ended(self._status(name), result, **changes))

    def _refuse(self, name: str, code: Code, message: str) -> None:
        self._end(name, OrderResult.REFUSED, last_error=LastError(code.name, message))

    def _status(self, name: str) -> NodeStatus:
        return self.oses[name].status or NodeStatus()

    def _current(self, name: str, order: Order) -> bool:
        """Whether the order is the node's last one still."""
        os = self.oses.get(name)
        return os is not None and os.order == order and name in self.nodes and os.status is not None

    def _take(self, name: str, order: Order) -> None:
        """A node sees an order, once."""
        if not self._current(name, order) or self._has_seen(name, order):
            return
        self._tell(name, node_status.begun(self._status(name), order))
        match order.action:
            case Verb.STAGE:
                self._tell(name, dataclasses.replace(self._status(name), phase=Phase.STAGING))
                self.at(self.behaviour.stage, lambda: self._staged(name, order))
            case Verb.BOOT | Verb.ROLLBACK:
                self._reboot(name, order)
            case Verb.COMMIT:
                self._commit(name, order)
            case Verb.CONFIGURE:
                self.at(self._settling(order), lambda: self._configure(name, order))
            case Verb.COMMIT_SETTINGS | Verb.REVERT_SETTINGS:
                self._end_settings(name, order)
            case Verb.NONE:
                self._end(name, OrderResult.DONE)

    def _has_seen(self, name: str, order: Order) -> bool:
        return bool(result_of(order, self._status(name)))

    def _staged(self, name: str, order: Order) -> None:
        if not self._current(name, order):
            return
        digest = digest_of(order.release)
        if self.behaviour.fate(name, digest) is NodeFate.UNFETCHED:
            error = LastError(Code.NOT_FOUND.name, "the registry does not have the release")
            self._end(name, OrderResult.FAILED, phase=Phase.FAILED, last_error=error)
            return
        standby = self._status(name).standby
        slot = standby.slot if standby else "b"
        standby = node_status.staged(slot, digest[-6:], digest, digest.removeprefix("sha256:"))
        self._end(name, OrderResult.DONE, phase=Phase.STAGED, standby=standby, last_error=None)

    def _settling(self, order: Order) -> float:
        """Seconds until settings are in effect: what restarts nothing is written, and read back."""
        restarts = disruption(EMPTY, parse(order.settings)) > Disruption.NONE
        return self.behaviour.settle if restarts else min(WRITTEN, self.behaviour.settle)

    def _configure(self, name: str, order: Order) -> None:
        """Settings take effect, and return by themselves unless they are committed; or they do not."""
        if not self._current(name, order):
            return
        wanted = parse(order.settings)
        if self.behaviour.fate(name, wanted.digest) is NodeFate.RETURNS:
            status = node_status.reverted(self._status(name), wanted.digest, "a daemon does not start", "Failed")
            error = LastError(Code.SETTINGS_FAILED.name, "a daemon does not start")
            self._tell(name, node_status.ended(status, OrderResult.FAILED, last_error=error))
            return
        self._tell(name, node_status.ended(node_status.tried(self._status(name), wanted), OrderResult.DONE))
        seconds = duration.parse(order.timeout).total_seconds()
        self.at(seconds, lambda: self._revert(name, wanted.digest, "it was not committed in time"))

    def _end_settings(self, name: str, order: Order) -> None:
        told = self._status(name).settings
        if told is None or told.trial_hash != order.settings_hash:
            self._refuse(name, Code.NO_SETTINGS_TRIAL, "other settings are being tried")
        elif order.action is Verb.REVERT_SETTINGS:
            self._revert(name, order.settings_hash, "an order reverted it")
            self._end(name, OrderResult.DONE)
        else:
            self._tell(name, node_status.ended(node_status.kept(self._status(name)), OrderResult.DONE))

    def _revert(self, name: str, wanted: str, why: str) -> None:
        told = self._status(name).settings if name in self.oses else None
        if told is not None and told.trial_hash == wanted:
            self._tell(name, node_status.reverted(self._status(name), wanted, why))

    def _reboot(self, name: str, order: Order) -> None:
        """A node goes down; what comes up depends on its fate."""
        standby = self._status(name).standby
        if standby is None or not (standby.complete or standby.good):
            self._refuse(name, Code.NOT_STAGED, "nothing is staged")
            return
        self.boots[name] = self.boots.get(name, 0) + 1
        self._tell(name, dataclasses.replace(self._status(name), phase=Phase.BOOTING))
        self.nodes[name] = dataclasses.replace(self.nodes[name], ready=False, ready_since=self.now)
        if self.behaviour.fate(name, standby.release) is not NodeFate.NEVER_BACK:
            self.at(self.behaviour.boot, lambda: self._up(name, order))

    def _up(self, name: str, order: Order) -> None:
        status = self._status(name) if self._current(name, order) else NodeStatus()
        if status.booted is None or status.standby is None:
            return
        back = order.action is Verb.ROLLBACK
        boot_id = self._boot(name)
        returns = not back and self.behaviour.fate(name, status.standby.release) is NodeFate.RETURNS
        self._settings_before[name] = status.settings
        if order.settings:
            status = node_status.configured(status, parse(order.settings))
        self._tell(name, node_status.swapped(status, boot_id, committed=back, left="fallback"))
        well = (Condition("Healthy", "False" if returns else "True", message="a check fails" if returns else ""),)
        self._end(name, OrderResult.DONE, phase=Phase.GOOD if back else Phase.TRIAL, conditions=well)
        if not back:
            self.at(self.behaviour.trial, lambda: self._return(name, boot_id))

    def _return(self, name: str, boot_id: str) -> None:
        """A trial's deadline: it goes back unless it was committed."""
        status = self._status(name) if name in self.nodes and name in self.oses else NodeStatus()
        booted = status.booted
        if booted is None or booted.boot_id != boot_id or booted.committed:
            return
        returns = self.behaviour.fate(name, booted.release) is NodeFate.RETURNS
        status = node_status.swapped(status, self._boot(name), committed=True, left="failed")
        status = node_status.came_back(status, Code.TRIAL_RETURNED if returns else Code.NO_COMMIT_ORDER)
        self._tell(name, dataclasses.replace(status, conditions=(), settings=self._settings_before.get(name)))

    def _commit(self, name: str, order: Order) -> None:
        booted = self._status(name).booted
        if booted is None or order.trial != Proof(booted.boot_id, booted.root_hash):
            self._refuse(name, Code.STALE_ORDER, "another boot runs")
            return
        committed = dataclasses.replace(booted, committed=True)
        self._end(name, OrderResult.DONE, phase=Phase.GOOD, booted=committed, last_error=None)

    def _boot(self, name: str) -> str:
        """The node comes up, and is Ready soon; its boot id."""
        boot_id = f"boot-{name}-{next(self._numbers)}"
        since = self.now + timedelta(seconds=self.behaviour.ready)
        self.nodes[name] = dataclasses.replace(self.nodes[name], ready=True, ready_since=since, boot_id=boot_id)
        return boot_id


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
