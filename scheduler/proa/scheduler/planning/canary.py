"""The canaries of a rollout: which nodes they are, and whether they have proved the release."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.planning.node_progress import BEGUN, Standing, Step
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.planning.turns import turn
from proa.scheduler.spec.amounts import MAX_CANARIES, resolve
from proa.scheduler.spec.rolloutstatus import CanaryStatus
from proa.scheduler.spec.times import read, text

_STUCK: Final = frozenset({Step.NEW, Step.RECREATED, Step.SILENT, Step.FOREIGN, Step.NOWHERE})
"""Steps from which nothing leads to the release before something else has happened."""


def choose(campaign: Campaign) -> frozenset[str] | None:
    """The canaries as long as the others wait for them; none when all may go.

    Their names stand in the status, so that they stay the same ones; one that cannot prove the release any more is
    replaced. Once they have proved it, it is proved for this attempt, whatever becomes of them.
    """
    count = min(resolve(campaign.spec.canary.nodes, campaign.total), campaign.total, MAX_CANARIES)
    if count == 0 or campaign.aim.back:
        return None
    status = campaign.status.canary
    if status is None or status.release != campaign.aim.digest:
        status = CanaryStatus(campaign.aim.digest)
    if not status.soaked_at:
        status = _judge(campaign, status, _chosen(campaign, status.nodes, count), count)
        campaign.change(canary=status)
    return None if status.soaked_at else frozenset(status.nodes)


def is_soaking(campaign: Campaign) -> bool:
    """Whether the canaries run the release, and only have to go on doing so."""
    return bool(campaign.status.canary and campaign.status.canary.proved_at)


def _chosen(campaign: Campaign, names: Iterable[str], count: int) -> list[Standing]:
    """Those that were chosen before and can prove the release still; others in their order for those that cannot.

    One that nobody waits for is a canary only where no other node can be.
    """
    before = dict.fromkeys(names)
    here = {one.node.name: one for one in campaign.standings if one.node.name in before}
    able = [here[name] for name in before if name in here and _can_prove(campaign, here[name])]
    chosen = [one for one in able if not _is_stopped(campaign, one)]
    if len(chosen) < count:
        taken = {one.node.name for one in chosen}

        def rank(one: Standing) -> tuple[object, ...]:
            return _is_stopped(campaign, one), one.node.name not in before, not _touched(one), turn(campaign, one)

        others = (one for one in campaign.standings if one.node.name not in taken and _can_prove(campaign, one))
        chosen += heapq.nsmallest(count - len(chosen), others, key=rank)
    return chosen[:count]


def _is_stopped(campaign: Campaign, standing: Standing) -> bool:
    """Whether a node could never be drained, or the cluster does not accept what is written to it."""
    name, snapshot = standing.node.name, campaign.snapshot
    if standing.under_way or standing.step is Step.REACHED:
        return False
    return name in snapshot.resting or (standing.step is Step.READY and name in snapshot.hopeless)


def _can_prove(campaign: Campaign, standing: Standing) -> bool:
    """Whether a node runs the release or comes to it by itself; one that fell ill over the release goes on counting."""
    node, record = standing.node, standing.record
    if standing.step in _STUCK:
        return False
    if standing.under_way:
        return True
    if standing.step is Step.REACHED:
        return node.ready or node.hold is None
    if node.hold is not None or (record is not None and record.failures > campaign.spec.retry.limit):
        return False
    return node.ready or standing.step is Step.STAGING


def _touched(standing: Standing) -> bool:
    """Whether the release has come to the node already."""
    return standing.step in BEGUN or standing.step is Step.STAGING or standing.staged


def _judge(campaign: Campaign, status: CanaryStatus, chosen: list[Standing], count: int) -> CanaryStatus:
    """Note since when all canaries run the release well, and when that was for long enough."""
    names = tuple(standing.node.name for standing in chosen)
    if len(chosen) < count or not all(one.step is Step.REACHED and one.node.ready for one in chosen):
        return dataclasses.replace(status, nodes=names, proved_at="")
    kept = status.proved_at if set(names) <= set(status.nodes) else ""
    status = dataclasses.replace(status, nodes=names, proved_at=kept or text(campaign.now))
    return dataclasses.replace(status, soaked_at=text(campaign.now) if _soaked(campaign, status) else "")


def _soaked(campaign: Campaign, status: CanaryStatus) -> bool:
    since = read(status.proved_at)
    if since is None:
        return False
    end = since + duration.parse(campaign.spec.canary.soak)
    if campaign.now < end:
        campaign.wakes.append(end)
        return False
    return True
