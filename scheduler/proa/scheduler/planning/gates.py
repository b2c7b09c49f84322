"""What holds a node back that could be started, or could fetch the release: gate after gate, each with its reason."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.runtime import duration
from proa.scheduler.planning.actions import Cordon, Give, Verdict
from proa.scheduler.planning.blame import SILENCE, failure, is_late
from proa.scheduler.planning.holds import REST, START, Keeper, Sight
from proa.scheduler.planning.node_progress import Standing, Step
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.planning.turns import turn
from proa.scheduler.planning.views import Mark
from proa.scheduler.spec.times import text

STAGE_NEXT: Final = Verdict(Reason.StageNext)
STAGING_FULL: Final = Verdict(Reason.StagingFull)


def stage(campaign: Campaign, sight: Sight) -> None:
    """Let nodes fetch the release, as many as may at a time."""
    for standing in campaign.at_rest(Step.STAGING):
        _staging(campaign, standing)
    candidates = _open(campaign, Step.TO_STAGE, Keeper(REST, sight))
    free = campaign.spec.staging.max_concurrent - len(campaign.by_step[Step.STAGING]) - sight.others.ordered
    chosen = _first(campaign, candidates, free)
    release, timeout = campaign.spec.release, campaign.spec.staging.timeout
    verdicts = campaign.verdicts
    for standing in candidates:
        name = standing.node.name
        if name in chosen and standing.os is not None:
            number = standing.os.next_id(campaign.now)
            campaign.actions.append(Give(name, number, Verb.STAGE, release, None, timeout))
            verdicts[name] = STAGE_NEXT
        else:
            verdicts[name] = STAGING_FULL


def _staging(campaign: Campaign, standing: Standing) -> None:
    """A node that fetches the release; nobody waits for one that has gone silent over it."""
    campaign.say(standing, Verdict(Reason.Staging))
    limit = duration.parse(campaign.spec.staging.timeout) + SILENCE
    if is_late(campaign, standing, limit):
        message = f"the node has not fetched the release within {campaign.spec.staging.timeout}"
        campaign.actions.append(failure(campaign, standing, "StageTimeout", message))


def start(campaign: Campaign, sight: Sight) -> None:
    """Start nodes: as many as are free, in their order."""
    candidates = _open(campaign, Step.READY, Keeper(START, sight))
    if not candidates:
        return
    if (closed := closed_by(campaign)) is not None:
        for standing in candidates:
            campaign.say(standing, closed)
        return
    _start_some(campaign, candidates, sight)


def _open(campaign: Campaign, step: Step, keeper: Keeper) -> list[Standing]:
    """The nodes at a step for which all gates are open."""
    verdicts, ask = campaign.verdicts, keeper.verdict
    found = []
    for standing in campaign.at_rest(step):
        if verdict := ask(standing):
            verdicts[standing.node.name] = verdict
        else:
            found.append(standing)
    return found


def _start_some(campaign: Campaign, candidates: list[Standing], sight: Sight) -> None:
    """Those that are away already cost nothing, the others a place each."""
    free = campaign.allowance.unavailable - sight.others.away
    chosen = _first(campaign, candidates, max(free, 0), lambda standing: standing.away and free >= 0)
    if campaign.aim.back and free < 0:
        chosen = _ill(campaign, candidates)
    control_plane = set(sight.cluster.control_plane_away)
    for standing in sorted((one for one in candidates if one.node.name in chosen), key=lambda one: turn(campaign, one)):
        if standing.node.control_plane and control_plane - {standing.node.name}:
            campaign.say(standing, Verdict(Reason.ControlPlaneBusy, f"away: {', '.join(sorted(control_plane))}"))
            continue
        if standing.node.control_plane:
            control_plane.add(standing.node.name)
        campaign.actions.append(Cordon(standing.node.name, _mark(campaign, standing)))
        campaign.say(standing, Verdict(Reason.Next))
    full = no_slot(campaign, sight)
    for standing in candidates:
        if standing.node.name not in chosen:
            campaign.say(standing, full)


def _ill(campaign: Campaign, candidates: Iterable[Standing]) -> set[str]:
    """Of nodes that are NotReady, and that the way back may cure: as many at a time as may be away."""
    under_way = campaign.snapshot.pending - campaign.snapshot.resting
    taken = sum(one.node.mark is not None or one.node.name in under_way for one in campaign.standings)
    return _first(campaign, (one for one in candidates if not one.node.ready), campaign.allowance.unavailable - taken)


def no_slot(campaign: Campaign, sight: Sight) -> Verdict:
    """What is said of a node when as many are away as may be."""
    allowance = campaign.allowance
    until = f": no more in the window that opens at {text(allowance.narrows)}" if allowance.narrows else ""
    return Verdict(Reason.NoFreeSlot, f"{sight.others.away} of {allowance.unavailable} are away{until}")


def _mark(campaign: Campaign, standing: Standing) -> Mark:
    status = standing.os.status if standing.os else None
    boot_id = status.booted.boot_id if status and status.booted else standing.node.boot_id
    root_hash = status.standby.root_hash if status and status.standby else ""
    cordoned = not standing.node.unschedulable
    since = campaign.now.replace(microsecond=0)
    return Mark(campaign.view.name, campaign.aim.digest, since, cordoned, boot_id, root_hash)


def _first(
    campaign: Campaign,
    candidates: Iterable[Standing],
    count: int,
    free_of_charge: Callable[[Standing], bool] = lambda standing: False,
) -> set[str]:
    """The names of those whose turn it is."""
    paying = []
    chosen = set()
    for standing in candidates:
        if free_of_charge(standing):
            chosen.add(standing.node.name)
        else:
            paying.append(standing)
    if count > 0:
        next_ones = heapq.nsmallest(count, paying, key=lambda standing: turn(campaign, standing))
        chosen.update(standing.node.name for standing in next_ones)
    return chosen


def closed_by(campaign: Campaign) -> Verdict | None:
    """Whether the budgets let none be started at all."""
    allowance = campaign.allowance
    if allowance.turns:
        campaign.wakes.append(allowance.turns)
    if allowance.closed:
        return Verdict(Reason.WindowClosed, f"the next opens at {text(allowance.opens)}" if allowance.opens else "")
    if allowance.unavailable == 0 and allowance.narrows:
        opens = text(allowance.narrows)
        return Verdict(Reason.WindowTooShort, f"none may be away from {opens} on, a node takes {campaign.expected}")
    if allowance.unavailable == 0:
        return Verdict(Reason.NoBudget)
    if not allowance.fits(campaign.now, campaign.expected):
        closes = text(allowance.closes) if allowance.closes else ""
        return Verdict(Reason.WindowTooShort, f"it closes at {closes}, a node takes {campaign.expected}")
    return None
