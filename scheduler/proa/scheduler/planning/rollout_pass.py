"""One rollout as it stands at one moment: its aim, its nodes, what its spec says in numbers.

What went wrong on a node is written down: how often, when it has its next turn, whether it counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from proa.core.runtime import duration
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.actions import Action, Note
from proa.scheduler.planning.budget import Allowance, Calendar
from proa.scheduler.planning.node_progress import Aim, NodeProgress
from proa.scheduler.planning.node_step import UNDER_WAY, NodeStep
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.settings_aim import hash_of, settings_aim
from proa.scheduler.planning.views import NodeRecord, RolloutView, Snapshot
from proa.scheduler.spec.amounts import resolve
from proa.scheduler.spec.rollout import ControlPlane, Cordoned, OnFailure, RolloutSpec
from proa.scheduler.spec.rolloutstatus import MAX_HISTORY, OutstandingNode, PastRollout, RolloutPhase, RolloutStatus

ENOUGH: Final = 5
"""Nodes that must have been measured before their times are believed."""
LONGEST: Final = timedelta(hours=12)
"""A node is never made to wait for longer."""
SILENCE: Final = timedelta(minutes=5)
"""How much longer than a node has for an order the scheduler waits to hear what became of it."""
JOINING: Final = timedelta(minutes=10)
"""How long the agent of a node that has joined may take to speak for the first time."""
AWAY: Final = "NO_COMMIT_ORDER"
"""The agent's code for a trial that was well, and that nobody ordered to commit: no fault of the release."""
_SHARE: Final = 0.9
"""The share of nodes that took no longer than what is expected of the next one."""


def is_current(view: RolloutView) -> bool:
    """Whether the status is about what the spec asks for now."""
    status = view.status
    wanted = (view.spec.release, view.spec.attempt, hash_of(view.spec))
    return (status.release, status.attempt, status.settings) == wanted


def is_halted(view: RolloutView) -> bool:
    """Whether it was halted, and nobody has resumed it."""
    return is_current(view) and bool(view.status.halted)


def aim_of(view: RolloutView) -> Aim:
    """Where the rollout wants its nodes now."""
    back = is_halted(view) and goes_back(view.spec, view.status)
    return Aim(view.name, view.spec.release, view.spec.attempt, back, settings_aim(view.spec, view.status))


def goes_back(spec: RolloutSpec, status: RolloutStatus) -> bool:
    """Whether nodes go back to the release before, should it fail: not for settings, which return by themselves."""
    return spec.failure.action is OnFailure.ROLLBACK and not status.settings_alone


class Turn(NamedTuple):
    """What nodes are sorted by.

    Attributes:
        undrainable: Whether its drain is foreseen to fail.
        own: Whether the scheduler runs there.
        joined: Whether it joined after the rollout began.
        group: The place of its group.
        rank: The place of the control plane, or of the others.
        retries: Tries that did not come out well.
        zone: Its zone.
        name: Its name.
    """

    undrainable: bool
    own: bool
    joined: bool
    group: int
    rank: bool
    retries: int
    zone: str
    name: str


