"""The canaries of a rollout: which nodes they are, and whether they have proved the release."""

from __future__ import annotations

import dataclasses
from typing import Final

from proa.core import duration
from proa.scheduler.planning.campaign import Campaign
from proa.scheduler.planning.standing import BEGUN, Standing, Step
from proa.scheduler.planning.turns import turn
from proa.scheduler.spec.amounts import resolve
from proa.scheduler.spec.rolloutstatus import CanaryStatus
from proa.scheduler.spec.times import read, text

MOST: Final = 64
"""Canaries that a status has room for."""


def choose(campaign: Campaign) -> frozenset[str] | None:
    """The canaries as long as the others wait for them; none when all may go.

    Their names stand in the status, so that they stay the same ones.
    """
    count = min(resolve(campaign.spec.canary.nodes, campaign.total), campaign.total, MOST)
    if count == 0 or campaign.aim.back:
        return None
    status = campaign.status.canary
    if status is None or status.release != campaign.aim.digest:
        ranked = sorted(campaign.standings, key=lambda standing: (not _touched(standing), turn(campaign, standing)))
        fit = [standing for standing in ranked if standing.node.hold is None]
        status = CanaryStatus(campaign.aim.digest, tuple(standing.node.name for standing in fit[:count]))
    status = _judge(campaign, status)
    campaign.change(canary=status)
    return None if _soaked(campaign, status) else frozenset(status.nodes)


def is_soaking(campaign: Campaign) -> bool:
    """Whether the canaries run the release, and only have to go on doing so."""
    return bool(campaign.status.canary and campaign.status.canary.proved_at)


def _touched(standing: Standing) -> bool:
    """Whether the release has come to the node already."""
    return standing.step in BEGUN or standing.step is Step.STAGING or standing.staged


def _judge(campaign: Campaign, status: CanaryStatus) -> CanaryStatus:
    """Note since when all canaries run the release well; one that is gone or away begins the time anew."""
    by_name = {standing.node.name: standing for standing in campaign.standings}
    here = [by_name[name] for name in status.nodes if name in by_name]
    well = bool(here) and all(standing.step is Step.REACHED and standing.node.ready for standing in here)
    if not well:
        return dataclasses.replace(status, proved_at="")
    return status if status.proved_at else dataclasses.replace(status, proved_at=text(campaign.now))


def _soaked(campaign: Campaign, status: CanaryStatus) -> bool:
    since = read(status.proved_at)
    if since is None:
        return False
    end = since + duration.parse(campaign.spec.canary.soak)
    if campaign.now < end:
        campaign.wakes.append(end)
        return False
    return True
