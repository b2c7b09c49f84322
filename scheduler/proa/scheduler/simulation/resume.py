"""A world that goes on where a real cluster stands."""

from __future__ import annotations

from datetime import datetime

from proa.scheduler.planning.views import Snapshot
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.world import World


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
