"""The plan of a rollout: whose turn comes when, in which wave, why not now, and about when it is done."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from proa.core.runtime import duration
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.times import text
from proa.scheduler.planning.holds import GateContext, undrainable
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import ENOUGH
from proa.scheduler.planning.views import RolloutView, Snapshot
from proa.scheduler.report.reports import PlannedNode, PlannedWave, PlanReport, because
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.simulate import ENDED, STOPPED, Course, Patience, Way, resume, run, wave_of
from proa.scheduler.spec.selectors import matches

_LONGEST: Final = timedelta(days=60)
_WORK: Final = 3_000_000
"""Nodes that passes may look at in all, which takes some seconds: nodes whose turn is later have no time."""
_FEWEST, _MOST = 600, 20_000
"""Passes, for the biggest and for the smallest clusters."""

_DRAIN: Final = 0.4
"""The share of draining in the time that a node takes; the rest is its reboot."""
_REPORTS: Final = 10.0
"""Seconds in which orders and reports are on their way."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_NONE: Final = Way()


@dataclass(frozen=True)
class Preview:
    """The plan of a rollout.

    Attributes:
        report: It, for programs. Nodes that are never cordoned, or later than was looked, have no times, and neither
            has the end of a rollout that never ends by itself, or later than was looked.
        course: How it goes on, as estimated.
    """

    report: PlanReport
    course: Course


def patience_for(nodes: int) -> Patience:
    """How far is looked ahead in a cluster of so many nodes."""
    return Patience(_LONGEST, passes=min(_MOST, max(_FEWEST, _WORK // max(1, nodes))))


def preview(
    snapshot: Snapshot, rollout: str, now: datetime, patience: Patience | None = None, notes: Sequence[str] = ()
) -> Preview:
    """Plan a rollout, and go on in virtual time as if all goes well from now on.

    Args:
        snapshot: What is known.
        rollout: The rollout's name.
        now: When that was.
        patience: How far is looked ahead; as far as takes some seconds if none.
        notes: What is not known.

    Raises:
        ProaError: ``CLUSTER_MISSING`` when there is no such rollout.
    """
    view = find(snapshot, rollout)
    planner = Planner()
    plan = planner.plan(snapshot, now)
    context, status, course = planner.context(rollout), plan.statuses[rollout], Course(now, now)
    nodes: tuple[PlannedNode, ...] = ()
    if context is not None:  # it acts
        course = run(resume(snapshot, now, behaviour_of(view)), patience or patience_for(len(snapshot.nodes)))
        nodes = tuple(_nodes(context, plan, course))
    over = course.came_to_an_end and course.statuses[rollout].phase in ENDED - STOPPED
    report = PlanReport(
        rollout=rollout,
        release=view.spec.release,
        at=text(now),
        phase=status.phase,
        counts=status.counts,
        halted=status.halted,
        next_window=status.next_window,
        ends=text(course.ended) if over else None,
        notes=tuple(notes),
        waves=tuple(PlannedWave(one.name, one.nodes, one.began_at, one.ended_at) for one in course.waves),
        nodes=(*nodes, *_left_out(snapshot, view, plan, frozenset(node.name for node in nodes))),
    )
    return Preview(report, course)


def find(snapshot: Snapshot, rollout: str) -> RolloutView:
    """A rollout.

    Raises:
        ProaError: ``CLUSTER_MISSING`` when there is no such one.
    """
    if (view := snapshot.rollouts.get(rollout)) is not None:
        return view
    known = ", ".join(sorted(snapshot.rollouts))
    hint = f"There are: {known}." if known else "There is none: create one with 'kubectl proa start'."
    raise ProaError(Code.CLUSTER_MISSING, f"there is no OSRollout {rollout!r}", at=rollout, hint=hint)


def behaviour_of(view: RolloutView) -> Behaviour:
    """How nodes behave on which all goes well, as far as the last ones, or the spec, tell how long each takes."""
    recent = sorted(view.status.recent_seconds)
    expected = duration.parse(view.spec.expected_duration).total_seconds()
    whole = float(recent[len(recent) // 2]) if len(recent) >= ENOUGH else expected
    moving = max(2.0, whole - view.spec.health.ready_seconds - _REPORTS)
    return Behaviour(drain=moving * _DRAIN, boot=moving * (1 - _DRAIN), trial=3600.0 + view.spec.health.ready_seconds)


def _nodes(context: GateContext, plan: Plan, course: Course) -> Iterator[PlannedNode]:
    """Those under way, those to come, those that are done or that nothing but a person can move."""
    rollout_pass = context.rollout_pass

    def rank(progress: NodeProgress) -> tuple[object, ...]:
        way = course.ways.get(progress.node.name, _NONE)
        begins = way.started or _NEVER
        return not progress.under_way, begins, not _has_turn(progress, way, course), rollout_pass.turn(progress)

    position = 0
    for progress in sorted(rollout_pass.progresses, key=rank):
        node, way = progress.node, course.ways.get(progress.node.name, _NONE)
        has_turn = _has_turn(progress, way, course)
        position += has_turn
        wave, verdict = wave_of(node, rollout_pass.spec, rollout_pass.status), plan.verdicts[node.name]
        if verdict.reason is Reason.StageNext:
            verdict = undrainable(context, progress) or verdict
        if course.came_to_an_end and not has_turn:
            verdict = course.verdicts.get(node.name, verdict)  # what keeps it in the end, not what is next
        times = _time(way.started), _time(way.ended)
        yield PlannedNode(*because(verdict), position if has_turn else 0, node.name, node.zone, wave, *times)


def _has_turn(progress: NodeProgress, way: Way, course: Course) -> bool:
    """Whether it is its turn, or will be; what lies behind all that was looked at may have one."""
    if progress.under_way or way.started is not None:
        return True
    return not course.came_to_an_end and progress.step is not NodeStep.REACHED


def _left_out(snapshot: Snapshot, view: RolloutView, plan: Plan, counted: Container[str]) -> tuple[PlannedNode, ...]:
    """Nodes that the rollout selects, and that it does not count."""
    return tuple(
        PlannedNode(
            *because(plan.verdicts[name]), 0, name, node.zone, wave_of(node, view.spec, view.status), None, None
        )
        for name, node in sorted(snapshot.nodes.items())
        if name in plan.verdicts and name not in counted and matches(view.spec.node_selector, node.labels)
    )


def _time(when: datetime | None) -> str | None:
    return text(when) if when is not None else None
