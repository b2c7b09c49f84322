"""Who goes before: one look over all nodes of a rollout, for the gates that let others wait for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import TO_START, NodeStep
from proa.scheduler.planning.rollout_pass import RolloutPass, waiting


@dataclass(frozen=True)
class Precedence:
    """Nodes that go before. Those that cannot move by themselves, and the scheduler's own, are waited for by nobody.

    Attributes:
        away: How many are away, for whatever reason.
        ordered: How many may have been ordered to fetch the release by a write of ours that does not show yet.
        fetching: How many have to fetch the release, or do so, before any is disturbed.
        waited_for: Those that are under way, or can move.
        lost: Nodes of the control plane that are away, and not by our doing: the others of it cannot move meanwhile.
        zone: The zone whose turn it is; none if no zone has begun.
        busy: Whether nodes of it are under way.
    """

    away: int
    ordered: int
    fetching: int
    waited_for: tuple[NodeProgress, ...]
    lost: frozenset[str]
    zone: str | None
    busy: bool

    @cached_property
    def workers(self) -> Counter[int]:
        """By group: how many that are not of the control plane are not done."""
        return Counter(one.group for one in self.waited_for if not one.node.control_plane)

    @cached_property
    def control_plane(self) -> Counter[int]:
        """By group: how many of the control plane are not done."""
        return Counter(one.group for one in self.waited_for if one.node.control_plane)

    @property
    def movable(self) -> int:
        """How many are not done that can move: those of the control plane only while none of it is lost."""
        return self.workers.total() + (0 if self.lost else self.control_plane.total())


def look(
    rollout_pass: RolloutPass, canaries: frozenset[str] | None, control_plane_away: frozenset[str] = frozenset()
) -> Precedence:
    """One look over all nodes."""
    hidden = unseen(rollout_pass)
    away = rollout_pass.away + len(rollout_pass.ghosts) + sum(not one.away for one in hidden)
    ordered = sum(one.step is NodeStep.TO_STAGE for one in hidden)
    busy = rollout_pass.under_way
    movable = {
        step: [progress for progress in rollout_pass.by_step[step] if can_move(rollout_pass, progress, canaries)]
        for step in TO_START
    }
    own = rollout_pass.snapshot.own_node
    waited_for = [
        one
        for group in (busy, *movable.values())
        for one in group
        if one.node.name != own and not rollout_pass.has_joined(one)
    ]
    fetching = 0 if busy else _fetching(rollout_pass, movable)
    begun = {
        one.node.zone for group in (busy, _between_steps(rollout_pass), hidden) for one in group if _has_begun(one)
    }
    begun |= {one.zone for one in (*rollout_pass.ghosts, *rollout_pass.unproved)}
    zone = min(begun) if begun else _next_zone(rollout_pass, movable[NodeStep.READY] or _tried(rollout_pass, canaries))
    lost = _lost(rollout_pass, control_plane_away)
    return Precedence(away, ordered, fetching, tuple(waited_for), lost, zone, bool(begun))


def _fetching(rollout_pass: RolloutPass, movable: Mapping[NodeStep, list[NodeProgress]]) -> int:
    """How many of those that were there when the rollout began have yet to fetch the release."""
    found = (*movable[NodeStep.TO_STAGE], *movable[NodeStep.STAGING])
    return sum(not rollout_pass.has_joined(progress) for progress in found)


def _lost(rollout_pass: RolloutPass, away: frozenset[str]) -> frozenset[str]:
    """Of nodes of the control plane that are away: those that have neither our mark nor a write of ours under way."""
    nodes, pending = rollout_pass.snapshot.nodes, rollout_pass.snapshot.pending
    return frozenset(name for name in away if name in nodes and nodes[name].mark is None and name not in pending)


def unseen(rollout_pass: RolloutPass) -> list[NodeProgress]:
    """Nodes with a write of ours that may not show yet: each may stand where that has brought it."""
    pending = rollout_pass.snapshot.pending - rollout_pass.snapshot.resting
    return [one for one in rollout_pass.progresses if one.node.name in pending] if pending else []


def _between_steps(rollout_pass: RolloutPass) -> list[NodeProgress]:
    """Nodes that cannot be told of where they are, and may have our mark all the same."""
    return [
        one
        for step in (NodeStep.NEW, NodeStep.RECREATED, NodeStep.SILENT, NodeStep.FOREIGN)
        for one in rollout_pass.by_step[step]
    ]


def _has_begun(progress: NodeProgress) -> bool:
    """Whether its zone has its turn: it has our mark, or may have been given it by a write that does not show yet."""
    return progress.under_way or progress.mark is not None or progress.step is NodeStep.READY


def _next_zone(rollout_pass: RolloutPass, ready: list[NodeProgress]) -> str | None:
    return min(rollout_pass.turn(progress) for progress in ready).zone if ready else None


def _tried(rollout_pass: RolloutPass, canaries: frozenset[str] | None) -> list[NodeProgress]:
    """Nodes that could never be drained, and are tried once no other is left: they too go zone by zone."""
    ready, resting = rollout_pass.by_step[NodeStep.READY], rollout_pass.snapshot.resting
    return [one for one in ready if one.node.name not in resting and _is_free(rollout_pass, one, canaries)]


def can_move(rollout_pass: RolloutPass, progress: NodeProgress, canaries: frozenset[str] | None) -> bool:
    """Whether a node that is at rest can move on without anybody doing something about it."""
    return not rollout_pass.is_stuck(progress) and _is_free(rollout_pass, progress, canaries)


def _is_free(rollout_pass: RolloutPass, progress: NodeProgress, canaries: frozenset[str] | None) -> bool:
    """The same, whether or not the node can be drained and written to."""
    if canaries is not None and progress.node.name not in canaries:
        return False
    if progress.plain:
        return True
    if progress.node.leaving or (progress.step is NodeStep.READY and rollout_pass.is_set_aside(progress)):
        return False
    if progress.node.hold is not None or not (progress.node.ready or rollout_pass.aim.back):
        return False
    record = progress.record
    if record is not None and record.failures > rollout_pass.spec.retry.limit:
        return False
    return waiting(progress, rollout_pass.now) is None
