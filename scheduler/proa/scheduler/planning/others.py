"""Who goes before: what one look over all nodes of a rollout tells about those that others wait for."""

from __future__ import annotations

from dataclasses import dataclass

from proa.scheduler.planning.blame import waiting
from proa.scheduler.planning.campaign import Campaign
from proa.scheduler.planning.standing import Standing, Step
from proa.scheduler.planning.turns import turn


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
    pending = campaign.snapshot.pending - campaign.snapshot.resting
    away = campaign.away
    if pending:
        away += sum(not one.away and one.node.name in pending for one in campaign.standings)
    busy = campaign.under_way
    movable = {
        step: [standing for standing in campaign.by_step[step] if can_move(campaign, standing, canaries)]
        for step in _MOVABLE
    }
    own = campaign.snapshot.own_node
    waited_for = [one for group in (busy, *movable.values()) for one in group if one.node.name != own]
    control_plane = sum(standing.node.control_plane for standing in waited_for)
    fetching = 0 if busy else len(movable[Step.TO_STAGE]) + len(movable[Step.STAGING])
    if busy:
        zone: str | None = min(standing.node.zone for standing in busy)
    else:
        ready = movable[Step.READY]
        zone = min(turn(campaign, standing) for standing in ready).zone if ready else None
    return Others(away, fetching, len(waited_for) - control_plane, control_plane, zone)


_MOVABLE = (Step.TO_STAGE, Step.STAGING, Step.READY)


def can_move(campaign: Campaign, standing: Standing, canaries: frozenset[str] | None) -> bool:
    """Whether a node that is at rest can move on without anybody doing something about it."""
    if canaries is not None and standing.node.name not in canaries:
        return False
    if standing.node.name in campaign.snapshot.resting:
        return False
    if standing.step is Step.READY and standing.node.name in campaign.snapshot.hopeless:
        return False
    if standing.plain:
        return True
    if standing.node.hold is not None or not standing.node.ready:
        return False
    record = standing.record
    if record is not None and record.failures > campaign.spec.retry.limit:
        return False
    return waiting(standing, campaign.now) is None
