"""What is written down when something went wrong on a node: how often, when it has its next turn, whether it counts."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.planning.actions import Note
from proa.scheduler.planning.node_progress import Standing
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.planning.views import Record
from proa.scheduler.spec.times import read

LONGEST: Final = timedelta(hours=12)
"""A node is never made to wait for longer."""
SILENCE: Final = timedelta(minutes=5)
"""How much longer than a node has for an order the scheduler waits to hear what became of it."""
AWAY: Final = "NO_COMMIT_ORDER"
"""The agent's code for a trial that was well, and that nobody ordered to commit: no fault of the release."""


def failure(campaign: Campaign, standing: Standing, reason: str, message: str, *, fault: bool = False) -> Note:
    """A try that failed.

    Args:
        campaign: The rollout.
        standing: The node.
        reason: In a word.
        message: In a sentence.
        fault: Whether it counts against the release at once, however many tries are left.
    """
    before = _before(campaign, standing)
    failures = before.failures + 1
    failed = before.failed or fault or failures > campaign.spec.retry.limit
    record = dataclasses.replace(before, failures=failures, failed=failed, not_before=_turn(campaign, before.failures))
    return _note(standing, record, reason, message)


def parking(campaign: Campaign, standing: Standing, reason: str, message: str) -> Note:
    """A try that was broken off, and that is nobody's fault."""
    before = _before(campaign, standing)
    record = dataclasses.replace(before, parks=before.parks + 1, not_before=_turn(campaign, before.parks))
    return _note(standing, record, reason, message)


def is_late(campaign: Campaign, standing: Standing, limit: timedelta) -> bool:
    """Whether a node took longer than ``limit`` from its last order on; if not, it is looked at again then.

    What was counted already is late no more. While the scheduler was away a node may have heard and told nothing.
    """
    order = standing.os.order if standing.os else None
    if order and standing.os and standing.os.record and standing.os.record.order >= order.id:
        return False
    since = read(order.issued) if order else None
    if since is None:
        since = standing.mark.since if standing.mark else campaign.now
    if campaign.snapshot.since is not None:
        since = max(since, campaign.snapshot.since)
    if campaign.now >= since + limit:
        return True
    campaign.wakes.append(since + limit)
    return False


def waiting(standing: Standing, now: datetime) -> datetime | None:
    """When a node has its next turn; none if that is now."""
    until = standing.record.not_before if standing.record else None
    return until if until is not None and now < until else None


def _before(campaign: Campaign, standing: Standing) -> Record:
    aim = campaign.aim
    return standing.record or Record(aim.rollout, aim.digest, aim.attempt, back=aim.back)


def _turn(campaign: Campaign, times: int) -> datetime:
    backoff = duration.parse(campaign.spec.retry.backoff)
    wait: timedelta = min(LONGEST, backoff * (1 << min(times, 16)))
    return campaign.now + wait


def _note(standing: Standing, record: Record, reason: str, message: str) -> Note:
    order = standing.os.order.id if standing.os and standing.os.order else 0
    mark = standing.mark.since if standing.mark else None
    counted = dataclasses.replace(record, order=order, mark=mark, reason=reason, message=message[:1024])
    return Note(standing.node.name, counted, reason, message)
