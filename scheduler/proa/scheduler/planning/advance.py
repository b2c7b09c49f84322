"""What comes next for a node between its cordon and its uncordon. Nothing here asks whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Proof
from proa.core.runtime import duration
from proa.scheduler.planning.actions import Give, Uncordon, Verdict, recall
from proa.scheduler.planning.blame import AWAY, failure, is_late, parking
from proa.scheduler.planning.evidence import examine
from proa.scheduler.planning.node_progress import Standing, Step
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.spec.rollout import OnTimeout

COMMIT_TIMEOUT: Final = "5m"
UNMARKED: Final = "the release is left, and without our mark no node is rebooted: it returns by itself"


def _draining(campaign: Campaign, standing: Standing) -> None:
    node, mark = standing.node, standing.mark
    if mark is None:
        return None
    if campaign.halted and not campaign.aim.back:
        return _release(campaign, standing, "Halted", Reason.Halted)
    if node.hold is not None:
        return _release(campaign, standing, "Held", Reason.Held)
    if not node.unschedulable:
        campaign.actions.append(parking(campaign, standing, "Uncordoned", "a person has uncordoned the node"))
        return _release(campaign, standing, "Uncordoned", Reason.Parked)
    drain = campaign.snapshot.drains.get(node.name)
    since = max(mark.since, campaign.snapshot.since or mark.since)
    deadline = since + duration.parse(campaign.spec.drain.timeout)
    if drain is not None and drain.done:
        return _boot(campaign, standing)
    if campaign.now >= deadline:
        return _overdue(campaign, standing, deadline)
    campaign.drains[node.name] = deadline
    campaign.wakes.append(deadline)
    blockers = "; ".join(blocker.reason for blocker in drain.blockers) if drain else ""
    campaign.say(standing, Verdict(Reason.Draining, blockers))
    return None


def _overdue(campaign: Campaign, standing: Standing, deadline: datetime) -> None:
    """The drain took too long."""
    if _only_the_reboot_helps(campaign, standing, deadline):
        return _boot(campaign, standing)
    drain = campaign.snapshot.drains.get(standing.node.name)
    what = "; ".join(blocker.reason for blocker in drain.blockers) if drain else "pods are left"
    message = f"not drained within {campaign.spec.drain.timeout}: {what}"
    match campaign.spec.drain.on_timeout:
        case OnTimeout.PARK:
            campaign.actions.append(parking(campaign, standing, "DrainTimeout", message))
            _release(campaign, standing, "DrainTimeout", Reason.Parked)
        case OnTimeout.ABORT:
            campaign.actions.append(failure(campaign, standing, "DrainTimeout", message))
            _release(campaign, standing, "DrainTimeout", Reason.BackingOff)
        case OnTimeout.FORCE:
            campaign.drains[standing.node.name] = deadline
            campaign.forced.add(standing.node.name)
            campaign.say(standing, Verdict(Reason.Draining, f"{message}; what is left is deleted"))
    return None


def _only_the_reboot_helps(campaign: Campaign, standing: Standing, deadline: datetime) -> bool:
    """Whether the node was NotReady all the time, on the way back: a kubelet that is ill never ends what was evicted.

    Its pods count as not ready with every disruption budget already.
    """
    node, began = standing.node, deadline - duration.parse(campaign.spec.drain.timeout)
    return campaign.aim.back and not node.ready and node.ready_since is not None and node.ready_since <= began


def _boot(campaign: Campaign, standing: Standing) -> None:
    verb = Verb.ROLLBACK if campaign.aim.back else Verb.BOOT
    _give(campaign, standing, verb, campaign.spec.health.timeout)
    campaign.say(standing, Verdict(Reason.Booting))


def _booting(campaign: Campaign, standing: Standing) -> None:
    campaign.say(standing, Verdict(Reason.Booting))
    _blame_if_late(campaign, standing, "BootTimeout", "the node has not come back")


def _trial(campaign: Campaign, standing: Standing) -> None:
    status = standing.os.status if standing.os else None
    if standing.os is None or status is None or status.booted is None:
        return None
    if campaign.halted and status.booted.release == campaign.aim.digest and campaign.aim.back:
        if standing.mark is None:
            return campaign.say(standing, Verdict(Reason.Proving, UNMARKED))
        return _give(campaign, standing, Verb.ROLLBACK, campaign.spec.health.timeout)
    evidence = examine(standing, campaign.spec.health, _daemon_set(campaign, standing), campaign.now)
    proof = Proof(status.booted.boot_id, status.booted.root_hash)
    order = standing.os.order
    if evidence.complete and not (order and order.action is Verb.COMMIT and order.trial == proof):
        _give(campaign, standing, Verb.COMMIT, COMMIT_TIMEOUT, proof)
        return campaign.say(standing, Verdict(Reason.Committing))
    if evidence.until:
        campaign.wakes.append(evidence.until)
    _blame_if_late(campaign, standing, "TrialTimeout", f"the trial has not come to an end: {evidence.missing}")
    return campaign.say(standing, Verdict(Reason.Proving, evidence.missing))


def _committing(campaign: Campaign, standing: Standing) -> None:
    campaign.say(standing, Verdict(Reason.Committing))
    _blame_if_late(campaign, standing, "CommitTimeout", "the node was ordered to commit, and has not said that it did")


def _finishing(campaign: Campaign, standing: Standing) -> None:
    status = standing.os.status if standing.os else None
    booted, mark = (status.booted if status else None), standing.mark
    if booted is None or mark is None:
        return None
    if booted.boot_id == mark.boot_id:  # it never left: the aim has come to where it is
        return _release(campaign, standing, "NotNeeded", Reason.UpToDate)
    evidence = examine(standing, campaign.spec.health, _daemon_set(campaign, standing), campaign.now)
    if evidence.complete:
        if campaign.snapshot.since is None or mark.since >= campaign.snapshot.since:
            campaign.finished.append(max(0, round((campaign.now - mark.since).total_seconds())))
        return _release(campaign, standing, "Done", Reason.Finishing)
    _blame_if_late(campaign, standing, "Unwell", f"committed, but not well: {evidence.missing}")
    if evidence.until:
        campaign.wakes.append(evidence.until)
    return campaign.say(standing, Verdict(Reason.Finishing, evidence.missing))


def _left(campaign: Campaign, standing: Standing) -> None:
    record = standing.os.record if standing.os else None
    _release(campaign, standing, (record.reason if record else "") or "Revoked", Reason.BackingOff)


def _recall(campaign: Campaign, standing: Standing) -> None:
    """Before a place is given back: an order that comes late must not reboot a node that has pods again."""
    if standing.os is not None:
        campaign.actions.append(recall(standing.os, campaign.now))
    campaign.say(standing, Verdict(Reason.TakingBack))


def _failed_staging(campaign: Campaign, standing: Standing) -> None:
    code, message = _error(standing, "the node could not fetch the release")
    campaign.actions.append(failure(campaign, standing, code or "StageFailed", message))
    campaign.say(standing, Verdict(Reason.BackingOff, message))


def _failed_boot(campaign: Campaign, standing: Standing) -> None:
    code, message = _error(standing, "the node did not reboot as ordered")
    campaign.actions.append(failure(campaign, standing, code or "BootFailed", message))
    campaign.say(standing, Verdict(Reason.BackingOff, message))


def _returned(campaign: Campaign, standing: Standing) -> None:
    code, message = _error(standing, "the node came back from its trial")
    campaign.actions.append(failure(campaign, standing, "RolledBack", message, fault=code != AWAY))
    campaign.say(standing, Verdict(Reason.BackingOff, message))


BY_STEP: Final[Mapping[Step, Callable[[Campaign, Standing], None]]] = {
    Step.FINISHING: _finishing,
    Step.RECALL: _recall,
    Step.LEFT: _left,
    Step.RETURNED: _returned,
    Step.FAILED_BOOT: _failed_boot,
    Step.FAILED_STAGING: _failed_staging,
    Step.COMMITTING: _committing,
    Step.TRIAL: _trial,
    Step.BOOTING: _booting,
    Step.DRAINING: _draining,
}
"""What is done at each of these steps, those first that give a place back."""


def _give(campaign: Campaign, standing: Standing, verb: Verb, timeout: str, proof: Proof | None = None) -> None:
    if standing.os is not None:
        release = "" if verb is Verb.COMMIT else campaign.spec.release
        number = standing.os.next_id(campaign.now)
        campaign.actions.append(Give(standing.node.name, number, verb, release, proof, timeout))


def _release(campaign: Campaign, standing: Standing, reason: str, verdict: Reason) -> None:
    campaign.actions.append(Uncordon(standing.node.name, reason))
    campaign.say(standing, Verdict(verdict))


def _blame_if_late(campaign: Campaign, standing: Standing, reason: str, what: str) -> None:
    """Count a node that takes longer than it may from its last order on: nothing holds a place for ever in silence."""
    limit = campaign.spec.health.timeout
    if is_late(campaign, standing, duration.parse(limit)):
        message = f"{what} (within {limit})"
        campaign.actions.append(failure(campaign, standing, reason, message, fault=True))


def _daemon_set(campaign: Campaign, standing: Standing) -> str | None:
    wanted = campaign.spec.health.daemon_sets
    if wanted:
        campaign.proofs[standing.node.name] = wanted
    return campaign.snapshot.daemon_sets.get(standing.node.name)


def _error(standing: Standing, otherwise: str) -> tuple[str, str]:
    status = standing.os.status if standing.os else None
    error = status.last_error if status else None
    return (error.code, error.message or otherwise) if error else ("", otherwise)
