"""What ``simulate`` tells: a whole rollout in virtual time, as text and as JSON (``proa.simulation/v1``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from proa.core.runtime.errors import Exit
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.views import RolloutView, Snapshot
from proa.scheduler.report.rendering import span, table
from proa.scheduler.report.reports import SimulatedRollout, SimulationReport
from proa.scheduler.simulation.simulate import STOPPED, Course
from proa.scheduler.simulation.world import World, make_nodes
from proa.scheduler.spec.amounts import Amount
from proa.scheduler.spec.rollout import RolloutSpec, Staging
from proa.scheduler.spec.rolloutstatus import RolloutPhase

_RELEASE: Final = "registry.example/node@sha256:" + "1" * 64
_START: Final = datetime(2026, 1, 5, tzinfo=UTC)
_MOST: Final = 20
"""Troubles that a text has."""


def made_up(
    nodes: int, zones: int = 3, control_planes: int = 0, max_unavailable: Amount = "5%"
) -> tuple[Snapshot, datetime]:
    """A cluster that is made up, with one rollout that has just been made, and when that was.

    Args:
        nodes: How many nodes.
        zones: Over how many zones they are spread.
        control_planes: How many of them are of the control plane.
        max_unavailable: How many may be away.
    """
    spec = RolloutSpec(_RELEASE, max_unavailable=max_unavailable, staging=Staging(250))
    rollouts = {"nodes": RolloutView("nodes", "uid-nodes", 1, spec)}
    return Snapshot(make_nodes(nodes, zones, control_planes), {}, rollouts), _START


def simulation_report(course: Course, world: World, seconds: float) -> SimulationReport:
    """A simulation for programs.

    Args:
        course: How it went.
        world: The cluster as it is in the end.
        seconds: How long it took to find out.
    """
    statuses = sorted(course.statuses.items())
    return SimulationReport(
        nodes=len(world.nodes),
        ended=course.came_to_an_end,
        began_at=text(course.started),
        ended_at=text(course.ended),
        took_seconds=round(course.took.total_seconds()),
        nodes_per_hour=round(course.per_hour, 1),
        done=len(course.done),
        boots=sum(world.boots.values()),
        most_away=course.most_away,
        passes=course.passes,
        seconds=round(seconds, 3),
        rollouts=tuple(SimulatedRollout(name, one.phase, one.halted, one.counts) for name, one in statuses),
        waves=tuple(course.waves),
        troubles=tuple(course.troubles),
        left=tuple(left(world)),
    )


def outcome(found: SimulationReport) -> Exit:
    """How a simulation came out, as an exit status."""
    phases = {one.phase for one in found.rollouts}
    if phases & _FAILED:
        return Exit.FAILED
    return Exit.DONE if phases <= {RolloutPhase.COMPLETE, RolloutPhase.PENDING} else Exit.STATE


_FAILED: Final = STOPPED | {RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK}


def left(world: World) -> list[str]:
    """Nodes that are left cordoned, or not Ready, in the end."""
    return sorted(name for name, node in world.nodes.items() if node.unschedulable or not node.ready)


def simulation_lines(found: SimulationReport) -> Iterator[str]:
    """A simulation for people."""
    for rollout in found.rollouts:
        done, failed = f"{rollout.counts.up_to_date} of {rollout.counts.nodes} nodes are done", rollout.counts.failed
        yield f"{rollout.name}: {rollout.phase}, {done}, {failed} failed"
        if rollout.halted:
            yield f"halted: {rollout.halted}"
    took = span(timedelta(seconds=found.took_seconds))
    took = f"{took} from start to end" if found.ended else f"given up after {took}"
    yield f"{took}, {found.nodes_per_hour:.0f} nodes an hour, {found.boots} boots"
    yield f"unavailable at once: {found.most_away} at most"
    rows = [
        {
            "WAVE": wave.name,
            "NODES": str(wave.nodes),
            "DONE": str(wave.done),
            "BEGINS AFTER": _between(found.began_at, wave.began_at),
            "TAKES": _between(wave.began_at, wave.ended_at),
        }
        for wave in found.waves
    ]
    if rows:
        yield ""
        yield from table(rows)
    if found.troubles:
        counts_by = Counter(trouble.reason for trouble in found.troubles)
        yield ""
        yield "went wrong: " + ", ".join(f"{reason} {count} x" for reason, count in counts_by.most_common())
        for trouble in found.troubles[:_MOST]:
            after = _between(found.began_at, trouble.at)
            yield f"  after {after}, {trouble.node}: {trouble.reason}: {trouble.message}"
        if len(found.troubles) > _MOST:
            yield f"  ... and {len(found.troubles) - _MOST} more (--json has all)"
    if found.left:
        more = f" and {len(found.left) - 5} more" if len(found.left) > 5 else ""
        yield f"left cordoned or not Ready: {', '.join(found.left[:5])}{more}"
    yield f"simulated in {found.seconds:.1f} s, {found.passes} passes of the planner"


def _between(began: str, ended: str) -> str:
    start, end = read(began), read(ended)
    return span(end - start) if start and end else ""
