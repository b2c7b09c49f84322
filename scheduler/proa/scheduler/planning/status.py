"""The status of a rollout: what became of it, in words and numbers that a person reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from proa.core.orders.messages import Condition
from proa.scheduler.kube.times import text
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import RolloutPass, goes_back
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.planning.waves import group_name
from proa.scheduler.spec.rolloutstatus import (
    MAX_BLOCKERS,
    MAX_DIGESTS,
    MAX_HALTED,
    MAX_RECENT,
    Blocker,
    Counts,
    LostNodes,
    RolloutPhase,
    RolloutStatus,
)

REFUSED: Final = "a write was not accepted: "
"""How a blocker begins that is not one of a drain."""
WAITS: Final = "may finish before anything is evicted: "
"""How one begins that is not in the way, but that a drain waits for."""


def judge(rollout_pass: RolloutPass) -> None:
    """Halt the rollout when more nodes have failed than are allowed."""
    failed, lost = rollout_pass.failed, rollout_pass.status.lost or LostNodes()
    number = len(failed) + lost.count
    if rollout_pass.halted or number <= rollout_pass.borne():
        return
    names = [f"{one.node.name} ({one.record.reason})" for one in failed if one.record]
    names += [f"{name} (Lost)" for name in lost.nodes]
    what = f"failed on {number} nodes, {rollout_pass.borne()} allowed: {', '.join(names[:5])}"
    release = () if rollout_pass.status.settings_alone else (rollout_pass.aim.digest,)
    digests = tuple(dict.fromkeys((*release, *rollout_pass.status.failed_digests)))[:MAX_DIGESTS]
    rollout_pass.halted = True
    rollout_pass.change(halted=what[:MAX_HALTED], failed_digests=digests)


def finish(rollout_pass: RolloutPass) -> RolloutStatus:
    """The status as it is to be written."""
    counts = _counts(rollout_pass)
    phase = _phase(rollout_pass, counts)
    done = phase in (RolloutPhase.COMPLETE, RolloutPhase.ROLLED_BACK)
    opens = rollout_pass.allowance.opens
    rollout_pass.change(
        observed_generation=rollout_pass.view.generation,
        phase=phase,
        progress=f"{counts.up_to_date}/{counts.nodes}",
        counts=counts,
        wave=_wave(rollout_pass),
        completed_at=(rollout_pass.status.completed_at or text(rollout_pass.now)) if done else "",
        blockers=_blockers(rollout_pass),
        next_window=text(opens) if opens and rollout_pass.allowance.closed else "",
        settings_before=_settings_before(rollout_pass, phase),
        recent_seconds=(*rollout_pass.finished, *rollout_pass.status.recent_seconds)[:MAX_RECENT],
        conditions=_conditions(rollout_pass, phase),
    )
    return rollout_pass.status


def _settings_before(rollout_pass: RolloutPass, phase: str) -> str:
    """The settings that all nodes had last."""
    aim = rollout_pass.aim.settings
    done = aim is not None and phase == RolloutPhase.COMPLETE
    return aim.text if aim is not None and done else rollout_pass.status.settings_before


def refused(view: RolloutView, phase: str, reason: str, message: str, now: datetime) -> RolloutStatus:
    """The status of a rollout that does not act at all: nothing goes on, and what was halted stays so."""
    halted = view.status.halted
    told = (
        ("Valid", False, reason, message),
        ("Progressing", False, reason, ""),
        ("Complete", False, reason, ""),
        ("Halted", bool(halted), RolloutPhase.HALTED if halted else reason, halted),
        *_kstatus(phase, reason, message),
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


def _counts(rollout_pass: RolloutPass) -> Counts:
    reasons = [verdict.reason for verdict in rollout_pass.verdicts.values()]
    return Counts(
        nodes=rollout_pass.total,
        up_to_date=len(rollout_pass.by_step[NodeStep.REACHED]),
        staged=sum([progress.staged for progress in rollout_pass.progresses]),
        staging=len(rollout_pass.by_step[NodeStep.STAGING]),
        updating=len(rollout_pass.under_way) + len(rollout_pass.ghosts),
        failed=len(rollout_pass.failed) + (rollout_pass.status.lost or LostNodes()).count,
        parked=reasons.count(Reason.Parked),
        held=sum([progress.node.hold is not None for progress in rollout_pass.progresses]),
        unavailable=rollout_pass.away + len(rollout_pass.ghosts),
        no_agent=len(rollout_pass.without_agent),
        drifted=sum([is_drifted(progress) for progress in rollout_pass.progresses]),
    )


def is_drifted(progress: NodeProgress) -> bool:
    """Whether settings of a node are no longer in effect."""
    told = progress.status.settings if progress.status else None
    return told is not None and bool(told.drift)


def _phase(rollout_pass: RolloutPass, counts: Counts) -> str:
    if rollout_pass.halted:
        if not goes_back(rollout_pass.spec, rollout_pass.status):
            return RolloutPhase.HALTED
        back = rollout_pass.aim.back and counts.up_to_date == counts.nodes
        return RolloutPhase.ROLLED_BACK if back else RolloutPhase.ROLLING_BACK
    if counts.up_to_date == counts.nodes and not rollout_pass.ghosts:
        return RolloutPhase.COMPLETE if counts.nodes else RolloutPhase.PENDING
    if counts.updating:
        return RolloutPhase.PROGRESSING
    if rollout_pass.spec.paused:
        return RolloutPhase.PAUSED
    if counts.staging or any(verdict.reason is Reason.StageNext for verdict in rollout_pass.verdicts.values()):
        return RolloutPhase.STAGING
    reasons = {verdict.reason for verdict in rollout_pass.verdicts.values()}
    if Reason.Next in reasons or (rollout_pass.asks and rollout_pass.status.alerts is None):
        return RolloutPhase.PROGRESSING
    return RolloutPhase.SOAKING if reasons & _SOAKING else RolloutPhase.WAITING


_SOAKING: Final = frozenset({Reason.Soaking, Reason.GroupSoaking, Reason.ZoneSoaking})
"""Reasons for which nodes wait until others have run the release for long enough."""


def _wave(rollout_pass: RolloutPass) -> str:
    """Whose turn it is, told from the nodes that are under way."""
    canary = rollout_pass.status.canary
    busy = rollout_pass.under_way
    if not busy:
        return ""
    if canary and not rollout_pass.aim.back and all(progress.node.name in canary.nodes for progress in busy):
        return "Canary"
    zones = {progress.node.zone for progress in busy}
    waves = {"ControlPlane"} if all(progress.node.control_plane for progress in busy) else zones
    groups = {group_name(rollout_pass.spec, progress.group) for progress in busy}
    both = (", ".join(sorted(filter(None, found))) for found in (groups, waves))
    return "/".join(filter(None, both))[:128]


def _blockers(rollout_pass: RolloutPass) -> tuple[Blocker, ...]:
    snapshot = rollout_pass.snapshot
    found = [
        blocker
        for name in sorted(rollout_pass.drains)
        if (drain := snapshot.drains.get(name))
        for blocker in (*drain.blockers, *drain.waits)
    ]
    undrainable = (
        one.node.name for one in rollout_pass.by_step[NodeStep.READY] if one.node.name in snapshot.undrainable
    )
    found += [blocker for name in sorted(undrainable) for blocker in snapshot.undrainable[name]]
    names = {one.node.name for one in rollout_pass.progresses} if snapshot.refused else set()
    found += [
        Blocker(name, reason=f"{REFUSED}{said}"[:256])
        for name, said in sorted(snapshot.refused.items())
        if name in names
    ]
    return tuple(found[:MAX_BLOCKERS])


_PROGRESSING: Final = frozenset({RolloutPhase.STAGING, RolloutPhase.PROGRESSING, RolloutPhase.ROLLING_BACK})


def _conditions(rollout_pass: RolloutPass, phase: str) -> tuple[Condition, ...]:
    told = (
        ("Valid", True, "Accepted", ""),
        ("Progressing", phase in _PROGRESSING, phase, _held_by_settings(rollout_pass)),
        ("Complete", phase == RolloutPhase.COMPLETE, phase, f"{rollout_pass.total} nodes follow it"),
        ("Halted", rollout_pass.halted, phase if rollout_pass.halted else "Running", rollout_pass.status.halted),
        *_kstatus(phase, phase, rollout_pass.status.halted),
    )
    return _told(rollout_pass.view, rollout_pass.status.conditions, told, rollout_pass.now)


def _held_by_settings(rollout_pass: RolloutPass) -> str:
    """Why new settings start no node; empty if that is not so."""
    found = [one.detail for one in rollout_pass.verdicts.values() if one.reason is Reason.DisturbsMore]
    return f"{len(found)} nodes are not set: {found[0]}" if found else ""


_STALLED: Final = frozenset(
    {
        RolloutPhase.HALTED,
        RolloutPhase.ROLLING_BACK,
        RolloutPhase.ROLLED_BACK,
        RolloutPhase.CONFLICT,
        RolloutPhase.INVALID,
    }
)
"""Phases that are not what was wanted, and that only a person changes."""


def _kstatus(phase: str, reason: str, message: str) -> tuple[tuple[str, bool, str, str], ...]:
    """The conditions from which kstatus, and so Flux and Argo CD, tell whether an object is well.

    Ready is what was wanted, Reconciling goes on by itself, Stalled needs a person (cli-utils, "kstatus").
    """
    ready = phase in (RolloutPhase.COMPLETE, RolloutPhase.PENDING)
    stalled = phase in _STALLED
    return (
        ("Ready", ready, reason, message),
        ("Reconciling", not ready and not stalled, reason, ""),
        ("Stalled", stalled, reason, message if stalled else ""),
    )


def _told(
    view: RolloutView, conditions: Iterable[Condition], told: Iterable[tuple[str, bool, str, str]], now: datetime
) -> tuple[Condition, ...]:
    """The conditions with some told anew: type, whether it holds, reason and message of each.

    The time of a last transition stays as long as the status does.
    """
    found = {one.type: one for one in conditions}
    for name, true, reason, message in told:
        old = found.get(name)
        since = old.last_transition_time if old and old.status == str(true) else ""
        found[name] = Condition(name, str(true), reason, message[:1024], since or text(now), view.generation)
    return tuple(found.values())
