"""The canaries of a rollout: which nodes they are, and whether they have proved the release."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import BEGUN, NodeStep
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.spec.amounts import MAX_CANARIES, resolve
from proa.scheduler.spec.rollout import Cordoned
from proa.scheduler.spec.rolloutstatus import CanaryStatus

_STUCK: Final = frozenset(
    {NodeStep.NEW, NodeStep.RECREATED, NodeStep.SILENT, NodeStep.FOREIGN, NodeStep.NOWHERE, NodeStep.UNSETTABLE}
)
"""Steps from which nothing leads to the release before something else has happened."""


def choose(rollout_pass: RolloutPass) -> frozenset[str] | None:
    """The canaries as long as the others wait for them; none when all may go.

    Their names stand in the status, so that they stay the same ones; one that cannot prove the release any more is
    replaced. Once they have proved it, it is proved for this attempt, whatever becomes of them.
    """
    count = min(resolve(rollout_pass.spec.canary.nodes, rollout_pass.total), rollout_pass.total, MAX_CANARIES)
    if count == 0 or rollout_pass.aim.back:
        return None
    status = rollout_pass.status.canary
    if status is None or status.release != rollout_pass.aim.digest:
        status = CanaryStatus(rollout_pass.aim.digest)
    if not status.soaked_at:
        status = _judge(rollout_pass, status, _chosen(rollout_pass, status.nodes, count), count)
        rollout_pass.change(canary=status)
    return None if status.soaked_at else frozenset(status.nodes)


def is_soaking(rollout_pass: RolloutPass) -> bool:
    """Whether the canaries run the release, and only have to go on doing so."""
    return bool(rollout_pass.status.canary and rollout_pass.status.canary.proved_at)


def _chosen(rollout_pass: RolloutPass, names: Iterable[str], count: int) -> list[NodeProgress]:
    """Those that were chosen before and can prove the release still; others in their order for those that cannot.

    One that nobody waits for is a canary only where no other node can be.
    """
    before = dict.fromkeys(names)
    here = {one.node.name: one for one in rollout_pass.progresses if one.node.name in before}
    able = [here[name] for name in before if name in here and _can_prove(rollout_pass, here[name])]
    chosen = [one for one in able if not _is_stopped(rollout_pass, one)]
    if len(chosen) < count:
        taken = {one.node.name for one in chosen}

        def rank(one: NodeProgress) -> tuple[object, ...]:
            return (
                _is_stopped(rollout_pass, one),
                one.node.name not in before,
                not _touched(one),
                rollout_pass.turn(one),
            )

        precedence = (
            one for one in rollout_pass.progresses if one.node.name not in taken and _can_prove(rollout_pass, one)
        )
        chosen += heapq.nsmallest(count - len(chosen), precedence, key=rank)
    return chosen[:count]


def _is_stopped(rollout_pass: RolloutPass, progress: NodeProgress) -> bool:
    """Whether a node that has yet to come to the release is stuck, or cordoned by somebody else."""
    if progress.under_way or progress.step is NodeStep.REACHED:
        return False
    cordoned = progress.node.unschedulable and rollout_pass.spec.cordoned is Cordoned.SKIP
    return cordoned or rollout_pass.is_stuck(progress)


def _can_prove(rollout_pass: RolloutPass, progress: NodeProgress) -> bool:
    """Whether a node runs the release or comes to it by itself; one that fell ill over the release goes on counting."""
    node, record = progress.node, progress.record
    if progress.step in _STUCK or (node.leaving and not progress.under_way):
        return False
    if progress.under_way:
        return True
    if progress.step is NodeStep.REACHED:
        return node.ready or node.hold is None
    if node.hold is not None or (record is not None and record.failures > rollout_pass.spec.retry.limit):
        return False
    return node.ready or progress.step is NodeStep.STAGING


def _touched(progress: NodeProgress) -> bool:
    """Whether the release has come to the node already."""
    return progress.step in BEGUN or progress.step is NodeStep.STAGING or progress.staged


def _judge(rollout_pass: RolloutPass, status: CanaryStatus, chosen: list[NodeProgress], count: int) -> CanaryStatus:
    """Note since when all canaries run the release well, and when that was for long enough."""
    names = tuple(progress.node.name for progress in chosen)
    if len(chosen) < count or not all(one.step is NodeStep.REACHED and one.node.ready for one in chosen):
        return dataclasses.replace(status, nodes=names, proved_at="")
    kept = status.proved_at if set(names) <= set(status.nodes) else ""
    status = dataclasses.replace(status, nodes=names, proved_at=kept or text(rollout_pass.now))
    return dataclasses.replace(status, soaked_at=text(rollout_pass.now) if _soaked(rollout_pass, status) else "")


def _soaked(rollout_pass: RolloutPass, status: CanaryStatus) -> bool:
    since = read(status.proved_at)
    if since is None:
        return False
    end = since + duration.parse(rollout_pass.spec.canary.soak)
    if rollout_pass.now < end:
        rollout_pass.wakes.append(end)
        return False
    return True
