"""Who goes before: what one look over all nodes of a rollout tells about those that others wait for."""

from __future__ import annotations

from dataclasses import dataclass

from proa.scheduler.planning.node_progress import NodeProgress, Step
from proa.scheduler.planning.rollout_pass import RolloutPass, waiting


@dataclass(frozen=True)
class Precedence:
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


def look(rollout_pass: RolloutPass, canaries: frozenset[str] | None) -> Precedence:
    """One look over all nodes."""
    unseen = _unseen(rollout_pass)
    away = rollout_pass.away + sum(not one.away for one in unseen)
    ordered = sum(one.step is Step.TO_STAGE for one in unseen)
    busy = rollout_pass.under_way
    movable = {
        step: [progress for progress in rollout_pass.by_step[step] if can_move(rollout_pass, progress, canaries)]
        for step in _MOVABLE
    }
    own = rollout_pass.snapshot.own_node
    waited_for = [one for group in (busy, *movable.values()) for one in group if one.node.name != own]
    control_plane = sum(progress.node.control_plane for progress in waited_for)
    fetching = 0 if busy else len(movable[Step.TO_STAGE]) + len(movable[Step.STAGING])
    begun = {
        one.node.zone for group in (busy, _between_steps(rollout_pass), unseen) for one in group if _has_begun(one)
    }
    zone = min(begun) if begun else _next_zone(rollout_pass, movable[Step.READY])
    return Precedence(away, ordered, fetching, len(waited_for) - control_plane, control_plane, zone)


def _unseen(rollout_pass: RolloutPass) -> list[NodeProgress]:
    """Nodes with a write of ours that may not show yet: each may stand where that has brought it."""
    pending = rollout_pass.snapshot.pending - rollout_pass.snapshot.resting
    return [one for one in rollout_pass.progresses if one.node.name in pending] if pending else []


def _between_steps(rollout_pass: RolloutPass) -> list[NodeProgress]:
    """Nodes that cannot be told of where they are, and may have our mark all the same."""
    return [one for step in (Step.NEW, Step.RECREATED, Step.SILENT, Step.FOREIGN) for one in rollout_pass.by_step[step]]


def _has_begun(progress: NodeProgress) -> bool:
    """Whether its zone has its turn: it has our mark, or may have been given it by a write that does not show yet."""
    return progress.under_way or progress.mark is not None or progress.step is Step.READY


def _next_zone(rollout_pass: RolloutPass, ready: list[NodeProgress]) -> str | None:
    return min(rollout_pass.turn(progress) for progress in ready).zone if ready else None


_MOVABLE = (Step.TO_STAGE, Step.STAGING, Step.READY)


def can_move(rollout_pass: RolloutPass, progress: NodeProgress, canaries: frozenset[str] | None) -> bool:
    """Whether a node that is at rest can move on without anybody doing something about it."""
    if canaries is not None and progress.node.name not in canaries:
        return False
    if progress.node.name in rollout_pass.snapshot.resting:
        return False
    if progress.step is Step.READY and progress.node.name in rollout_pass.snapshot.undrainable:
        return False
    if progress.plain:
        return True
    if progress.node.hold is not None or not (progress.node.ready or rollout_pass.aim.back):
        return False
    record = progress.record
    if record is not None and record.failures > rollout_pass.spec.retry.limit:
        return False
    return waiting(progress, rollout_pass.now) is None
