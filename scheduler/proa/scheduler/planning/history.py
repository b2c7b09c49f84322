"""When a rollout has a new target, or another attempt: what was before goes into the history."""

from __future__ import annotations

from datetime import datetime

from proa.scheduler.planning.views import RolloutView
from proa.scheduler.spec.rolloutstatus import MAX_HISTORY, PastRollout, RolloutStatus
from proa.scheduler.spec.times import text


def begun(view: RolloutView, now: datetime) -> RolloutStatus:
    """The status of a new target, or of another attempt: what was before goes into the history."""
    before = view.status
    history = before.history
    if before.started_at:
        past = PastRollout(
            release=before.release,
            attempt=before.attempt,
            phase=before.phase,
            started_at=before.started_at,
            ended_at=before.completed_at or text(now),
            nodes=before.counts.up_to_date,
            failed=before.counts.failed,
        )
        history = (past, *history)[:MAX_HISTORY]
    digests = before.failed_digests
    if before.attempt != view.spec.attempt:
        digests = tuple(digest for digest in digests if digest != view.digest)
    return RolloutStatus(
        release=view.spec.release,
        attempt=view.spec.attempt,
        started_at=text(now),
        failed_digests=digests,
        halted="this release failed before; raise 'attempt' to try it again" if view.digest in digests else "",
        recent_seconds=before.recent_seconds,
        conditions=before.conditions,
        history=history,
    )
