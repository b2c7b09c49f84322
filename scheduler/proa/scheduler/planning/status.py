"""The status of a rollout: what became of it, in words and numbers that a person reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from proa.core.orders.messages import Condition
from proa.scheduler.planning.node_progress import Step
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.spec.rollout import OnFailure
from proa.scheduler.spec.rolloutstatus import (
    MAX_BLOCKERS,
    MAX_DIGESTS,
    MAX_HALTED,
    MAX_RECENT,
    Blocker,
    Counts,
    RolloutPhase,
    RolloutStatus,
)
from proa.scheduler.spec.times import text


def judge(campaign: Campaign) -> None:
    """Halt the rollout when more has failed than is borne."""
    failed = campaign.failed
    if campaign.halted or len(failed) <= campaign.borne():
        return
    names = ", ".join(f"{one.node.name} ({one.record.reason})" for one in failed[:5] if one.record)
    what = f"failed on {len(failed)} nodes, {campaign.borne()} are borne: {names}"
    digests = tuple(dict.fromkeys((campaign.aim.digest, *campaign.status.failed_digests)))[:MAX_DIGESTS]
    campaign.halted = True
    campaign.change(halted=what[:MAX_HALTED], failed_digests=digests)


def finish(campaign: Campaign) -> RolloutStatus:
    """The status as it is to be written."""
    counts = _counts(campaign)
    phase = _phase(campaign, counts)
    done = phase in (RolloutPhase.COMPLETE, RolloutPhase.ROLLED_BACK)
    opens = campaign.allowance.opens
    campaign.change(
        observed_generation=campaign.view.generation,
        phase=phase,
        progress=f"{counts.up_to_date}/{counts.nodes}",
        counts=counts,
        wave=_wave(campaign),
        completed_at=(campaign.status.completed_at or text(campaign.now)) if done else "",
        blockers=_blockers(campaign),
        next_window=text(opens) if opens and campaign.allowance.closed else "",
        recent_seconds=(*campaign.finished, *campaign.status.recent_seconds)[:MAX_RECENT],
        conditions=_conditions(campaign, phase),
    )
    return campaign.status


def refused(view: RolloutView, phase: str, reason: str, message: str, now: datetime) -> RolloutStatus:
    """The status of a rollout that does not act at all: nothing goes on, and what was halted stays so."""
    halted = view.status.halted
    told = (
        ("Valid", False, reason, message),
        ("Progressing", False, reason, ""),
        ("Complete", False, reason, ""),
        ("Halted", bool(halted), RolloutPhase.HALTED if halted else reason, halted),
    )
    return dataclasses.replace(
        view.status,
        observed_generation=view.generation,
        phase=phase,
        wave="",
        blockers=(),
        next_window="",
        conditions=_told(view, view.status.conditions, told, now),
    )


def _counts(campaign: Campaign) -> Counts:
    reasons = [verdict.reason for verdict in campaign.verdicts.values()]
    return Counts(
        nodes=campaign.total,
        up_to_date=len(campaign.by_step[Step.REACHED]),
        staged=sum([standing.staged for standing in campaign.standings]),
        staging=len(campaign.by_step[Step.STAGING]),
        updating=len(campaign.under_way),
        failed=len(campaign.failed),
        parked=reasons.count(Reason.Parked),
        held=sum([standing.node.hold is not None for standing in campaign.standings]),
        unavailable=campaign.away,
    )


def _phase(campaign: Campaign, counts: Counts) -> str:
    if campaign.halted:
        if campaign.spec.failure.action is OnFailure.HALT:
            return RolloutPhase.HALTED
        back = campaign.aim.back and counts.up_to_date == counts.nodes
        return RolloutPhase.ROLLED_BACK if back else RolloutPhase.ROLLING_BACK
    if counts.up_to_date == counts.nodes:
        return RolloutPhase.COMPLETE if counts.nodes else RolloutPhase.PENDING
    if counts.updating:
        return RolloutPhase.PROGRESSING
    if campaign.spec.paused:
        return RolloutPhase.PAUSED
    if counts.staging or any(verdict.reason is Reason.StageNext for verdict in campaign.verdicts.values()):
        return RolloutPhase.STAGING
    reasons = {verdict.reason for verdict in campaign.verdicts.values()}
    if Reason.Next in reasons:
        return RolloutPhase.PROGRESSING
    return RolloutPhase.SOAKING if Reason.Soaking in reasons else RolloutPhase.WAITING


def _wave(campaign: Campaign) -> str:
    """Whose turn it is, told from the nodes that are under way."""
    canary = campaign.status.canary
    busy = campaign.under_way
    if not busy:
        return ""
    if canary and not campaign.aim.back and all(standing.node.name in canary.nodes for standing in busy):
        return "Canary"
    if all(standing.node.control_plane for standing in busy):
        return "ControlPlane"
    return ", ".join(sorted({standing.node.zone for standing in busy if standing.node.zone}))[:128]


def _blockers(campaign: Campaign) -> tuple[Blocker, ...]:
    snapshot = campaign.snapshot
    found = [
        blocker
        for name in sorted(campaign.drains)
        if (drain := snapshot.drains.get(name))
        for blocker in drain.blockers
    ]
    hopeless = (one.node.name for one in campaign.by_step[Step.READY] if one.node.name in snapshot.hopeless)
    found += [blocker for name in sorted(hopeless) for blocker in snapshot.hopeless[name]]
    return tuple(found[:MAX_BLOCKERS])


_PROGRESSING: Final = frozenset({RolloutPhase.STAGING, RolloutPhase.PROGRESSING, RolloutPhase.ROLLING_BACK})


def _conditions(campaign: Campaign, phase: str) -> tuple[Condition, ...]:
    told = (
        ("Valid", True, "Accepted", ""),
        ("Progressing", phase in _PROGRESSING, phase, ""),
        ("Complete", phase == RolloutPhase.COMPLETE, phase, f"{campaign.total} nodes follow it"),
        ("Halted", campaign.halted, phase if campaign.halted else "Running", campaign.status.halted),
    )
    return _told(campaign.view, campaign.status.conditions, told, campaign.now)


def _told(
    view: RolloutView,
    conditions: tuple[Condition, ...],
    told: Iterable[tuple[str, bool, str, str]],
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions with some told anew: type, whether it holds, reason and message of each."""
    for name, true, reason, message in told:
        condition = Condition(name, str(true), reason, message[:1024], observed_generation=view.generation)
        conditions = _with(conditions, condition, now)
    return conditions


def _with(conditions: tuple[Condition, ...], new: Condition, now: datetime) -> tuple[Condition, ...]:
    """The conditions with one changed; the time of its last transition stays as long as its status does."""
    old = next((condition for condition in conditions if condition.type == new.type), None)
    since = old.last_transition_time if old and old.status == new.status and old.last_transition_time else text(now)
    new = dataclasses.replace(new, last_transition_time=since)
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == new.type else condition for condition in conditions)
