"""Whose turn comes first: always the same order, and one that can be explained."""

from __future__ import annotations

from proa.scheduler.campaign import Campaign
from proa.scheduler.rollout import ControlPlane
from proa.scheduler.standing import Standing

Turn = tuple[int, int, str, bool, str]


def turn(campaign: Campaign, standing: Standing) -> Turn:
    """What nodes are sorted by: tries that failed, the control plane's place, zone, the scheduler's own node, name."""
    node = standing.node
    first = campaign.spec.order.control_plane is ControlPlane.FIRST
    rank = int(node.control_plane is not first)
    return (standing.retries, rank, node.zone, node.name == campaign.snapshot.own_node, node.name)
