"""What holds a node back that could fetch the release, or be started: gate after gate, the first shut one counts.

``explain`` asks all of them. What has nothing of its own to hold it back gets the verdict of its group, so that 5,000
nodes are a few questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from proa.scheduler.kube.times import text
from proa.scheduler.planning.canary import is_soaking
from proa.scheduler.planning.node_progress import TO_START, NodeProgress, NodeStep
from proa.scheduler.planning.outstanding import starts_again
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import RolloutPass, waiting
from proa.scheduler.planning.views import EXCLUDE, HOLD, NodeView
from proa.scheduler.spec.rollout import Approval, ControlPlane, Cordoned, Undrainable, Zones


@dataclass(frozen=True)
class Precedence:
    """Nodes that go before. Those that cannot move by themselves, and the scheduler's own, are waited for by nobody.

    Attributes:
        away: How many are away, for whatever reason.
        ordered: How many may have been ordered to fetch the release by a write of ours that does not show yet.
        fetching: How many have to fetch the release, or do so, before any is disturbed.
        workers: How many that are not of the control plane are not done.
        control_plane: How many of the control plane are not done.
        lost: Nodes of the control plane that are away, and not by our doing: the others of it cannot move meanwhile.
        zone: The zone whose turn it is; none if no zone has begun.
    """

    away: int
    ordered: int
    fetching: int
    workers: int
    control_plane: int
    lost: frozenset[str]
    zone: str | None

    @property
    def movable(self) -> int:
        """How many are not done that can move: those of the control plane only while none of it is lost."""
        return self.workers + (0 if self.lost else self.control_plane)


def look(
    rollout_pass: RolloutPass, canaries: frozenset[str] | None, control_plane_away: frozenset[str] = frozenset()
) -> Precedence:
    """One look over all nodes."""
    hidden = unseen(rollout_pass)
    away = rollout_pass.away + len(rollout_pass.ghosts) + sum(not one.away for one in hidden)
    ordered = sum(one.step is NodeStep.TO_STAGE for one in hidden)
    busy = rollout_pass.under_way
    movable = {
        step: [progress for progress in rollout_pass.by_step[step] if can_move(rollout_pass, progress, canaries)]
        for step in TO_START
    }
    own = rollout_pass.snapshot.own_node
    waited_for = [
        one
        for group in (busy, *movable.values())
        for one in group
        if one.node.name != own and not rollout_pass.has_joined(one)
    ]
    control_plane = sum(progress.node.control_plane for progress in waited_for)
    fetching = 0 if busy else _fetching(rollout_pass, movable)
    begun = {
        one.node.zone for group in (busy, _between_steps(rollout_pass), hidden) for one in group if _has_begun(one)
    }
    begun |= {one.zone for one in rollout_pass.ghosts}
    zone = min(begun) if begun else _next_zone(rollout_pass, movable[NodeStep.READY])
    lost = _lost(rollout_pass, control_plane_away)
    return Precedence(away, ordered, fetching, len(waited_for) - control_plane, control_plane, lost, zone)


def _fetching(rollout_pass: RolloutPass, movable: Mapping[NodeStep, list[NodeProgress]]) -> int:
    """How many of those that were there when the rollout began have yet to fetch the release."""
    found = (*movable[NodeStep.TO_STAGE], *movable[NodeStep.STAGING])
    return sum(not rollout_pass.has_joined(progress) for progress in found)


def _lost(rollout_pass: RolloutPass, away: frozenset[str]) -> frozenset[str]:
    """Of nodes of the control plane that are away: those that have neither our mark nor a write of ours under way."""
    nodes, pending = rollout_pass.snapshot.nodes, rollout_pass.snapshot.pending
    return frozenset(name for name in away if name in nodes and nodes[name].mark is None and name not in pending)


def unseen(rollout_pass: RolloutPass) -> list[NodeProgress]:
    """Nodes with a write of ours that may not show yet: each may stand where that has brought it."""
    pending = rollout_pass.snapshot.pending - rollout_pass.snapshot.resting
    return [one for one in rollout_pass.progresses if one.node.name in pending] if pending else []


def _between_steps(rollout_pass: RolloutPass) -> list[NodeProgress]:
    """Nodes that cannot be told of where they are, and may have our mark all the same."""
    return [
        one
        for step in (NodeStep.NEW, NodeStep.RECREATED, NodeStep.SILENT, NodeStep.FOREIGN)
        for one in rollout_pass.by_step[step]
    ]


def _has_begun(progress: NodeProgress) -> bool:
    """Whether its zone has its turn: it has our mark, or may have been given it by a write that does not show yet."""
    return progress.under_way or progress.mark is not None or progress.step is NodeStep.READY


def _next_zone(rollout_pass: RolloutPass, ready: list[NodeProgress]) -> str | None:
    return min(rollout_pass.turn(progress) for progress in ready).zone if ready else None


def can_move(rollout_pass: RolloutPass, progress: NodeProgress, canaries: frozenset[str] | None) -> bool:
    """Whether a node that is at rest can move on without anybody doing something about it."""
    if canaries is not None and progress.node.name not in canaries:
        return False
    if rollout_pass.is_stuck(progress):
        return False
    if progress.plain:
        return True
    if progress.node.leaving or (progress.step is NodeStep.READY and is_set_aside(rollout_pass, progress)):
        return False
    if progress.node.hold is not None or not (progress.node.ready or rollout_pass.aim.back):
        return False
    record = progress.record
    if record is not None and record.failures > rollout_pass.spec.retry.limit:
        return False
    return waiting(progress, rollout_pass.now) is None


def is_set_aside(rollout_pass: RolloutPass, progress: NodeProgress) -> bool:
    """Whether a node has a cordon that is not ours, and that the rollout does not include."""
    node = progress.node
    return node.unschedulable and node.mark is None and rollout_pass.spec.cordoned is Cordoned.SKIP


@dataclass(frozen=True)
class GateContext:
    """What the gates look at, besides the node.

    Attributes:
        rollout_pass: The rollout.
        canaries: Those that the others wait for; none when all may go.
        precedence: Who goes before.
        control_plane_away: Nodes of the control plane, of all rollouts and none, that are away or not Ready.
    """

    rollout_pass: RolloutPass
    canaries: frozenset[str] | None
    precedence: Precedence
    control_plane_away: frozenset[str]


Gates = Callable[[GateContext, NodeProgress], Iterator[Verdict]]
"""The verdict of every gate that is shut for a node, one after the other."""


def at_rest(context: GateContext, progress: NodeProgress) -> Iterator[Verdict]:
    """What holds back staging and starting alike. A node that is ill may be cured by the way back."""
    rollout_pass, canaries, node, record = context.rollout_pass, context.canaries, progress.node, progress.record
    if rollout_pass.halted and not rollout_pass.aim.back:
        yield Verdict(Reason.Halted, rollout_pass.status.halted)
    if rollout_pass.spec.paused:
        yield Verdict(Reason.Paused)
    if node.hold is not None:
        yield Verdict(Reason.Held, node.hold)
    if node.leaving:
        yield Verdict(Reason.Leaving, node.leaving)
    if not node.ready and not rollout_pass.aim.back:
        yield Verdict(Reason.NotReady)
    if record is not None and record.failures > rollout_pass.spec.retry.limit:
        yield Verdict(Reason.GivenUp, record.message)
    if record is not None and (until := waiting(progress, rollout_pass.now)):
        rollout_pass.wakes.append(until)
        parked = record.parks > 0 and not record.failures
        yield Verdict(Reason.Parked if parked else Reason.BackingOff, f"until {text(until)}")
    if canaries is not None and node.name not in canaries:
        reason = Reason.Soaking if is_soaking(rollout_pass) else Reason.AwaitingCanary
        yield Verdict(reason, ", ".join(sorted(canaries)))


def before_start(context: GateContext, progress: NodeProgress) -> Iterator[Verdict]:
    """The same, and what only holds back a start: that it would lead nowhere, or that others go before."""
    yield from at_rest(context, progress)
    rollout_pass, precedence, node = context.rollout_pass, context.precedence, progress.node
    if until := starts_again(rollout_pass):
        rollout_pass.wakes.append(until)
        lost = rollout_pass.status.lost
        yield Verdict(Reason.NodesLost, f"{', '.join(lost.nodes[:5]) if lost else ''}; until {text(until)}")
    if is_set_aside(rollout_pass, progress):
        yield Verdict(Reason.Cordoned)
    if never := undrainable(context, progress):
        yield never
    if needs_approval(context, node):
        yield Verdict(Reason.AwaitingApproval)
    if precedence.fetching and not rollout_pass.aim.back:
        yield Verdict(Reason.StagingOthers, f"{precedence.fetching} nodes do not have it yet")
    yield from _control_plane(context, node)
    one_zone, zone = rollout_pass.spec.order.zones is Zones.ONE_AT_A_TIME, precedence.zone
    if one_zone and zone not in (None, node.zone):
        yield Verdict(Reason.OtherZone, f"zone {zone or '(none)'}")
    if node.name == rollout_pass.snapshot.own_node and precedence.movable:
        yield Verdict(Reason.OwnNodeLast)


def _control_plane(context: GateContext, node: NodeView) -> Iterator[Verdict]:
    rule, precedence = context.rollout_pass.spec.order.control_plane, context.precedence
    if rule is ControlPlane.FIRST and not node.control_plane and precedence.control_plane:
        yield Verdict(Reason.ControlPlaneFirst, f"{precedence.control_plane} are not done{_set_aside(precedence)}")
    if rule is ControlPlane.LAST and node.control_plane and precedence.workers:
        yield Verdict(Reason.ControlPlaneLater)
    if node.control_plane and context.control_plane_away - {node.name}:
        away = f"away: {', '.join(sorted(context.control_plane_away))}"
        yield Verdict(Reason.ControlPlaneBusy, f"{away}{_set_aside(precedence)}")


def _set_aside(precedence: Precedence) -> str:
    """What a person can do about nodes of the control plane that are lost; empty if none is."""
    if not precedence.lost:
        return ""
    return f"; repair {', '.join(sorted(precedence.lost))}, or annotate it {HOLD} or {EXCLUDE}, and nobody waits for it"


def needs_approval(context: GateContext, node: NodeView) -> bool:
    """Whether a person has to approve the release before a node starts. The way back needs nobody."""
    rollout_pass, canaries = context.rollout_pass, context.canaries
    if rollout_pass.view.approved or rollout_pass.aim.back:
        return False
    rule = rollout_pass.spec.approval
    is_canary = canaries is not None and node.name in canaries
    return rule is Approval.REQUIRED or (rule is Approval.AFTER_CANARY and not is_canary)


def undrainable(context: GateContext, progress: NodeProgress) -> Verdict | None:
    """Whether a node could never be drained, and is not even tried."""
    if context.rollout_pass.spec.drain.undrainable is not Undrainable.SKIP:
        return None
    found = context.rollout_pass.snapshot.undrainable.get(progress.node.name)
    return Verdict(Reason.Undrainable, "; ".join(blocker.reason for blocker in found)) if found else None


@dataclass
class Keeper:
    """Asks the gates about many nodes.

    Attributes:
        gates: The gates.
        context: What they look at.
    """

    gates: Gates
    context: GateContext
    _known: dict[tuple[str, bool], Verdict | None] = field(default_factory=dict)

    def verdict(self, progress: NodeProgress) -> Verdict | None:
        """The first gate that is shut; none if all are open."""
        node, canaries, snapshot = progress.node, self.context.canaries, self.context.rollout_pass.snapshot
        if not progress.plain or node.name == snapshot.own_node or node.name in snapshot.undrainable:
            return next(self.gates(self.context, progress), None)
        group = node.zone, canaries is None or node.name in canaries
        if group not in self._known:
            self._known[group] = next(self.gates(self.context, progress), None)
        return self._known[group]
