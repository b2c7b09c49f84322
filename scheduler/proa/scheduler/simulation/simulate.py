"""A whole rollout in virtual time, and how it went: what ``simulate`` prints, and what ``plan`` tells of times.

It goes on where a real cluster stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from proa.core.orders.messages import Action as Verb
from proa.core.schema.model import Part
from proa.core.schema.model import field as described
from proa.core.schema.values import Count
from proa.scheduler.kube.times import text
from proa.scheduler.planning import waves
from proa.scheduler.planning.actions import Cordon, Give, Note, Uncordon
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.reasons import Verdict
from proa.scheduler.planning.views import NodeView, Snapshot
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.world import World
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import RolloutPhase, RolloutStatus

ENDED = frozenset(
    {RolloutPhase.COMPLETE, RolloutPhase.HALTED, RolloutPhase.ROLLED_BACK, RolloutPhase.CONFLICT, RolloutPhase.INVALID}
)
"""Phases after which nothing more happens by itself."""

STOPPED = ENDED - {RolloutPhase.COMPLETE, RolloutPhase.ROLLED_BACK}
"""Those of them that only a person can end: to have ended is not to have succeeded."""


@dataclass
class Way:
    """The way of one node.

    Attributes:
        wave: Of which wave it was when it was started for the first time.
        started: When it was cordoned for the first time.
        ended: When it was uncordoned as done.
    """

    wave: str = ""
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class Trouble(Part):
    """A problem."""

    at: str = described("When (RFC 3339, UTC).")
    node: str = described("The node.")
    reason: str = described("What happened, in one word.")
    message: str = described("What happened, in a sentence.")


@dataclass(frozen=True)
class Wave(Part):
    """A wave."""

    name: str = described("`Canary`, `ControlPlane`, or a zone; with groups, `GROUP/` before it.")
    nodes: Count = described("Nodes in it.")
    done: Count = described("Nodes in it that were done.")
    began_at: str = described("When it started (RFC 3339, UTC).")
    ended_at: str = described("When it ended (RFC 3339, UTC).")


@dataclass
class Course:
    """What happened.

    Attributes:
        started: When it began.
        ended: When it came to its end, or was given up.
        passes: How often was planned.
        statuses: By rollout, as they are in the end.
        verdicts: Why each node does or does not move in the end.
        ways: By node, of those that were ordered to do something.
        troubles: What went wrong, in its order.
        most_away: The most nodes that were away at once.
        came_to_an_end: Whether nothing happens by itself any more; it was given up otherwise.
    """

    started: datetime
    ended: datetime
    passes: int = 0
    statuses: dict[str, RolloutStatus] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    most_away: int = 0
    came_to_an_end: bool = False

    @property
    def took(self) -> timedelta:
        """From its beginning to its end."""
        return self.ended - self.started

    @property
    def done(self) -> dict[str, datetime]:
        """When each node was done, of those that were."""
        return {name: way.ended for name, way in self.ways.items() if way.ended is not None}

    @property
    def waves(self) -> list[Wave]:
        """Waves in the order in which they began."""
        started = [way for way in self.ways.values() if way.started is not None]
        ways: dict[str, list[Way]] = {}
        for way in sorted(started, key=lambda way: way.started or self.ended):
            ways.setdefault(way.wave, []).append(way)
        return [_wave(name, found) for name, found in ways.items()]

    @property
    def per_hour(self) -> float:
        """Nodes that were done in an hour, from the first start to the last end; 0 if there was none."""
        ends, starts = self.done.values(), [way.started for way in self.ways.values() if way.started is not None]
        if not ends or not starts:
            return 0.0
        return len(ends) / max(1.0, (max(ends) - min(starts)).total_seconds()) * 3600

    def note(self, plan: Plan, world: World) -> None:
        """Take down one pass, before it is carried out."""
        self.passes += 1
        self.statuses.update(plan.statuses)
        self.verdicts = plan.verdicts
        for status in plan.statuses.values():
            self.most_away = max(self.most_away, status.counts.unavailable)
        for action in plan.actions:
            match action:
                case Give(name, _, Verb.STAGE):
                    self._way(name)
                case Cordon(name, mark):
                    way = self._way(name)
                    if way.started is None:
                        spec = world.rollouts[mark.rollout].spec
                        wave = wave_of(world.nodes[name], spec, plan.statuses[mark.rollout])
                        way.started, way.wave = world.now, wave
                case Give(name, _, Verb.CONFIGURE):
                    way = self._way(name)
                    way.started = way.started or world.now
                    way.wave = way.wave or world.nodes[name].zone
                case Uncordon(name, "Done") | Give(name, _, Verb.COMMIT_SETTINGS):
                    self._way(name).ended = world.now
                case Note(name, record):
                    self.troubles.append(Trouble(text(world.now), name, record.reason, record.message))
                case _:
                    pass

    def _way(self, name: str) -> Way:
        return self.ways.setdefault(name, Way())


def _wave(name: str, ways: list[Way]) -> Wave:
    times = [when for way in ways for when in (way.started, way.ended) if when is not None]
    done = sum(way.ended is not None for way in ways)
    return Wave(name, len(ways), done, text(min(times)), text(max(times)))


def wave_of(node: NodeView, spec: RolloutSpec, status: RolloutStatus) -> str:
    """Of which wave a node is: ``Canary``, ``ControlPlane``, or its zone, with its group before it."""
    if status.canary and node.name in status.canary.nodes:
        return "Canary"
    return waves.wave_of(spec, node)


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
        if plan.actions or then is None:  # what was written shows in a second, or with the next event
            soon = world.now + timedelta(seconds=1)
            then = min(then or soon, soon)
        world.advance(then)
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
