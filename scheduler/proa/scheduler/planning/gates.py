"""What holds a node back that could be started, or could fetch the release: gate after gate, each with its reason."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proa.core import duration
from proa.core.wire import Action as Verb
from proa.scheduler.planning.actions import Cordon, Give, Verdict
from proa.scheduler.planning.blame import SILENCE, failure, is_late, waiting
from proa.scheduler.planning.campaign import Campaign
from proa.scheduler.planning.canary import is_soaking
from proa.scheduler.planning.others import Others, look
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.standing import Standing, Step
from proa.scheduler.planning.turns import turn
from proa.scheduler.planning.views import Mark
from proa.scheduler.spec.rollout import ControlPlane, Zones
from proa.scheduler.spec.times import text


@dataclass(frozen=True)
class Cluster:
    """What matters of nodes beyond those of one rollout.

    Attributes:
        control_plane_away: Nodes of the control plane that are away or not Ready.
    """

    control_plane_away: frozenset[str]


def stage(campaign: Campaign, canaries: frozenset[str] | None) -> None:
    """Let nodes fetch the release, as many as may at a time."""
    for standing in campaign.at_rest(Step.STAGING):
        _staging(campaign, standing)
    candidates = []
    for standing in campaign.at_rest(Step.TO_STAGE):
        if verdict := _held_back(campaign, standing, canaries):
            campaign.say(standing, verdict)
        else:
            candidates.append(standing)
    free = campaign.spec.staging.max_concurrent - len(campaign.by_step[Step.STAGING])
    chosen = _first(campaign, candidates, free)
    for standing in candidates:
        if standing.node.name in chosen and standing.os is not None:
            number, release = standing.os.next_id, campaign.spec.release
            timeout = campaign.spec.staging.timeout
            campaign.actions.append(Give(standing.node.name, number, Verb.STAGE, release, None, timeout))
            campaign.say(standing, Verdict(Reason.StageNext))
        else:
            campaign.say(standing, Verdict(Reason.StagingFull))


def _staging(campaign: Campaign, standing: Standing) -> None:
    """A node that fetches the release; nobody waits for one that has gone silent over it."""
    campaign.say(standing, Verdict(Reason.Staging))
    limit = duration.parse(campaign.spec.staging.timeout) + SILENCE
    if is_late(campaign, standing, limit):
        message = f"the node has not fetched the release within {campaign.spec.staging.timeout}"
        campaign.actions.append(failure(campaign, standing, "StageTimeout", message))


def start(campaign: Campaign, canaries: frozenset[str] | None, cluster: Cluster) -> None:
    """Start nodes: as many as are free, in their order."""
    others = look(campaign, canaries)
    candidates = []
    for standing in campaign.at_rest(Step.READY):
        verdict = _held_back(campaign, standing, canaries) or _others_first(campaign, standing, others, cluster)
        if verdict:
            campaign.say(standing, verdict)
        else:
            candidates.append(standing)
    if not candidates:
        return
    if (closed := _closed(campaign)) is not None:
        for standing in candidates:
            campaign.say(standing, closed)
        return
    _start_some(campaign, candidates, others.away, cluster)


def _start_some(campaign: Campaign, candidates: list[Standing], away: int, cluster: Cluster) -> None:
    """Those that are away already cost nothing, the others a place each."""
    free = campaign.allowance.unavailable - away
    chosen = _first(campaign, candidates, max(free, 0), lambda standing: standing.away and free >= 0)
    control_plane = set(cluster.control_plane_away)
    for standing in sorted((one for one in candidates if one.node.name in chosen), key=lambda one: turn(campaign, one)):
        if standing.node.control_plane and control_plane - {standing.node.name}:
            campaign.say(standing, Verdict(Reason.ControlPlaneBusy, f"away: {', '.join(sorted(control_plane))}"))
            continue
        if standing.node.control_plane:
            control_plane.add(standing.node.name)
        campaign.actions.append(Cordon(standing.node.name, _mark(campaign, standing)))
        campaign.say(standing, Verdict(Reason.Next))
    for standing in candidates:
        if standing.node.name not in chosen:
            campaign.say(standing, Verdict(Reason.NoFreeSlot, f"{away} of {campaign.allowance.unavailable} are away"))


def _mark(campaign: Campaign, standing: Standing) -> Mark:
    status = standing.os.status if standing.os else None
    boot_id = status.booted.boot_id if status and status.booted else standing.node.boot_id
    cordoned = not standing.node.unschedulable
    return Mark(campaign.view.name, campaign.aim.digest, campaign.now.replace(microsecond=0), cordoned, boot_id)


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


def _held_back(campaign: Campaign, standing: Standing, canaries: frozenset[str] | None) -> Verdict | None:
    """What holds back staging and starting alike."""
    node = standing.node
    if campaign.halted and not campaign.aim.back:
        return Verdict(Reason.Halted, campaign.status.halted)
    if campaign.spec.paused:
        return Verdict(Reason.Paused)
    if node.hold is not None:
        return Verdict(Reason.Held, node.hold)
    if not node.ready:
        return Verdict(Reason.NotReady)
    if standing.record is not None and standing.record.failures > campaign.spec.retry.limit:
        return Verdict(Reason.GivenUp, standing.record.message)
    if until := waiting(standing, campaign.now):
        campaign.wakes.append(until)
        parked = standing.record is not None and standing.record.parks > 0 and not standing.record.failures
        return Verdict(Reason.Parked if parked else Reason.BackingOff, f"until {text(until)}")
    if canaries is not None and node.name not in canaries:
        return Verdict(Reason.Soaking if is_soaking(campaign) else Reason.AwaitingCanary, ", ".join(sorted(canaries)))
    return None


def _others_first(campaign: Campaign, standing: Standing, others: Others, cluster: Cluster) -> Verdict | None:
    """What only holds back a start: that others go before."""
    order, node = campaign.spec.order, standing.node
    if others.fetching and not campaign.aim.back:
        return Verdict(Reason.StagingOthers, f"{others.fetching} nodes do not have it yet")
    if order.control_plane is ControlPlane.FIRST and not node.control_plane and others.control_plane:
        return Verdict(Reason.ControlPlaneFirst)
    if order.control_plane is ControlPlane.LAST and node.control_plane and others.workers:
        return Verdict(Reason.ControlPlaneLater)
    if node.control_plane and cluster.control_plane_away - {node.name}:
        return Verdict(Reason.ControlPlaneBusy, f"away: {', '.join(sorted(cluster.control_plane_away))}")
    if order.zones is Zones.ONE_AT_A_TIME and others.zone not in (None, node.zone):
        return Verdict(Reason.OtherZone, f"zone {others.zone or '(none)'}")
    if node.name == campaign.snapshot.own_node and others.workers + others.control_plane:
        return Verdict(Reason.OwnNodeLast)
    return None


def _closed(campaign: Campaign) -> Verdict | None:
    """Whether the budgets let none be started at all."""
    allowance = campaign.allowance
    if allowance.opens:
        campaign.wakes.append(allowance.opens)
    if allowance.closed:
        return Verdict(Reason.WindowClosed, f"the next opens at {text(allowance.opens)}" if allowance.opens else "")
    if allowance.unavailable == 0:
        return Verdict(Reason.NoBudget)
    if not allowance.fits(campaign.now, campaign.expected):
        closes = text(allowance.closes) if allowance.closes else ""
        return Verdict(Reason.WindowTooShort, f"it closes at {closes}, a node takes {campaign.expected}")
    return None
