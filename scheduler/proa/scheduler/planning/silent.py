"""Nodes whose object says nothing of them: it is new, or belongs to another node, or the agent has never reported.

A node that has our mark may come to that when its object is deleted in the middle. It has as long as a node may take
from its mark to its trial; then it is given back, so that it holds no place for ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.planning.actions import Create, Forget, Uncordon, Verdict
from proa.scheduler.planning.blame import failure, is_late
from proa.scheduler.planning.node_progress import Standing, Step
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.planning.views import Mark
from proa.scheduler.spec.times import read


def _new(campaign: Campaign, standing: Standing) -> None:
    campaign.actions.append(Create(standing.node.name))
    _without_object(campaign, standing, Reason.New)


def _recreated(campaign: Campaign, standing: Standing) -> None:
    if standing.os is not None:
        campaign.actions.append(Forget(standing.node.name, standing.os.uid))
    _without_object(campaign, dataclasses.replace(standing, os=None), Reason.Recreated)


def _without_object(campaign: Campaign, standing: Standing, reason: Reason) -> None:
    """There is nothing of its own to write a failure down in."""
    if _is_overdue(campaign, standing):
        campaign.actions.append(Uncordon(standing.node.name, Reason.AgentSilent.name))
    campaign.say(standing, Verdict(reason))


def _silent(campaign: Campaign, standing: Standing) -> None:
    if _is_overdue(campaign, standing):
        message = "the node has our mark, and its agent has told nothing since its object was made"
        campaign.actions.append(failure(campaign, standing, Reason.AgentSilent.name, message))
    campaign.say(standing, Verdict(Reason.AgentSilent))


def _is_overdue(campaign: Campaign, standing: Standing) -> bool:
    """Whether a marked node has had its time: from its last order on, or to be drained first where it got none."""
    if standing.mark is None:
        return False
    limit = duration.parse(campaign.spec.health.timeout)
    if not _is_ordered(standing, standing.mark):
        limit += duration.parse(campaign.spec.drain.timeout)
        standing = dataclasses.replace(standing, os=None)
    return is_late(campaign, standing, limit)


def _is_ordered(standing: Standing, mark: Mark) -> bool:
    """Whether it was given an order under its mark."""
    order = standing.os.order if standing.os else None
    issued = read(order.issued) if order else None
    return issued is not None and issued >= mark.since


BY_SILENCE: Final[Mapping[Step, Callable[[Campaign, Standing], None]]] = {
    Step.NEW: _new,
    Step.RECREATED: _recreated,
    Step.SILENT: _silent,
}
"""What is done at each of these steps."""
