"""Nodes that have the order to reboot, and have not proved the release yet: remembered where no Node can take it along.

Others act at the same time. A node repair controller deletes a node that does not come back, a cloud controller deletes
one that is down and registers it anew under its name. So the rollout's own status says which nodes are out. One that is
gone keeps its place until its time is over; then it counts against the release. One that is there again under another
UID is marked and cordoned at once, and goes on where it was if its agent says that it is the same one: it runs the
release that it was ordered to try, or has returned from it, or has not rebooted yet.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

from proa.core.orders.messages import FIRST, NodeStatus, Phase
from proa.core.orders.messages import Action as Verb
from proa.core.runtime import duration
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.actions import Cordon, Give
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.planning.views import Mark, NodeView, Snapshot
from proa.scheduler.spec.rolloutstatus import MAX_LOST_NAMES, MAX_OUTSTANDING, LostNodes, OutstandingNode

_OUT: Final = frozenset(
    {
        NodeStep.BOOTING,
        NodeStep.TRIAL,
        NodeStep.COMMITTING,
        NodeStep.FINISHING,
        NodeStep.FAILED_BOOT,
        NodeStep.RETURNED,
        NodeStep.RECALL,
    }
)
"""Steps of a node that has the order to reboot."""
_UNHEARD: Final = frozenset({NodeStep.NEW, NodeStep.RECREATED, NodeStep.SILENT})
"""Steps of a node whose agent has not said yet what runs there."""


def gone(snapshot: Snapshot) -> frozenset[str]:
    """Nodes of the control plane that are out, and gone or there anew: others of it wait for them."""
    out = (one for view in snapshot.rollouts.values() for one in view.status.outstanding if one.control_plane)
    nodes = snapshot.nodes
    return frozenset(one.node for one in out if one.node not in nodes or nodes[one.node].uid != one.uid)


def look(rollout_pass: RolloutPass) -> None:
    """Find those of the nodes that were out which are gone, or there again under another UID."""
    here = {one.node.name: one for one in rollout_pass.progresses} if rollout_pass.status.outstanding else {}
    lost = []
    for one in rollout_pass.status.outstanding:
        node, progress = rollout_pass.snapshot.nodes.get(one.node), here.get(one.node)
        if node is not None and (progress is None or node.uid == one.uid):
            if progress is not None and progress.mark is not None and progress.step in _UNHEARD:
                rollout_pass.unproved.append(one)  # its object was deleted in the middle
            continue
        if progress is not None and progress.node.mark is not None and _is_same(progress, one):
            continue
        until = _until(rollout_pass, one)
        if not _may_be_it(progress, one) or rollout_pass.now >= until:
            lost.append(one)
            continue
        rollout_pass.wakes.append(until)
        known = rollout_pass.unproved if progress is not None and progress.away else rollout_pass.ghosts
        known.append(one)
        if progress is not None:
            _take_up(rollout_pass, progress.node, one)
    _count(rollout_pass, [one for one in lost if one.release == rollout_pass.aim.digest and not rollout_pass.aim.back])


def _may_be_it(progress: NodeProgress | None, one: OutstandingNode) -> bool:
    """Whether a node may still turn out to be the one that was out."""
    return progress is None or progress.step in _UNHEARD or _is_same(progress, one)


def note(rollout_pass: RolloutPass) -> None:
    """Note who is out now, also by an order of this very pass."""
    actions = rollout_pass.actions
    ordered = {one.node for one in actions if isinstance(one, Give) and one.verb in (Verb.BOOT, Verb.ROLLBACK)}
    before = {(one.node, one.uid): one for one in rollout_pass.status.outstanding}
    found = {one.node: one for one in (*rollout_pass.ghosts, *rollout_pass.unproved)}
    for progress in rollout_pass.under_way:
        node = progress.node
        # What was noted stays while the node is under way: its order may not show yet, or a leader noted it and died.
        one = before.get((node.name, node.uid))
        if one is not None and progress.mark is not None and one.release != progress.mark.release:
            one = None
        if one is None and node.name in ordered:
            one = _outstanding(progress, text(rollout_pass.now))
        elif one is None and progress.step in _OUT:
            one = _outstanding(progress)
        if one is not None:
            found.setdefault(node.name, one)
    outstanding = tuple(sorted(found.values(), key=lambda one: one.node)[:MAX_OUTSTANDING])
    if outstanding != rollout_pass.status.outstanding:
        rollout_pass.change(outstanding=outstanding)


def _outstanding(progress: NodeProgress, since: str = "") -> OutstandingNode | None:
    """What is remembered of a node that is out; nothing of one that has lost its mark."""
    node, mark, order = progress.node, progress.mark, progress.order
    if mark is None:
        return None
    since = since or (order.issued if order else "") or text(mark.since)
    return OutstandingNode(
        node.name, node.uid, mark.release, since, mark.boot_id, mark.root_hash, node.zone, node.control_plane
    )


def is_ours(mark: Mark, status: NodeStatus) -> bool:
    """Whether what a node says shows that it is the one that was marked: its order was ours, even if forgotten."""
    booted = status.booted
    if booted is None:
        return False
    if booted.boot_id == mark.boot_id:
        return True
    if booted.release == mark.release:
        return mark.root_hash in ("", booted.root_hash)
    return status.phase == Phase.ROLLED_BACK


def _is_same(progress: NodeProgress, one: OutstandingNode) -> bool:
    """Whether a node of another UID is the one that was out."""
    return progress.step not in _UNHEARD and progress.status is not None and is_ours(_mark(one, ""), progress.status)


def _until(rollout_pass: RolloutPass, one: OutstandingNode) -> datetime:
    """Until when a node that is gone may come back."""
    since = read(one.since) or rollout_pass.now
    limit: timedelta = duration.parse(rollout_pass.spec.health.timeout)
    return max(since, rollout_pass.snapshot.since or since) + limit


def _take_up(rollout_pass: RolloutPass, node: NodeView, one: OutstandingNode) -> None:
    """Mark and cordon a node that was registered anew, before pods come: no gate is asked, it has its place."""
    if node.mark is None and node.name not in rollout_pass.snapshot.pending:
        mark = dataclasses.replace(_mark(one, rollout_pass.view.name), cordoned=not node.unschedulable)
        rollout_pass.actions.append(Cordon(node.name, mark, again=True))


def _mark(one: OutstandingNode, rollout: str) -> Mark:
    since = read(one.since) or FIRST
    return Mark(rollout, one.release, since, True, one.boot_id, one.root_hash)


def _count(rollout_pass: RolloutPass, lost: list[OutstandingNode]) -> None:
    """Count nodes that did not come back against the release, where it outlives them."""
    if not lost:
        return
    before = rollout_pass.status.lost or LostNodes()
    names = (*(one.node for one in lost), *before.nodes)[:MAX_LOST_NAMES]
    rollout_pass.change(lost=LostNodes(before.count + len(lost), names, text(rollout_pass.now)))


def starts_again(rollout_pass: RolloutPass) -> datetime | None:
    """Until when no node is started, because some that were did not come back; none if starts go on."""
    lost = rollout_pass.status.lost
    since = read(lost.last_at) if lost is not None else None
    if lost is None or since is None or rollout_pass.aim.back:
        return None
    until = since + rollout_pass.backoff(lost.count - 1)
    return until if rollout_pass.now < until else None
