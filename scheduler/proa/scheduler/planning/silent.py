"""Nodes whose object says nothing of them: it is new, or belongs to another node, or the agent has never reported.

A node that has our mark may come to that when its object is deleted in the middle. It has as long as a node may take
from its mark to its trial; then it is given back, so that it holds no place for ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Create, Forget, Uncordon
from proa.scheduler.planning.node_progress import NodeProgress, Step
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.planning.views import Mark


def _new(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.actions.append(Create(progress.node.name))
    _without_object(rollout_pass, progress, Reason.New)


def _recreated(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if progress.os is not None:
        rollout_pass.actions.append(Forget(progress.node.name, progress.os.uid))
    _without_object(rollout_pass, dataclasses.replace(progress, os=None), Reason.Recreated)


def _without_object(rollout_pass: RolloutPass, progress: NodeProgress, reason: Reason) -> None:
    """There is nothing of its own to write a failure down in."""
    if _is_overdue(rollout_pass, progress):
        rollout_pass.actions.append(Uncordon(progress.node.name, Reason.AgentSilent.name))
    rollout_pass.say(progress, reason)


def _silent(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if _is_overdue(rollout_pass, progress):
        message = "the node has Proa's mark, and its agent has been silent since its NodeOS was created"
        rollout_pass.fail(progress, Reason.AgentSilent.name, message)
    rollout_pass.say(progress, Reason.AgentSilent)


def _is_overdue(rollout_pass: RolloutPass, progress: NodeProgress) -> bool:
    """Whether a marked node has had its time: from its last order on, or to be drained first where it got none."""
    if progress.mark is None:
        return False
    limit = duration.parse(rollout_pass.spec.health.timeout)
    if not _is_ordered(progress, progress.mark):
        limit += duration.parse(rollout_pass.spec.drain.timeout)
        progress = dataclasses.replace(progress, os=None)
    return rollout_pass.is_late(progress, limit)


def _is_ordered(progress: NodeProgress, mark: Mark) -> bool:
    """Whether it was given an order under its mark."""
    order = progress.order
    issued = read(order.issued) if order else None
    return issued is not None and issued >= mark.since


BY_SILENCE: Final[dict[Step, Callable[[RolloutPass, NodeProgress], None]]] = {
    Step.NEW: _new,
    Step.RECREATED: _recreated,
    Step.SILENT: _silent,
}
"""What is done at each of these steps."""
