"""The planner: from all that is known to what is to be done, with a reason for every node.

Pure: the same snapshot at the same time gives the same plan, no matter who asks. It serves the controller, ``plan``,
``explain`` and ``simulate``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from proa.scheduler.planning import canary, gates, orphans, outstanding, status, waves
from proa.scheduler.planning.actions import Action, Cordon
from proa.scheduler.planning.advance import BY_STEP
from proa.scheduler.planning.budget import Calendar
from proa.scheduler.planning.holds import GateContext
from proa.scheduler.planning.node_progress import Aim, NodeProgress, stand
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.ordered import is_disturbed
from proa.scheduler.planning.precedence import look
from proa.scheduler.planning.problems import INVALID_SPEC, Problem, problem_of
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import RolloutPass, aim_of, is_halted
from proa.scheduler.planning.views import NodeOSView, NodeView, RolloutView, Snapshot
from proa.scheduler.spec.rollout import ControlPlane, RolloutSpec
from proa.scheduler.spec.rolloutstatus import RolloutPhase, RolloutStatus
from proa.scheduler.spec.selectors import matches


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        actions: In the order in which they are to be written.
        verdicts: Why each node does or does not move, of those that a rollout selects.
        by_rollout: The same by rollout, of the nodes that one acts on.
        statuses: By rollout.
        drains: Nodes that are to be drained, each with the time by which it must be.
        waits: Those of them on which pods may finish first, with the time until which they may.
        forced: Those of them on which what is left is deleted.
        asks: Rollouts for which Prometheus is to be asked now.
        wake: When there is something to do again, although nothing has changed.
    """

    actions: tuple[Action, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    by_rollout: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    statuses: Mapping[str, RolloutStatus] = field(default_factory=dict)
    drains: Mapping[str, datetime] = field(default_factory=dict)
    waits: Mapping[str, datetime] = field(default_factory=dict)
    forced: frozenset[str] = frozenset()
    asks: frozenset[str] = frozenset()
    wake: datetime | None = None


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """The plan for one moment."""
    return Planner().plan(snapshot, now)


_Known = tuple[NodeView, NodeOSView | None, tuple[str, ...], NodeProgress | None]


class Planner:
    """Plans again and again; what has not changed since the last time is not worked out again."""

    def __init__(self) -> None:
        self._epoch: tuple[object, ...] = ()
        self._known: dict[str, _Known] = {}
        self._calendars: dict[str, Calendar] = {}
        self._problems: dict[str, tuple[RolloutSpec, Problem | None]] = {}
        self._sights: dict[str, GateContext] = {}

    def plan(self, snapshot: Snapshot, now: datetime) -> Plan:
        """The plan for one moment."""
        problems = {name: self._problem(view) for name, view in sorted(snapshot.rollouts.items())}
        acting = {name: snapshot.rollouts[name] for name, problem in problems.items() if problem is None}
        aims = {name: aim_of(view) for name, view in acting.items()}
        groups, conflicts, verdicts = self._group(snapshot, acting, aims)
        statuses = {
            name: status.refused(snapshot.rollouts[name], RolloutPhase.INVALID, problem.reason, problem.message, now)
            for name, problem in problems.items()
            if problem is not None
        }
        for name in sorted({rollout for pair in conflicts for rollout in pair}):
            others = sorted({other for pair in conflicts if name in pair for other in pair} - {name})
            message = f"it selects the same nodes as {', '.join(others)}"
            refused = status.refused(acting[name], RolloutPhase.CONFLICT, "Conflict", message, now)
            counts = dataclasses.replace(refused.counts, held=self._held(name))
            statuses[name] = dataclasses.replace(refused, counts=counts)
        away = _control_plane_away(snapshot) | outstanding.gone(snapshot)
        found = self._strays(snapshot, acting)
        given_back, wakes = orphans.give_back(snapshot, found, now)
        if found:
            verdicts |= found
            snapshot = dataclasses.replace(snapshot, pending=snapshot.pending | found.keys())
        campaigns = []
        self._sights.clear()
        for name, view in acting.items():
            if name not in statuses:
                rollout_pass = self._rollout_pass(view, aims[name], groups[name], snapshot, now)
                self._sights[name] = _run(rollout_pass, away)
                cordoned = (one.node for one in rollout_pass.actions if isinstance(one, Cordon))
                away |= {node for node in cordoned if snapshot.nodes[node].control_plane}
                campaigns.append(rollout_pass)
                statuses[name] = status.finish(rollout_pass)
                verdicts.update(rollout_pass.verdicts)
        return _merge(campaigns, given_back, wakes, verdicts, _signed(statuses, snapshot.own_node), now)

    def progress(self, name: str) -> NodeProgress | None:
        """Where a node stood in the last plan."""
        known = self._known.get(name)
        return known[3] if known else None

    def context(self, rollout: str) -> GateContext | None:
        """What the gates looked at in the last plan; none of a rollout that does not act."""
        return self._sights.get(rollout)

    # inside

    def _problem(self, view: RolloutView) -> Problem | None:
        if view.problem:
            return Problem(INVALID_SPEC, view.problem)
        known = self._problems.get(view.name)
        if known is None or known[0] is not view.spec:
            known = self._problems[view.name] = (view.spec, problem_of(view.spec))
        return known[1]

    def _group(
        self, snapshot: Snapshot, acting: Mapping[str, RolloutView], aims: Mapping[str, Aim]
    ) -> tuple[dict[str, list[NodeProgress]], set[tuple[str, ...]], dict[str, Verdict]]:
        """The nodes of each rollout; the rollouts that share nodes; verdicts of nodes that no rollout counts."""
        epoch = tuple((view.spec, aims[name]) for name, view in acting.items())
        if epoch != self._epoch:
            self._epoch, self._known = epoch, {}
        groups: dict[str, list[NodeProgress]] = {name: [] for name in acting}
        conflicts: set[tuple[str, ...]] = set()
        verdicts: dict[str, Verdict] = {}
        known, oses = self._known, snapshot.oses
        for name, node in snapshot.nodes.items():
            os = oses.get(name)
            entry = known.get(name)
            if entry is None or entry[0] is not node or entry[1] is not os:
                entry = known[name] = _know(node, os, acting, aims)
            chosen, progress = entry[2], entry[3]
            if progress is not None:
                groups[chosen[0]].append(progress)
            elif len(chosen) > 1:
                conflicts.add(chosen)
                verdicts[name] = Verdict(Reason.Conflict, ", ".join(chosen))
            elif chosen:
                excluded = Reason.Excluded if node.excluded else Reason.ControlPlaneExcluded
                verdicts[name] = Verdict(excluded)
        if len(known) > len(snapshot.nodes):
            self._known = {name: entry for name, entry in known.items() if name in snapshot.nodes}
        return groups, conflicts, verdicts

    def _held(self, rollout: str) -> int:
        """How many nodes a person holds that a rollout selects."""
        chosen = (node for node, _, names, _ in self._known.values() if rollout in names)
        return sum(node.hold is not None and not node.excluded for node in chosen)

    def _strays(self, snapshot: Snapshot, acting: Mapping[str, RolloutView]) -> dict[str, Verdict]:
        """Marked nodes whose rollout does not answer for them."""
        marked = [(node, node.mark.rollout) for node in snapshot.nodes.values() if node.mark is not None]
        idle = snapshot.rollouts.keys() - acting.keys()
        return orphans.find(marked, idle, self._answering)

    def _answering(self, name: str) -> tuple[str, ...]:
        _, _, chosen, progress = self._known[name]
        return chosen if progress is not None or len(chosen) > 1 else ()

    def _rollout_pass(
        self, view: RolloutView, aim: Aim, progresses: list[NodeProgress], snapshot: Snapshot, now: datetime
    ) -> RolloutPass:
        calendar = self._calendars.get(view.name)
        if calendar is None or calendar.spec is not view.spec:
            calendar = self._calendars[view.name] = Calendar(view.spec)
        rollout_pass = RolloutPass(view, aim, progresses, snapshot, now, calendar)
        rollout_pass.halted = is_halted(view) or bool(rollout_pass.status.halted)
        return rollout_pass


def _know(node: NodeView, os: NodeOSView | None, acting: Mapping[str, RolloutView], aims: Mapping[str, Aim]) -> _Known:
    chosen = tuple(name for name, view in acting.items() if matches(view.spec.node_selector, node.labels))
    if len(chosen) != 1 or node.excluded or _is_left_out(node, acting[chosen[0]]):
        return node, os, chosen, None
    group = waves.group_of(acting[chosen[0]].spec, node)
    return node, os, chosen, stand(node, os, aims[chosen[0]], group)


def _is_left_out(node: NodeView, view: RolloutView) -> bool:
    return node.control_plane and view.spec.order.control_plane is ControlPlane.EXCLUDE


def _control_plane_away(snapshot: Snapshot) -> frozenset[str]:
    """The nodes of the control plane that are away, or about to be: also by a write of ours that does not show yet."""
    pending = snapshot.pending - snapshot.resting
    control_plane = [node for node in snapshot.nodes.values() if node.control_plane]
    return frozenset(
        node.name for node in control_plane if node.name in pending or _is_missed(node, snapshot.oses.get(node.name))
    )


def _is_missed(node: NodeView, os: NodeOSView | None) -> bool:
    """Whether a node is away, or ordered to reboot although somebody took our mark away.

    Nobody waits for one that a person has set aside, unless it is our own doing that it is away.
    """
    ordered = os is not None and os.owner == node.uid and is_disturbed(os)
    if node.mark is not None or ordered:
        return True
    set_aside = node.excluded or node.hold is not None
    return not set_aside and (not node.ready or node.unschedulable)


_AT_REST: Final = (
    (NodeStep.FOREIGN, Reason.ForeignTrial),
    (NodeStep.NOWHERE, Reason.NothingToReturnTo),
    (NodeStep.UNSETTABLE, Reason.CannotBeSet),
)
"""What is said of nodes with which nothing is done."""


def _run(rollout_pass: RolloutPass, control_plane_away: frozenset[str]) -> GateContext:
    """One pass over one rollout. Nodes with a write of ours under way are left alone until it shows."""
    outstanding.look(rollout_pass)
    status.judge(rollout_pass)
    for step, act in BY_STEP.items():
        for progress in rollout_pass.at_rest(step):
            act(rollout_pass, progress)
    reached = Reason.BackOnOld if rollout_pass.aim.back else Reason.UpToDate
    for step, reason in ((NodeStep.REACHED, reached), *_AT_REST):
        verdict = Verdict(reason)
        for progress in rollout_pass.at_rest(step):
            rollout_pass.verdicts[progress.node.name] = verdict
    canaries = canary.choose(rollout_pass)
    precedence = look(rollout_pass, canaries, control_plane_away)
    waves.judge(rollout_pass, precedence, canaries=canaries is not None)
    context = GateContext(rollout_pass, canaries, precedence, control_plane_away)
    gates.stage(rollout_pass, context)
    gates.start(rollout_pass, context)
    outstanding.note(rollout_pass)
    for progress in rollout_pass.progresses if rollout_pass.snapshot.refused else ():
        if (said := rollout_pass.snapshot.refused.get(progress.node.name)) is not None:
            rollout_pass.say(progress, Reason.WriteRefused, said)
    return context


def _signed(statuses: Mapping[str, RolloutStatus], own_node: str) -> dict[str, RolloutStatus]:
    """The statuses with the node of who tells them: people's tools plan as the leader does, and know it from there."""
    return {
        name: told if told.scheduler_node == own_node else dataclasses.replace(told, scheduler_node=own_node)
        for name, told in statuses.items()
    }


def _merge(
    campaigns: list[RolloutPass],
    given_back: list[Action],
    wakes: list[datetime],
    verdicts: Mapping[str, Verdict],
    statuses: Mapping[str, RolloutStatus],
    now: datetime,
) -> Plan:
    every = [*wakes, *(wake for rollout_pass in campaigns for wake in rollout_pass.wakes)]
    return Plan(
        actions=(*given_back, *(action for rollout_pass in campaigns for action in rollout_pass.actions)),
        verdicts=verdicts,
        by_rollout={rollout_pass.view.name: rollout_pass.verdicts for rollout_pass in campaigns},
        statuses=statuses,
        drains={name: until for rollout_pass in campaigns for name, until in rollout_pass.drains.items()},
        waits={name: until for rollout_pass in campaigns for name, until in rollout_pass.waits.items()},
        forced=frozenset(name for rollout_pass in campaigns for name in rollout_pass.forced),
        asks=frozenset(rollout_pass.view.name for rollout_pass in campaigns if rollout_pass.asks),
        wake=min((wake for wake in every if wake > now), default=None),
    )