@dataclass
class RolloutPass:
    """A rollout in one pass of the planner.

    Attributes:
        view: The rollout.
        aim: Where it wants its nodes.
        progresses: Its nodes, but for those that a person, or the spec, has excluded.
        snapshot: All that is known.
        now: The time.
        calendar: The windows of its spec.
        halted: Whether it was halted, or is in this pass.
        actions: What is to be done.
        verdicts: Why each node does or does not move.
        drains: Nodes that are to be drained, with the time by which they must be.
        waits: Those of them on which pods may finish first, with the time until which they may.
        forced: Those of them whose time is up, and that go on all the same.
        wakes: When there is something to do again, although nothing has changed.
        ghosts: Nodes that were ordered to reboot, and are gone, or there without our mark: they hold their places.
        unproved: Those that are there under another UID, marked, and have not said yet what runs there.
        asks: Whether only what Prometheus says is left to know before a node starts.
        finished: Seconds that nodes took which are uncordoned now, where all of them were seen.
        ahead: By group that has yet to be done: those of its nodes that later groups wait for, for a sentence.
        ill: By group and zone: those of its nodes that run the release and are not Ready, for a sentence.
    """

    view: RolloutView
    aim: Aim
    progresses: Sequence[NodeProgress]
    snapshot: Snapshot
    now: datetime
    calendar: Calendar
    halted: bool = False
    actions: list[Action] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    drains: dict[str, datetime] = field(default_factory=dict)
    waits: dict[str, datetime] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    wakes: list[datetime] = field(default_factory=list)
    ghosts: list[OutstandingNode] = field(default_factory=list)
    unproved: list[OutstandingNode] = field(default_factory=list)
    asks: bool = False
    finished: list[int] = field(default_factory=list)
    ahead: dict[str, str] = field(default_factory=dict)
    ill: dict[str, str] = field(default_factory=dict)
    status: RolloutStatus = field(default_factory=RolloutStatus)

    def __post_init__(self) -> None:
        self.status = self.view.status if is_current(self.view) else begun(self.view, self.now)

    @property
    def spec(self) -> RolloutSpec:
        """What is wanted."""
        return self.view.spec

    @cached_property
    def total(self) -> int:
        """How many nodes follow it: those whose agents have never spoken, although they had the time, do not."""
        return len(self.progresses) - len(self.without_agent)

    @cached_property
    def without_agent(self) -> frozenset[str]:
        """Nodes whose agents have had the time to speak, and never did: other systems, virtual kubelets."""
        found = set()
        out = {one.node for one in self.status.outstanding}
        for progress in self.by_step[NodeStep.SILENT]:
            created = progress.os.created if progress.os else None
            if created is None or progress.mark is not None or progress.order is not None or progress.node.name in out:
                continue
            if self.now >= created + JOINING:
                found.add(progress.node.name)
            else:
                self.wakes.append(created + JOINING)
        return frozenset(found)

    @property
    def expected(self) -> timedelta:
        """How long a node takes that is started now.

        What was measured must not shut off the measuring: where it is longer than the whole window, what the spec says
        is its cap, and the next node tries.
        """
        configured = duration.parse(self.spec.expected_duration)
        if (learned := self.learned) is None:
            return configured
        return configured if learned > configured and not self.calendar.can_hold(self.now, learned) else learned

    @property
    def learned(self) -> timedelta | None:
        """How long nine of ten nodes took on the way to this release; none before enough were measured."""
        recent = sorted(self.status.recent_seconds)
        if len(recent) < ENOUGH:
            return None
        return timedelta(seconds=recent[min(len(recent) - 1, int(len(recent) * _SHARE))])

    @cached_property
    def allowance(self) -> Allowance:
        """What the budgets say to a node that is started now."""
        return self.calendar.allowance(self.now, self.total, self.expected)

    @cached_property
    def failed(self) -> list[NodeProgress]:
        """Nodes on which the release has failed, in this attempt."""
        return [progress for progress in self.progresses if progress.record is not None and progress.record.failed]

    def borne(self) -> int:
        """How many failed nodes are allowed."""
        return resolve(self.spec.failure.max, self.total)

    def change(self, **changes: object) -> None:
        """Change the status that is going to be written."""
        self.status = dataclasses.replace(self.status, **changes)  # type: ignore[arg-type]  # by name

    def say(self, progress: NodeProgress, reason: Reason, detail: str = "") -> None:
        """Note why a node does or does not move."""
        self.verdicts[progress.node.name] = Verdict(reason, detail)

    @cached_property
    def by_step(self) -> Mapping[NodeStep, list[NodeProgress]]:
        """The nodes at each step."""
        found: dict[NodeStep, list[NodeProgress]] = {step: [] for step in NodeStep}
        for progress in self.progresses:
            found[progress.step].append(progress)
        return found

    @cached_property
    def under_way(self) -> list[NodeProgress]:
        """Its nodes between cordon and uncordon."""
        return [progress for step in UNDER_WAY for progress in self.by_step[step]]

    @cached_property
    def away(self) -> int:
        """How many of its nodes are away, for whatever reason."""
        return sum([progress.away for progress in self.progresses])

    def at_rest(self, step: NodeStep) -> Sequence[NodeProgress]:
        """The nodes at a step, but for those with a write of ours that may not show yet."""
        pending, found = self.snapshot.pending, self.by_step[step]
        return [progress for progress in found if progress.node.name not in pending] if pending else found

    def turn(self, progress: NodeProgress) -> Turn:
        """The turn of a node.

        Who waits for others by a rule comes behind them, or its zone would hold all others back.
        """
        node = progress.node
        first = self.spec.order.control_plane is ControlPlane.FIRST
        own = node.name == self.snapshot.own_node
        return Turn(
            progress.is_drained and node.name in self.snapshot.undrainable,
            own,
            self.has_joined(progress),
            progress.group,
            node.control_plane is not first,
            progress.retries,
            node.zone,
            node.name,
        )

    def is_stuck(self, progress: NodeProgress) -> bool:
        """Whether a node could never be drained, or the cluster does not accept what is written to it."""
        name, snapshot = progress.node.name, self.snapshot
        drained = progress.step is NodeStep.READY and progress.is_drained
        return name in snapshot.resting or (drained and name in snapshot.undrainable)

    def is_set_aside(self, progress: NodeProgress) -> bool:
        """Whether a node has a cordon that is not ours, and that the rollout does not include."""
        node = progress.node
        return node.unschedulable and node.mark is None and self.spec.cordoned is Cordoned.SKIP

    @cached_property
    def _joins(self) -> datetime | None:
        """After when a node has joined the rollout, and was not there when it began."""
        began = read(self.status.started_at)
        return began + JOINING if began is not None else None

    def has_joined(self, progress: NodeProgress) -> bool:
        """Whether a node joined after the rollout began: it goes along, but nobody waits for it.

        The set that others wait for is the one of the beginning: where nodes join again and again, it would never end.
        One that has no object yet gets it in this pass.
        """
        if self._joins is None or self.now <= self._joins:
            return False
        created = progress.os.created if progress.os else self.now
        return created is not None and created > self._joins

    # what went wrong

    def fail(self, progress: NodeProgress, reason: str, message: str, *, fault: bool = False) -> None:
        """Write down a try that failed.

        Args:
            progress: The node.
            reason: In a word.
            message: In a sentence.
            fault: Whether it counts against the release at once, however many tries are left.
        """
        before = self._before(progress)
        failures = before.failures + 1
        failed = before.failed or fault or failures > self.spec.retry.limit
        record = dataclasses.replace(before, failures=failures, failed=failed, not_before=self._turn(before.failures))
        self._note(progress, record, reason, message)

    def park(self, progress: NodeProgress, reason: str, message: str) -> None:
        """Write down a try that was broken off, and that is nobody's fault."""
        before = self._before(progress)
        record = dataclasses.replace(before, parks=before.parks + 1, not_before=self._turn(before.parks))
        self._note(progress, record, reason, message)

    def is_late(self, progress: NodeProgress, limit: timedelta) -> bool:
        """Whether a node took longer than ``limit`` from its last order on; if not, it is looked at again then.

        What was counted already is late no more. While the scheduler was away a node may have heard and told nothing.
        """
        order = progress.order
        if order and progress.os and progress.os.record and progress.os.record.order >= order.id:
            return False
        since = read(order.issued) if order else None
        if since is None:
            since = progress.mark.since if progress.mark else self.now
        since = max(since, self.snapshot.since or since)
        if self.now >= since + limit:
            return True
        self.wakes.append(since + limit)
        return False

    def _before(self, progress: NodeProgress) -> NodeRecord:
        aim = self.aim
        made = NodeRecord(aim.rollout, aim.digest, aim.attempt, back=aim.back, settings=aim.settings_hash)
        return progress.record or made

    def backoff(self, times: int) -> timedelta:
        """How long to wait after one more than so many failures."""
        backoff = duration.parse(self.spec.retry.backoff)
        wait: timedelta = min(LONGEST, backoff * (1 << min(times, 16)))
        return wait

    def _turn(self, times: int) -> datetime:
        return self.now + self.backoff(times)

    def _note(self, progress: NodeProgress, record: NodeRecord, reason: str, message: str) -> None:
        order = progress.order.id if progress.order else 0
        mark = progress.mark.since if progress.mark else None
        counted = dataclasses.replace(record, order=order, mark=mark, reason=reason, message=message[:1024])
        self.actions.append(Note(progress.node.name, counted))


