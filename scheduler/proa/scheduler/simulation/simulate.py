"""A whole rollout in virtual time: the planner in a simulated cluster, until nothing more happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.simulation.world import World
from proa.scheduler.spec.rolloutstatus import RolloutPhase

ENDED = frozenset(
    {RolloutPhase.COMPLETE, RolloutPhase.HALTED, RolloutPhase.ROLLED_BACK, RolloutPhase.CONFLICT, RolloutPhase.INVALID}
)
"""Phases after which nothing more happens by itself."""


@dataclass
class Course:
    """How a simulated rollout went.

    Attributes:
        started: When it began.
        ended: When it came to its end, or was given up.
        passes: How often was planned.
        phases: By rollout, how it ended.
        done: When each node was done.
        most_away: The most nodes that were away at once.
    """

    started: datetime
    ended: datetime
    passes: int = 0
    phases: dict[str, str] = field(default_factory=dict)
    done: dict[str, datetime] = field(default_factory=dict)
    most_away: int = 0

    @property
    def took(self) -> timedelta:
        """From its beginning to its end."""
        return self.ended - self.started


def run(world: World, longest: timedelta = timedelta(days=365)) -> Course:
    """Let the planner work until all rollouts have come to their ends; events of one instant are one pass."""
    planner, course = Planner(), Course(world.now, world.now)
    latest = world.now + longest
    while world.now <= latest:
        plan = planner.plan(world.snapshot(), world.now)
        course.passes += 1
        world.carry_out(plan)
        _note(course, world, plan)
        then = min((when for when in (plan.wake, world.next_event) if when is not None), default=None)
        if not plan.actions and (then is None or _all_ended(plan, world)):
            break
        world.advance(then if then is not None and not plan.actions else _soon(world, then))
    course.ended = world.now
    return course


def _soon(world: World, then: datetime | None) -> datetime:
    """After actions the next pass comes with the next event, but at least in a second: what was written shows then."""
    soon = world.now + timedelta(seconds=1)
    return soon if then is None else min(then, soon)


def _all_ended(plan: Plan, world: World) -> bool:
    ended = all(status.phase in ENDED for status in plan.statuses.values())
    return ended and world.next_event is None


def _note(course: Course, world: World, plan: Plan) -> None:
    course.phases = {name: status.phase for name, status in plan.statuses.items()}
    for status in plan.statuses.values():
        course.most_away = max(course.most_away, status.counts.unavailable)
    for name, os in world.oses.items():
        booted = os.status.booted if os.status else None
        done = booted is not None and booted.release != "" and booted.committed and world.nodes[name].mark is None
        if done and name not in course.done:
            course.done[name] = world.now
