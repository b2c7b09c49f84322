"""What is written down when something went wrong on a node: how often, when it has its next turn, whether it counts."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Note
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.planning.views import Record

LONGEST: Final = timedelta(hours=12)
"""A node is never made to wait for longer."""
SILENCE: Final = timedelta(minutes=5)
"""How much longer than a node has for an order the scheduler waits to hear what became of it."""
AWAY: Final = "NO_COMMIT_ORDER"
"""The agent's code for a trial that was well, and that nobody ordered to commit: no fault of the release."""


def fail(rollout_pass: RolloutPass, progress: NodeProgress, reason: str, message: str, *, fault: bool = False) -> None:
    """Write down a try that failed.

    Args:
        rollout_pass: The rollout.
        progress: The node.
        reason: In a word.
        message: In a sentence.
        fault: Whether it counts against the release at once, however many tries are left.
    """
    before = _before(rollout_pass, progress)
    failures = before.failures + 1
    failed = before.failed or fault or failures > rollout_pass.spec.retry.limit
    record = dataclasses.replace(
        before, failures=failures, failed=failed, not_before=_turn(rollout_pass, before.failures)
    )
    _note(rollout_pass, progress, record, reason, message)


def park(rollout_pass: RolloutPass, progress: NodeProgress, reason: str, message: str) -> None:
    """Write down a try that was broken off, and that is nobody's fault."""
    before = _before(rollout_pass, progress)
    record = dataclasses.replace(before, parks=before.parks + 1, not_before=_turn(rollout_pass, before.parks))
    _note(rollout_pass, progress, record, reason, message)


def is_late(rollout_pass: RolloutPass, progress: NodeProgress, limit: timedelta) -> bool:
    """Whether a node took longer than ``limit`` from its last order on; if not, it is looked at again then.

    What was counted already is late no more. While the scheduler was away a node may have heard and told nothing.
    """
    order = progress.order
    if order and progress.os and progress.os.record and progress.os.record.order >= order.id:
        return False
    since = read(order.issued) if order else None
    if since is None:
        since = progress.mark.since if progress.mark else rollout_pass.now
    if rollout_pass.snapshot.since is not None:
        since = max(since, rollout_pass.snapshot.since)
    if rollout_pass.now >= since + limit:
        return True
    rollout_pass.wakes.append(since + limit)
    return False


def waiting(progress: NodeProgress, now: datetime) -> datetime | None:
    """When a node has its next turn; none if that is now."""
    until = progress.record.not_before if progress.record else None
    return until if until is not None and now < until else None


def _before(rollout_pass: RolloutPass, progress: NodeProgress) -> Record:
    aim = rollout_pass.aim
    return progress.record or Record(aim.rollout, aim.digest, aim.attempt, back=aim.back)


def _turn(rollout_pass: RolloutPass, times: int) -> datetime:
    backoff = duration.parse(rollout_pass.spec.retry.backoff)
    wait: timedelta = min(LONGEST, backoff * (1 << min(times, 16)))
    return rollout_pass.now + wait


def _note(rollout_pass: RolloutPass, progress: NodeProgress, record: Record, reason: str, message: str) -> None:
    order = progress.order.id if progress.order else 0
    mark = progress.mark.since if progress.mark else None
    counted = dataclasses.replace(record, order=order, mark=mark, reason=reason, message=message[:1024])
    rollout_pass.actions.append(Note(progress.node.name, counted, reason, message))
