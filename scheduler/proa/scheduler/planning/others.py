"""Who goes before: what one look over all nodes of a rollout tells about those that others wait for."""

from __future__ import annotations

from dataclasses import dataclass

from proa.scheduler.planning.blame import waiting
from proa.scheduler.planning.campaign import Campaign
from proa.scheduler.planning.standing import Standing, Step
from proa.scheduler.planning.turns import Turn, turn


@dataclass(frozen=True)
class Others:
    """Nodes that go before. Those that cannot move by themselves, and the scheduler's own, are waited for by nobody.

    Attributes:
        away: How many are away, for whatever reason.
        fetching: How many have to fetch the release, or do so, before any is disturbed.
        workers: How many that are not of the control plane are not done.
        control_plane: How many of the control plane are not done.
        zone: The zone whose turn it is; none if no zone has begun.
    """

    away: int
    fetching: int
    workers: int
    control_plane: int
    zone: str | None


def look(campaign: Campaign, canaries: frozenset[str] | None) -> Others:
    """One look over all nodes."""
    away = fetching = workers = control_plane = under_way = 0
    pending = campaign.snapshot.pending
    zones: set[str] = set()
    first: Turn | None = None
    own = campaign.snapshot.own_node
    for standing in campaign.standings:
        node = standing.node
        away += standing.away or node.name in pending
        step = standing.step
        if step is Step.REACHED:
            continue
        if standing.under_way:
            under_way += 1
            zones.add(node.zone)
        elif not can_move(campaign, standing, canaries):
            continue
        fetching += step in (Step.TO_STAGE, Step.STAGING)
        if node.name != own:
            control_plane += node.control_plane
            workers += not node.control_plane
        if step is Step.READY and not zones:
            its = turn(campaign, standing)
            first = its if first is None else min(first, its)
    zone = min(zones) if zones else first.zone if first else None
    return Others(away, 0 if under_way else fetching, workers, control_plane, zone)


def can_move(campaign: Campaign, standing: Standing, canaries: frozenset[str] | None) -> bool:
    """Whether a node that is at rest can move on without anybody doing something about it."""
    if standing.step not in (Step.TO_STAGE, Step.STAGING, Step.READY):
        return False
    if standing.node.hold is not None or not standing.node.ready:
        return False
    if canaries is not None and standing.node.name not in canaries:
        return False
    record = standing.record
    if record is not None and record.failures > campaign.spec.retry.limit:
        return False
    return waiting(standing, campaign.now) is None
