"""Who goes before: what one look over all nodes of a rollout tells about those that others wait for."""

from __future__ import annotations

from dataclasses import dataclass

from proa.scheduler.blame import waiting
from proa.scheduler.campaign import Campaign
from proa.scheduler.standing import Standing, Step
from proa.scheduler.turns import turn


@dataclass(frozen=True)
class Others:
    """Nodes that go before. Those that cannot move by themselves are waited for by nobody.

    Attributes:
        away: How many are away, for whatever reason.
        fetching: How many have to fetch the release, or do so, before any is disturbed.
        workers: How many that are not of the control plane are not done.
        control_plane: How many of the control plane are not done.
        zone: The zone whose turn it is; none if no zone has begun.
        alone: Whether only the scheduler's own node is left.
    """

    away: int
    fetching: int
    workers: int
    control_plane: int
    zone: str | None
    alone: bool


def look(campaign: Campaign, canaries: frozenset[str] | None) -> Others:
    """One look over all nodes."""
    away = fetching = workers = control_plane = under_way = left = 0
    pending = campaign.snapshot.pending
    zones: set[str] = set()
    first: Standing | None = None
    for standing in campaign.standings:
        away += standing.away or standing.node.name in pending
        step = standing.step
        if step is Step.REACHED:
            continue
        if standing.under_way:
            under_way += 1
            zones.add(standing.node.zone)
        elif not can_move(campaign, standing, canaries):
            continue
        if step in (Step.TO_STAGE, Step.STAGING):
            fetching += 1
        if standing.node.control_plane:
            control_plane += 1
        else:
            workers += 1
        left += standing.node.name != campaign.snapshot.own_node
        if step is Step.READY and (first is None or turn(campaign, standing) < turn(campaign, first)):
            first = standing
    zone = min(zones) if zones else first.node.zone if first else None
    return Others(away, 0 if under_way else fetching, workers, control_plane, zone, left == 0)


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
