"""A whole rollout in virtual time: what ``simulate`` prints, and what ``plan`` tells of the time that it will take."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.views import Snapshot
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.course import Course
from proa.scheduler.simulation.world import World
from proa.scheduler.spec.rolloutstatus import RolloutPhase

ENDED = frozenset(
    {RolloutPhase.COMPLETE, RolloutPhase.HALTED, RolloutPhase.ROLLED_BACK, RolloutPhase.CONFLICT, RolloutPhase.INVALID}
)
"""Phases after which nothing more happens by itself."""


@dataclass(frozen=True)
class Patience:
    """When a simulation is given up.

    Attributes:
        longest: Virtual time.
        passes: Passes of the planner.
    """

    longest: timedelta = timedelta(days=365)
    passes: int = 1_000_000


@dataclass
class Run:
    """A simulation, pass after pass.

    Attributes:
        world: The cluster; it changes.
        planner: The planner.
        course: What has happened so far.
    """

    world: World
    planner: Planner = field(default_factory=Planner)
    course: Course = field(init=False)

    def __post_init__(self) -> None:
        self.course = Course(self.world.now, self.world.now)

    def step(self) -> bool:
        """One pass, and the time until the next one; whether there is one. Events of one instant are one pass."""
        world, course = self.world, self.course
        plan = self.planner.plan(world.snapshot(), world.now)
        course.note(plan, world)
        world.carry_out(plan)
        then = min((when for when in (plan.wake, world.next_event) if when is not None), default=None)
        if not plan.actions and (then is None or _all_ended(plan)):
            course.came_to_an_end = True
            return False
        world.advance(then if then is not None and not plan.actions else _soon(world, then))
        return True


def run(world: World, patience: Patience = Patience()) -> Course:
    """Let the planner work until all rollouts have come to their ends, or nothing happens by itself any more."""
    simulation = Run(world)
    latest = world.now + patience.longest
    while simulation.step():
        if world.now > latest or simulation.course.passes >= patience.passes:
            break
    simulation.course.ended = world.now
    return simulation.course


def _soon(world: World, then: datetime | None) -> datetime:
    """After actions the next pass comes with the next event, but at least in a second: what was written shows then."""
    soon = world.now + timedelta(seconds=1)
    return soon if then is None else min(then, soon)


def _all_ended(plan: Plan) -> bool:
    """Whether nothing is under way: what may still happen, as a trial's deadline, is of no account then."""
    return all(
        status.phase in ENDED and not status.counts.updating and not status.counts.staging
        for status in plan.statuses.values()
    )


def resume(snapshot: Snapshot, now: datetime, behaviour: Behaviour) -> World:
    """The cluster of a snapshot, in which everything that is under way goes on.

    Args:
        snapshot: What is known; it is not changed.
        now: When that was.
        behaviour: How it goes on.
    """
    world = World(
        now,
        dict(snapshot.nodes),
        dict(snapshot.rollouts),
        behaviour,
        dict(snapshot.oses),
        own_node=snapshot.own_node,
        undrainable=snapshot.undrainable,
    )
    for name, os in snapshot.oses.items():
        node = snapshot.nodes.get(name)
        if node is not None and os.owner == node.uid:
            world.pick_up(name)
    return world
