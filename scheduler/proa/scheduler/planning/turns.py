"""Whose turn comes first: always the same order, and one that can be explained."""

from __future__ import annotations

from typing import NamedTuple

from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.spec.rollout import ControlPlane


class Turn(NamedTuple):
    """What nodes are sorted by.

    Attributes:
        own: Whether the scheduler runs there.
        rank: The place of the control plane, or of the others.
        retries: Tries that did not come out well.
        zone: Its zone.
        name: Its name.
    """

    own: bool
    rank: bool
    retries: int
    zone: str
    name: str


def turn(rollout_pass: RolloutPass, progress: NodeProgress) -> Turn:
    """The turn of a node. Who waits for others by a rule comes behind them, or its zone would hold all others back."""
    node = progress.node
    first = rollout_pass.spec.order.control_plane is ControlPlane.FIRST
    own = node.name == rollout_pass.snapshot.own_node
    return Turn(own, node.control_plane is not first, progress.retries, node.zone, node.name)
