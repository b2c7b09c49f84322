"""What holds a node back that could fetch the release, or be started: gate after gate, the first shut one counts.

``explain`` asks all of them. What has nothing of its own to hold it back gets the verdict of its group, so that 5,000
nodes are a few questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from proa.scheduler.kube.times import text
from proa.scheduler.planning.canary import is_soaking
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import TO_START
from proa.scheduler.planning.outstanding import starts_again
from proa.scheduler.planning.precedence import Precedence
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import RolloutPass, waiting
from proa.scheduler.planning.views import EXCLUDE, HOLD, IN_NO_GROUP, NodeView, named_group
from proa.scheduler.planning.waves import MOST_NAMED, group_name, held_by_group, held_by_zone
from proa.scheduler.spec.rollout import Approval, ControlPlane, Undrainable, Zones


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

    @cached_property
    def before_joiners(self) -> tuple[str, ...]:
        """Nodes that were there when the rollout began, and that those which joined later would keep from starting.

        Their zone would never have its turn, and no earlier group would ever have soaked, where nodes join again and
        again. Nobody waits for those that only a person, or a lost node of the control plane, holds back.
        """
        rollout_pass, precedence = self.rollout_pass, self.precedence
        return tuple(
            one.node.name
            for one in precedence.waited_for
            if one.step in TO_START
            and not (precedence.lost and one.node.control_plane)
            and (held_by_group(rollout_pass, one.group) or not awaits_approval_of_group(rollout_pass, one.group))
        )


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
    if rollout_pass.is_set_aside(progress):
        yield Verdict(Reason.Cordoned)
    if never := undrainable(context, progress):
        yield never
    if too_little := _disturbs_more(context, progress):
        yield too_little
    if needs_approval(context, node):
        yield Verdict(Reason.AwaitingApproval)
    if precedence.fetching and not rollout_pass.aim.back:
        yield Verdict(Reason.StagingOthers, f"{precedence.fetching} nodes do not have it yet")
    if context.canaries is None and (earlier := held_by_group(rollout_pass, progress.group)):
        yield earlier
    if unapproved := awaits_approval_of_group(rollout_pass, progress.group):
        yield unapproved
    if rollout_pass.has_joined(progress) and (first := context.before_joiners):
        more = f" and {len(first) - MOST_NAMED} more" if len(first) > MOST_NAMED else ""
        yield Verdict(Reason.JoinedLater, ", ".join(first[:MOST_NAMED]) + more)
    yield from _control_plane(context, progress)
    one_zone, zone = rollout_pass.spec.order.zones is Zones.ONE_AT_A_TIME, precedence.zone
    if one_zone and zone not in (None, node.zone):
        yield Verdict(Reason.OtherZone, f"zone {zone or '(none)'}")
    if soaking := held_by_zone(rollout_pass, node.zone):
        yield soaking
    if node.name == rollout_pass.snapshot.own_node and precedence.movable:
        yield Verdict(Reason.OwnNodeLast)


def _control_plane(context: GateContext, progress: NodeProgress) -> Iterator[Verdict]:
    """The control plane's turn within a group: between groups their own order counts."""
    rule, precedence, node = context.rollout_pass.spec.order.control_plane, context.precedence, progress.node
    if rule is ControlPlane.FIRST and not node.control_plane and (left := precedence.control_plane[progress.group]):
        yield Verdict(Reason.ControlPlaneFirst, f"{left} are not done{_set_aside(precedence)}")
    if rule is ControlPlane.LAST and node.control_plane and precedence.workers[progress.group]:
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


def awaits_approval_of_group(rollout_pass: RolloutPass, place: int) -> Verdict | None:
    """Whether a person has to approve the release for the group at a place. The way back needs nobody."""
    if rollout_pass.spec.approval is not Approval.EACH_GROUP or rollout_pass.aim.back:
        return None
    name = group_name(rollout_pass.spec, place) or IN_NO_GROUP
    approved = name in rollout_pass.view.approved_groups
    return None if approved else Verdict(Reason.AwaitingApproval, named_group(name))


def _disturbs_more(context: GateContext, progress: NodeProgress) -> Verdict | None:
    """Whether new settings disturb the node more than the spec lets them."""
    aim, status = context.rollout_pass.aim.settings, progress.status
    told = status.settings if status else None
    if aim is None or aim.most is None or told is None or progress.booted is None:
        return None
    least = aim.least_of(told.hash)
    if least <= aim.most or not context.rollout_pass.aim.reached(progress.booted):
        return None
    return Verdict(Reason.DisturbsMore, f"{aim.why(told.hash)}; settingsDisruption is {aim.most.name.capitalize()}")


def undrainable(context: GateContext, progress: NodeProgress) -> Verdict | None:
    """Whether a node could never be drained, and is not even tried."""
    if context.rollout_pass.spec.drain.undrainable is not Undrainable.SKIP or not progress.is_drained:
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
    _known: dict[tuple[str, int, bool, bool], Verdict | None] = field(default_factory=dict)

    def verdict(self, progress: NodeProgress) -> Verdict | None:
        """The first gate that is shut; none if all are open."""
        node, canaries, snapshot = progress.node, self.context.canaries, self.context.rollout_pass.snapshot
        if not progress.plain or node.name == snapshot.own_node or node.name in snapshot.undrainable:
            return next(self.gates(self.context, progress), None)
        joined = self.context.rollout_pass.has_joined(progress)
        group = node.zone, progress.group, canaries is None or node.name in canaries, joined
        if group not in self._known:
            self._known[group] = next(self.gates(self.context, progress), None)
        return self._known[group]
