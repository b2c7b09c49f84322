"""Who goes before: what one look over all nodes of a rollout tells about those that others wait for."""

from __future__ import annotations

from dataclasses import dataclass

from proa.scheduler.planning.blame import waiting
from proa.scheduler.planning.node_progress import Standing, Step
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.planning.turns import turn


@dataclass(frozen=True)
class Others:
    """Nodes that go before. Those that cannot move by themselves, and the scheduler's own, are waited for by nobody.

    Attributes:
        away: How many are away, for whatever reason.
        ordered: How many may have been ordered to fetch the release by a write of ours that does not show yet.
        fetching: How many have to fetch the release, or do so, before any is disturbed.
        workers: How many that are not of the control plane are not done.
        control_plane: How many of the control plane are not done.
        zone: The zone whose turn it is; none if no zone has begun.
    """

    away: int
    ordered: int
    fetching: int
    workers: int
    control_plane: int
    zone: str | None


def look(campaign: Campaign, canaries: frozenset[str] | None) -> Others:
    """One look over all nodes."""
    unseen = _unseen(campaign)
    away = campaign.away + sum(not one.away for one in unseen)
    ordered = sum(one.step is Step.TO_STAGE for one in unseen)
    busy = campaign.under_way
    movable = {
        step: [standing for standing in campaign.by_step[step] if can_move(campaign, standing, canaries)]
        for step in _MOVABLE
    }
    own = campaign.snapshot.own_node
    waited_for = [one for group in (busy, *movable.values()) for one in group if one.node.name != own]
    control_plane = sum(standing.node.control_plane for standing in waited_for)
    fetching = 0 if busy else len(movable[Step.TO_STAGE]) + len(movable[Step.STAGING])
    begun = {one.node.zone for group in (busy, _between_steps(campaign), unseen) for one in group if _has_begun(one)}
    zone = min(begun) if begun else _next_zone(campaign, movable[Step.READY])
    return Others(away, ordered, fetching, len(waited_for) - control_plane, control_plane, zone)


def _unseen(campaign: Campaign) -> list[Standing]:
    """Nodes with a write of ours that may not show yet: each may stand where that has brought it."""
    pending = campaign.snapshot.pending - campaign.snapshot.resting
    return [one for one in campaign.standings if one.node.name in pending] if pending else []


def _between_steps(campaign: Campaign) -> list[Standing]:
    """Nodes that cannot be told of where they are, and may have our mark all the same."""
    return [one for step in (Step.NEW, Step.RECREATED, Step.SILENT, Step.FOREIGN) for one in campaign.by_step[step]]


def _has_begun(standing: Standing) -> bool:
    """Whether its zone has its turn: it has our mark, or may have been given it by a write that does not show yet."""
    return standing.under_way or standing.mark is not None or standing.step is Step.READY


def _next_zone(campaign: Campaign, ready: list[Standing]) -> str | None:
    return min(turn(campaign, standing) for standing in ready).zone if ready else None


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
    if standing.node.hold is not None or not (standing.node.ready or campaign.aim.back):
        return False
    record = standing.record
    if record is not None and record.failures > campaign.spec.retry.limit:
        return False
    return waiting(standing, campaign.now) is None