def begun(view: RolloutView, now: datetime) -> RolloutStatus:
    """The status of a new target, or of another attempt: what was before goes into the history."""
    before = view.status
    history = before.history
    if before.started_at:
        past = PastRollout(
            release=before.release,
            attempt=before.attempt,
            phase=before.phase,
            started_at=before.started_at,
            ended_at=before.completed_at or text(now),
            nodes=before.counts.up_to_date,
            failed=before.counts.failed,
            settings=before.settings,
        )
        history = (past, *history)[:MAX_HISTORY]
    digests = before.failed_digests
    if before.attempt != view.spec.attempt:
        digests = tuple(digest for digest in digests if digest != view.digest)
    return RolloutStatus(
        release=view.spec.release,
        attempt=view.spec.attempt,
        settings=hash_of(view.spec),
        settings_alone=_only_settings_are_new(view),
        settings_before=before.settings_before,
        started_at=text(now),
        failed_digests=digests,
        halted="this release failed before; raise 'attempt' to try it again" if view.digest in digests else "",
        recent_seconds=before.recent_seconds if before.release == view.spec.release else (),
        outstanding=before.outstanding,
        conditions=before.conditions,
        history=history,
    )


def _only_settings_are_new(view: RolloutView) -> bool:
    """Whether the nodes have the release already, so that only the settings can fail."""
    before = view.status
    if before.release != view.spec.release:
        return False
    return before.settings_alone or before.phase == RolloutPhase.COMPLETE


def waiting(progress: NodeProgress, now: datetime) -> datetime | None:
    """When a node has its next turn; none if that is now."""
    until = progress.record.not_before if progress.record else None
    return until if until is not None and now < until else None
