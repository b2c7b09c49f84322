"""The nodes of a cluster in virtual time, and what they, their agents and their proxies do by themselves."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from proa.core.orders import messages
from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Booted, Condition, LastError, NodeStatus, Observed, Order, Phase, Result, Standby
from proa.scheduler.planning.views import NodeOSView, NodeView, RolloutView, digest_of
from proa.scheduler.simulation.behaviour import Behaviour, Fate

_FACTORY: Final = "0" * 64


@dataclass
class Machines:
    """The nodes.

    Attributes:
        now: The time.
        behaviour: How they behave.
        own_node: Where the scheduler runs.
    """

    now: datetime
    nodes: dict[str, NodeView]
    rollouts: dict[str, RolloutView]
    behaviour: Behaviour = field(default_factory=Behaviour)
    oses: dict[str, NodeOSView] = field(default_factory=dict)
    own_node: str = ""
    boots: dict[str, int] = field(default_factory=dict)
    """How often each node was made to reboot."""
    unheard: set[str] = field(default_factory=set)
    """Nodes whose proxy is away: they see no order."""
    astray: list[str] = field(default_factory=list)
    """Nodes that an order has made reboot while they did not have our mark."""
    _last_words: dict[str, NodeStatus] = field(default_factory=dict)
    """What the agents of nodes that have lost their object would tell the next one."""
    _events: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

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

    # what nodes do

    def pick_up(self, name: str) -> None:
        """Let a node go on with what it did when it was looked at; one that is not Ready only comes up again."""
        os, node = self.oses[name], self.nodes[name]
        order, status = os.order, os.status
        if status is None or (booted := status.booted) is None:
            return
        observed = status.observed_order
        seen = order is not None and observed is not None and observed.id == order.id
        if order is not None and not seen and node.ready:
            self._give_soon(name, order)
        elif order is not None and observed is not None and observed.result == Result.RUNNING.value:
            if order.action is Verb.STAGE and node.ready:
                self.at(self.behaviour.stage, lambda: self._staged(name, order))
            elif order.action in (Verb.BOOT, Verb.ROLLBACK):
                self.at(self.behaviour.boot, lambda: self._up(name, order))
        if not booted.committed and (other := status.standby) is not None:
            old = Booted(other.slot, other.version, other.release, other.root_hash, "", True)
            tried = Standby(booted.slot, booted.version, booted.release, booted.root_hash)
            self.at(self.behaviour.trial, lambda: self._return(name, booted.boot_id, old, tried))

    def hear_again(self) -> None:
        """All proxies are there: each gives its node the order that stands there now."""
        for name in sorted(self.unheard):
            self.unheard.discard(name)
            os = self.oses.get(name)
            if os is not None and os.order is not None:
                self._give_soon(name, os.order)
            elif os is not None:
                self.at(self.behaviour.report, lambda name=name: self._report_first(name))  # type: ignore[misc]

    def lose_object(self, name: str) -> None:
        """Somebody deletes the object of a node."""
        os = self.oses.pop(name, None)
        if os is not None and os.status is not None:
            self._last_words[name] = dataclasses.replace(os.status, observed_order=None)

    def _give_soon(self, name: str, order: Order) -> None:
        self.at(self.behaviour.report, lambda: self._take(name, order))

    def _fate(self, name: str, digest: str) -> Fate:
        return self.behaviour.fate(name, digest)

    def _tell(self, name: str, **changes: object) -> None:
        os = self.oses.get(name)
        if os is not None:
            status = dataclasses.replace(os.status or NodeStatus(), **changes)  # type: ignore[arg-type]  # by name
            self.oses[name] = dataclasses.replace(os, status=status)

    def _report_first(self, name: str) -> None:
        os = self.oses.get(name)
        if os is None or name not in self.nodes or name in self.unheard or os.status is not None:
            return
        booted = Booted("a", "factory", "", _FACTORY, self.nodes[name].boot_id, True)
        factory = NodeStatus(phase=Phase.GOOD, booted=booted, standby=Standby("b"))
        self.oses[name] = dataclasses.replace(os, status=self._last_words.pop(name, factory))

    def _observe(self, name: str, order: Order, result: Result, **changes: object) -> None:
        self._tell(name, observed_order=Observed(order.id, order.action.value, result.value), **changes)

    def _current(self, name: str, order: Order) -> bool:
        """Whether the order is the node's last one still."""
        os = self.oses.get(name)
        return os is not None and os.order == order and name in self.nodes and os.status is not None

    def _take(self, name: str, order: Order) -> None:
        """A node sees an order, once."""
        if not self._current(name, order) or name in self.unheard or self._has_seen(name, order):
            return
        match order.action:
            case Verb.STAGE:
                self._observe(name, order, Result.RUNNING, phase=Phase.STAGING)
                self.at(self.behaviour.stage, lambda: self._staged(name, order))
            case Verb.BOOT:
                self._reboot(name, order)
            case Verb.ROLLBACK:
                self._reboot(name, order)
            case Verb.COMMIT:
                self._commit(name, order)
            case Verb.NONE:
                self._observe(name, order, Result.DONE)

    def _has_seen(self, name: str, order: Order) -> bool:
        status = self.oses[name].status
        return status is not None and status.observed_order is not None and status.observed_order.id == order.id

    def _staged(self, name: str, order: Order) -> None:
        if not self._current(name, order):
            return
        digest = digest_of(order.release)
        if self._fate(name, digest) is Fate.UNFETCHED:
            error = LastError("NOT_FOUND", "the registry does not have it")
            self._observe(name, order, Result.FAILED, phase=Phase.FAILED, last_error=error)
            return
        status = self.oses[name].status
        slot = status.standby.slot if status and status.standby else "b"
        standby = Standby(slot, digest[-6:], digest, _hash(digest), "staged", True, False)
        self._observe(name, order, Result.DONE, phase=Phase.STAGED, standby=standby, last_error=None)

    def _reboot(self, name: str, order: Order) -> None:
        """A node goes down; what comes up depends on its fate."""
        status = self.oses[name].status
        standby = status.standby if status else None
        if standby is None or not (standby.complete or standby.good):
            self._observe(name, order, Result.REFUSED, last_error=LastError("NOT_STAGED", "nothing is staged"))
            return
        self.boots[name] = self.boots.get(name, 0) + 1
        if self.nodes[name].mark is None and self.oses[name].owner == self.nodes[name].uid:
            self.astray.append(name)
        self._observe(name, order, Result.RUNNING, phase=Phase.BOOTING)
        self.nodes[name] = dataclasses.replace(self.nodes[name], ready=False, ready_since=self.now)
        if self._fate(name, standby.release) is not Fate.NEVER_BACK:
            self.at(self.behaviour.boot, lambda: self._up(name, order))

    def _up(self, name: str, order: Order) -> None:
        if not self._current(name, order):
            return
        status = self.oses[name].status
        if status is None or status.booted is None or status.standby is None:
            return
        boot_id = f"boot-{name}-{next(self._numbers)}"
        booted, standby = status.booted, status.standby
        back = order.action is Verb.ROLLBACK
        new = Booted(standby.slot, standby.version, standby.release, standby.root_hash, boot_id, back)
        old = Standby(booted.slot, booted.version, booted.release, booted.root_hash, "fallback", True, True)
        returns = not back and self._fate(name, standby.release) is Fate.RETURNS
        well = (Condition("Healthy", "False" if returns else "True", message="a check fails" if returns else ""),)
        self._ready(name, boot_id)
        phase = Phase.GOOD if back else Phase.TRIAL
        self._observe(name, order, Result.DONE, phase=phase, booted=new, standby=old, conditions=well)
        if not back:
            self.at(self.behaviour.trial, lambda: self._return(name, boot_id, booted, standby))

    def _return(self, name: str, boot_id: str, booted: Booted, standby: Standby) -> None:
        """A trial's deadline: it goes back unless it was committed."""
        os = self.oses.get(name)
        status = os.status if os else None
        if name not in self.nodes or status is None or status.booted is None or status.booted.boot_id != boot_id:
            return
        if status.booted.committed:
            return
        again = f"boot-{name}-{next(self._numbers)}"
        code = "TRIAL_RETURNED" if self._fate(name, standby.release) is Fate.RETURNS else "NO_COMMIT_ORDER"
        self._ready(name, again)
        failed = dataclasses.replace(standby, state="failed", complete=True, good=False)
        observed = status.observed_order
        self._tell(
            name,
            phase=Phase.ROLLED_BACK,
            booted=dataclasses.replace(booted, boot_id=again),
            standby=failed,
            observed_order=dataclasses.replace(observed, result=Result.FAILED.value) if observed else None,
            last_error=LastError(code, "the trial came back"),
            conditions=(),
        )

    def _commit(self, name: str, order: Order) -> None:
        status = self.oses[name].status
        booted = status.booted if status else None
        if booted is None or order.trial != messages.Proof(booted.boot_id, booted.root_hash):
            self._observe(name, order, Result.REFUSED, last_error=LastError("STALE_ORDER", "another boot runs"))
            return
        committed = dataclasses.replace(booted, committed=True)
        self._observe(name, order, Result.DONE, phase=Phase.GOOD, booted=committed, last_error=None)

    def _ready(self, name: str, boot_id: str) -> None:
        since = self.now + timedelta(seconds=self.behaviour.ready)
        self.nodes[name] = dataclasses.replace(self.nodes[name], ready=True, ready_since=since, boot_id=boot_id)


def _hash(digest: str) -> str:
    return digest.removeprefix("sha256:")
