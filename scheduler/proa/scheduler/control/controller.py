"""The controller: as long as it leads, it looks at the cluster, plans, and carries the plan out, again and again.

It keeps nothing that it could not lose: what it has begun stands on nodes and in orders, and the next leader goes on
from there. While what it sees is old it does nothing, and blames nobody for what it has not seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from proa.core.runtime.backoff import Backoff
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.control import log
from proa.scheduler.control.alerts import AlertsAsker
from proa.scheduler.control.event_recorder import EventRecorder
from proa.scheduler.control.fair_turns import Stints
from proa.scheduler.control.pending import Pending
from proa.scheduler.control.reports import Reports
from proa.scheduler.control.sources import Sources
from proa.scheduler.drain.drainer import Drainer, Wanted, blockers_of, undrainable, wanted
from proa.scheduler.drain.undrainable import DrainPrecheck
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.objects.writing import Outcome, Writer, Written
from proa.scheduler.planning.actions import Action, Cordon
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.views import Snapshot, with_static_pods
from proa.scheduler.spec.rolloutstatus import Blocker

BLIND: Final = 30.0
"""Seconds without sight after which nodes are not blamed for what has happened before."""
LONGEST_WAIT: Final = 15.0
"""Seconds after which it looks at the clock although nothing has happened."""
GATHER: Final = 0.1
"""Seconds in which news is gathered: many things happen at the same time."""
_SOON: Final = 0.5
_TOO_MANY: Final = 429


@dataclass
class Pass:
    """What the last pass saw and planned, for metrics.

    Attributes:
        snapshot: What was known.
        plan: What was planned.
        seconds: How long that took.
        blockers: What keeps nodes from being drained, or would do so for ever.
    """

    snapshot: Snapshot
    plan: Plan
    seconds: float
    blockers: tuple[Blocker, ...] = ()


class Watcher(Protocol):
    """Whoever wants to know what the controller sees and does: metrics."""

    def saw(self, last: Pass) -> None:
        """A pass was planned."""
        ...

    def did(self, action: Action, snapshot: Snapshot) -> None:
        """An action was carried out."""
        ...


@dataclass(eq=False)
class Controller:
    """Takes the nodes of a cluster from one release to the next.

    Attributes:
        sources: What is seen.
        elector: Whether we lead.
        writer: How it is written.
        drainer: Drains nodes.
        teller: Tells of it.
        pending: Writes that may not show yet.
        changed: Raised by all that has news.
        own_node: Where this scheduler runs; empty if nowhere.
        clock: The clock.
        watcher: Is told of every pass and every action.
        skew: Tells what in the cluster is of another version than this scheduler.
        alerts: Asks Prometheus.
    """

    sources: Sources
    elector: LeaderElector
    writer: Writer
    drainer: Drainer
    recorder: EventRecorder
    pending: Pending
    changed: ChangeSignal
    own_node: str = ""
    clock: Clock = SYSTEM
    watcher: Watcher | None = None
    skew: Callable[[], tuple[str, ...]] = tuple
    alerts: AlertsAsker = field(default_factory=lambda: AlertsAsker(None, ChangeSignal()))
    beat: float = field(default=0.0, init=False)
    """When the last step, or write, began, by the monotonic clock."""
    last: Pass | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.beat = self.clock.monotonic()
        self._planner = Planner()
        self._reports = Reports(self.writer)
        self._precheck = DrainPrecheck(self.drainer.foresee, self.clock)
        self._fair_turns = Stints(self.clock)
        self._wanted: Mapping[str, Wanted] = {}
        self._away = Backoff(first=0.5, longest=15.0)
        self._rests_until = 0.0
        self._failing: set[str] = set()
        self._fence: int | None = None
        self._since: datetime = self.clock.now()
        self._blind = 0.0
        self._expected: float | None = None
        self._skew: tuple[str, ...] = ()

    def run(self, stop: threading.Event) -> None:
        """Go on until it is told to stop.

        Raises:
            ProaError: ``INTERNAL`` when a part of it has ended by a defect.
        """
        heard = 0
        while not stop.is_set():
            pause = min(self.step(), LONGEST_WAIT)
            self._expected = self.clock.monotonic() + pause + GATHER
            heard = self.changed.wait(heard, pause)
            stop.wait(GATHER)
        self._lay_down()

    def step(self) -> float:
        """Do what is to be done now; how many seconds to wait if nothing happens."""
        now = self.beat = self.clock.monotonic()
        if self._expected is not None and now - self._expected > BLIND:
            self._since = self.clock.now()  # this process stood still
        if not self.elector.leading:
            self._lay_down()
            return LONGEST_WAIT
        if self._fence != self.elector.fence:
            self._take_up()
        if not self.sources.synced:
            return _SOON
        stale = self.sources.stale(now)
        if stale:
            self._blind = max(self._blind, stale)
            return _SOON
        if self._blind > BLIND:
            self._since = self.clock.now()
        self._blind = 0.0
        if now < self._rests_until:  # news do not change that the API server wants to be left alone
            return self._rests_until - now
        try:
            if self.pending.unknown:
                self.pending.resolve()
            self._precheck.look_again(lambda: undrainable(self.last.snapshot, self.last.plan) if self.last else {}, now)
        except ProaError as error:
            return self._patience(error)
        return self._pass(now)

    # inside

    def _pass(self, now: float) -> float:
        """One pass: look, plan, write."""
        rollouts = self.sources.rollouts.objects
        snapshot = Snapshot(
            nodes=with_static_pods(self.sources.nodes.objects, self.sources.static_pods.objects.values()),
            oses=self.sources.oses.objects,
            rollouts=self._reports.over(rollouts),
            drains=self.drainer.views,
            daemon_sets=self.drainer.daemon_sets,
            pending=self.pending.nodes(self.sources.reached, now),
            resting=self.pending.resting(),
            own_node=self.own_node,
            since=self._since,
            undrainable=self._precheck.undrainable,
            refused=self.pending.refusals(),
            alerts=self.alerts.views,
        )
        began = self.clock.monotonic()
        plan = self._planner.plan(snapshot, self.clock.now())
        seconds = self.clock.monotonic() - began
        self.last = Pass(snapshot, plan, seconds, blockers_of(snapshot, plan))
        if self.watcher is not None:
            self.watcher.saw(self.last)
        self._reports.take(rollouts, plan.statuses)
        self.recorder.stands(snapshot.rollouts, plan.statuses)
        self.recorder.waits(snapshot.rollouts, plan.by_rollout, now)
        self.recorder.blocked(snapshot.nodes, self.last.blockers)
        self._wanted = wanted(snapshot, plan, self._wanted)
        self.drainer.want(self._wanted)
        self.alerts.want({name: rollouts[name].spec.health.alerts for name in plan.asks})
        problem = self._settle(self._reports.write(rollouts, now))
        self.recorder.unwritten(snapshot.rollouts, self._reports.refusals())
        self.recorder.skewed(snapshot.rollouts, self._skew)
        if problem is None:
            problem = self._act(snapshot, plan)
        if problem is not None:
            return problem
        self._away.reset()
        return self._pause(plan)

    def _act(self, snapshot: Snapshot, plan: Plan) -> float | None:
        """Carry the plan out, one write after the other; how long to wait before another try if that is cut short."""
        broken: set[str] = set()
        for action in self._fair_turns.deal(plan.actions):
            self.beat = self.clock.monotonic()
            if action.node not in broken and (pause := self._carry_out(action, snapshot, broken)) is not None:
                return pause
        return 0.0 if self._fair_turns.cut else None

    def _carry_out(self, action: Action, snapshot: Snapshot, broken: set[str]) -> float | None:
        """Carry out one action; how long to wait if that ends the pass. ``broken``: nodes that are left for now."""
        try:
            if not self._allows(action, snapshot):
                broken.add(action.node)
                self.changed.notify()  # its turn goes to another one
                return None
        except ProaError as error:
            if error.code is Code.INTERNAL:
                raise
            return self._patience(error)
        written = self.writer.carry_out(action, snapshot)
        self.pending.note(action, written, self.clock.monotonic())
        self.recorder.did(action, written, snapshot.nodes.get(action.node))
        log.info("write", node=action.node, what=_what(action), outcome=written.outcome.value)
        if self._is_its_own(action, written):
            self.pending.failed(action, written, self.clock.monotonic())
        elif (pause := self._settle([written], action)) is not None:
            return pause
        if written.outcome is not Outcome.DONE:
            broken.add(action.node)
        elif self.watcher is not None:
            self.watcher.did(action, snapshot)
        return None

    def _is_its_own(self, action: Action, written: Written) -> bool:
        """Whether a write failed on this object alone: the first one that fails may be so, a second one in a row not.

        A webhook that is down for one node answers 5xx or 429 in the API server's name. It rests like one that was
        refused, and the others go on.
        """
        if written.outcome is Outcome.DONE:
            self._failing.clear()
        error = written.error
        if written.outcome is not Outcome.AWAY or not isinstance(error, ApiError) or error.status in (0, 401):
            return False
        if error.retry_after is not None and error.status != _TOO_MANY:
            return False
        self._failing.add(action.node)
        return len(self._failing) == 1

    def _allows(self, action: Action, snapshot: Snapshot) -> bool:
        if not isinstance(action, Cordon) or action.again:
            return True
        policy = snapshot.rollouts[action.mark.rollout].spec.drain
        return self._precheck.allows(action, policy, self.clock.monotonic())

    def _settle(self, all_written: Iterable[Written], action: Action | None = None) -> float | None:
        """What writes mean for the rest of the pass: how long to wait if it is over, none if it goes on."""
        for written in all_written:
            self.beat = self.clock.monotonic()
            match written.outcome:
                case Outcome.FENCED:
                    log.warning("fenced: this one stops", fence=self.elector.fence, why=str(written.error or ""))
                    self.elector.resign()
                    return 0.0
                case Outcome.NOT_LEADING:
                    return 0.0
                case Outcome.AWAY:
                    return self._patience(written.error)
                case Outcome.DONE if written.version:
                    self._away.reset()
                case Outcome.REFUSED:
                    log.warning("refused", what=_what(action) if action else "status", why=str(written.error))
                case _:
                    pass
        return None

    def _patience(self, error: ProaError | None) -> float:
        """The API server is in trouble: how long to wait."""
        log.warning("the API server is unavailable", why=error.message if error else "")
        pause = self._away.next(error.retry_after if isinstance(error, ApiError) else None)
        self._rests_until = self.clock.monotonic() + pause
        return pause

    def _pause(self, plan: Plan) -> float:
        """How long nothing is to be done, if nothing happens."""
        now, rollouts = self.clock.monotonic(), self.sources.rollouts.objects
        waits = [self.pending.due(now), self._reports.due(rollouts, now), self._precheck.due(now)]
        if plan.wake is not None:
            waits.append((plan.wake - self.clock.now()).total_seconds())
        return max(0.0, min((wait for wait in waits if wait is not None), default=LONGEST_WAIT))

    def _take_up(self) -> None:
        """A term of ours begins."""
        self._fence, self._since = self.elector.fence, self.clock.now()
        self._blind = 0.0
        self._forget()
        log.info("leading", fence=self._fence)
        self._look_for_skew()

    def _look_for_skew(self) -> None:
        """Once a term: what is of another version does not change by itself."""
        try:
            self._skew = self.skew()
        except ProaError as error:
            log.warning("cannot tell whether everything has the same version", why=error.message)
        for what in self._skew:
            log.warning("version skew", what=what)

    def _lay_down(self) -> None:
        """A term of ours has ended, if there was one."""
        if self._fence is None:
            return
        self._fence = None
        self._forget()
        self.last = None
        self.drainer.want({})
        self.alerts.want({})
        log.info("no longer the leader")

    def _forget(self) -> None:
        self._wanted, self._skew = {}, ()
        self._failing.clear()
        for part in (self._reports, self._precheck, self._fair_turns, self.pending, self.recorder):
            part.clear()


def _what(action: Action) -> str:
    """An action in a few words."""
    verb = getattr(action, "verb", None)
    reason = getattr(action, "reason", "")
    return " ".join(word for word in (type(action).__name__, verb.value if verb else "", str(reason)) if word)
