"""What holds a node back that could be started, or could fetch the release: gate after gate, each with its reason."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.runtime import duration
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon, Give
from proa.scheduler.planning.configure import configure
from proa.scheduler.planning.holds import GateContext, Keeper, at_rest, before_start
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.precedence import unseen
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import SILENCE, RolloutPass
from proa.scheduler.planning.views import Mark
from proa.scheduler.spec.rolloutstatus import MAX_ALERT, AlertsStatus

STAGE_NEXT: Final = Verdict(Reason.StageNext)
MOST_NAMED: Final = 5
"""Nodes that a sentence names."""
BELIEVED: Final = timedelta(seconds=30)
"""An answer of Prometheus counts for so long."""
_ON_ITS_TURN: Final = "on its turn"
STAGING_FULL: Final = Verdict(Reason.StagingFull)


def stage(rollout_pass: RolloutPass, context: GateContext) -> None:
    """Let nodes fetch the release, as many as may at a time."""
    for progress in rollout_pass.at_rest(NodeStep.STAGING):
        _staging(rollout_pass, progress)
    candidates = _open(rollout_pass, NodeStep.TO_STAGE, Keeper(at_rest, context))
    free = (
        rollout_pass.spec.staging.max_concurrent
        - len(rollout_pass.by_step[NodeStep.STAGING])
        - context.precedence.ordered
    )
    chosen = _first(rollout_pass, candidates, free)
    release, staging = rollout_pass.spec.release, rollout_pass.spec.staging
    verdicts = rollout_pass.verdicts
    for progress in candidates:
        name = progress.node.name
        if name in chosen and progress.os is not None:
            number = progress.os.next_id(rollout_pass.now)
            downgrade = rollout_pass.spec.allow_downgrade
            rate = staging.bytes_per_second
            rollout_pass.actions.append(Give(name, number, Verb.STAGE, release, None, staging.timeout, downgrade, rate))
            verdicts[name] = STAGE_NEXT
        else:
            verdicts[name] = STAGING_FULL


def _staging(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    """A node that fetches the release; nobody waits for one that has gone silent over it."""
    rollout_pass.say(progress, Reason.Staging)
    limit = duration.parse(rollout_pass.spec.staging.timeout) + SILENCE
    if rollout_pass.is_late(progress, limit):
        message = f"the node has not fetched the release within {rollout_pass.spec.staging.timeout}"
        rollout_pass.fail(progress, "StageTimeout", message)


def start(rollout_pass: RolloutPass, context: GateContext) -> None:
    """Start nodes: as many as are free, in their order."""
    if rollout_pass.status.alerts is not None:
        rollout_pass.change(alerts=None)
    candidates = _open(rollout_pass, NodeStep.READY, Keeper(before_start, context))
    if not candidates:
        return
    if (closed := closed_by(rollout_pass)) is not None:
        for progress in candidates:
            rollout_pass.verdicts[progress.node.name] = closed
        return
    _start_some(rollout_pass, candidates, context)


def _open(rollout_pass: RolloutPass, step: NodeStep, keeper: Keeper) -> list[NodeProgress]:
    """The nodes at a step for which all gates are open."""
    verdicts, ask = rollout_pass.verdicts, keeper.verdict
    found = []
    for progress in rollout_pass.at_rest(step):
        if verdict := ask(progress):
            verdicts[progress.node.name] = verdict
        else:
            found.append(progress)
    return found


def _start_some(rollout_pass: RolloutPass, candidates: list[NodeProgress], context: GateContext) -> None:
    """Those that are away already cost nothing, the others a place each."""
    free = rollout_pass.allowance.unavailable - context.precedence.away
    chosen = _first(rollout_pass, candidates, max(free, 0), lambda progress: progress.away and free >= 0)
    if rollout_pass.aim.back and free < 0:
        chosen = _ill(rollout_pass, candidates)
    if chosen and (held := held_by_alerts(rollout_pass)):
        for progress in candidates:
            if progress.node.name in chosen:
                rollout_pass.verdicts[progress.node.name] = held
        candidates = [one for one in candidates if one.node.name not in chosen]
        chosen = set()
    control_plane = set(context.control_plane_away)
    for progress in sorted((one for one in candidates if one.node.name in chosen), key=rollout_pass.turn):
        if progress.node.control_plane and control_plane - {progress.node.name}:
            rollout_pass.say(progress, Reason.ControlPlaneBusy, f"away: {', '.join(sorted(control_plane))}")
            continue
        if progress.node.control_plane:
            control_plane.add(progress.node.name)
        if progress.is_drained:
            rollout_pass.actions.append(Cordon(progress.node.name, _mark(rollout_pass, progress)))
            rollout_pass.say(progress, Reason.Next)
        else:
            configure(rollout_pass, progress)
    full = no_slot(rollout_pass, context)
    for progress in candidates:
        if progress.node.name not in chosen:
            rollout_pass.verdicts[progress.node.name] = full


def held_by_alerts(rollout_pass: RolloutPass) -> Verdict | None:
    """What Prometheus says against a start; the way back asks for nothing."""
    wanted = rollout_pass.spec.health.alerts
    if not wanted or rollout_pass.aim.back:
        return None
    rollout_pass.asks = True
    found = rollout_pass.snapshot.alerts.get(rollout_pass.view.name)
    if found is None or found.queries != wanted:
        return Verdict(Reason.AlertsUnknown, "it has not answered yet")
    if not found.is_quiet:
        said = AlertsStatus(tuple(one[:MAX_ALERT] for one in found.firing), found.error[:MAX_ALERT], text(found.since))
        rollout_pass.change(alerts=said)
    if found.firing:
        return Verdict(Reason.AlertsFiring, "; ".join(found.firing))
    if not found.error and rollout_pass.now - found.asked_at >= BELIEVED:
        return Verdict(Reason.AlertsUnknown, f"it was last asked at {text(found.asked_at)}")
    return Verdict(Reason.AlertsUnknown, found.error) if found.error else None


def _ill(rollout_pass: RolloutPass, candidates: Iterable[NodeProgress]) -> set[str]:
    """Of nodes that are NotReady, and that the way back may cure: up to the limit of nodes away."""
    under_way = rollout_pass.snapshot.pending - rollout_pass.snapshot.resting
    taken = sum(one.node.mark is not None or one.node.name in under_way for one in rollout_pass.progresses)
    taken += len(rollout_pass.ghosts)
    return _first(
        rollout_pass, (one for one in candidates if not one.node.ready), rollout_pass.allowance.unavailable - taken
    )


def no_slot(rollout_pass: RolloutPass, context: GateContext) -> Verdict:
    """What is said of a node when the limit of nodes away is reached."""
    allowance = rollout_pass.allowance
    until = f", and no more in the window that opens at {text(allowance.narrows)}" if allowance.narrows else ""
    said = f"{context.precedence.away} of at most {allowance.unavailable} are unavailable{until}"
    return Verdict(Reason.NoFreeSlot, f"{said}: {_away(rollout_pass)}")


def _away(rollout_pass: RolloutPass) -> str:
    """The nodes that use up the budget, and why: those first that nobody brings back but a person."""
    away = [(_why_away(one), one.node.name) for one in rollout_pass.progresses if one.away]
    away += [(_ON_ITS_TURN, one.node.name) for one in unseen(rollout_pass) if not one.away]
    away += [("gone on its turn", one.node) for one in rollout_pass.ghosts]
    named = [f"{name} ({why})" for why, name in sorted(away, key=lambda one: (one[0] == _ON_ITS_TURN, one[1]))]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return ", ".join(named[:MOST_NAMED]) + more


def _why_away(progress: NodeProgress) -> str:
    node = progress.node
    if node.mark is not None or progress.under_way:
        return _ON_ITS_TURN
    return node.leaving or ("cordoned" if node.ready else "not Ready")


def _mark(rollout_pass: RolloutPass, progress: NodeProgress) -> Mark:
    status = progress.status
    boot_id = progress.booted.boot_id if progress.booted else progress.node.boot_id
    root_hash = status.standby.root_hash if status and status.standby else ""
    cordoned = not progress.node.unschedulable
    since = rollout_pass.now.replace(microsecond=0)
    return Mark(rollout_pass.view.name, rollout_pass.aim.digest, since, cordoned, boot_id, root_hash)


def _first(
    rollout_pass: RolloutPass,
    candidates: Iterable[NodeProgress],
    count: int,
    free_of_charge: Callable[[NodeProgress], bool] = lambda progress: False,
) -> set[str]:
    """The names of those whose turn it is."""
    paying = []
    chosen = set()
    for progress in candidates:
        if free_of_charge(progress):
            chosen.add(progress.node.name)
        else:
            paying.append(progress)
    if count > 0:
        next_ones = heapq.nsmallest(count, paying, key=rollout_pass.turn)
        chosen.update(progress.node.name for progress in next_ones)
    return chosen


def closed_by(rollout_pass: RolloutPass) -> Verdict | None:
    """Whether the budgets let none be started at all."""
    allowance = rollout_pass.allowance
    if allowance.turns:
        rollout_pass.wakes.append(allowance.turns)
    if allowance.closed:
        opens = f"the next window opens at {text(allowance.opens)}" if allowance.opens else ""
        return Verdict(Reason.WindowClosed, opens)
    if allowance.unavailable == 0 and allowance.narrows:
        shut = f"no node may be unavailable from {text(allowance.narrows)} on"
        return Verdict(Reason.WindowTooShort, f"{shut}, and a node takes {rollout_pass.expected}")
    if allowance.unavailable == 0:
        return Verdict(Reason.NoBudget)
    if not allowance.fits(rollout_pass.now, rollout_pass.expected):
        closes = text(allowance.closes) if allowance.closes else ""
        return Verdict(Reason.WindowTooShort, f"it closes at {closes}, and a node takes {rollout_pass.expected}")
    return None
