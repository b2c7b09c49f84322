"""What comes next for a node between its cordon and its uncordon. Nothing here asks whose turn it is.

A node whose object says nothing of it is new, or was recreated, or its agent has never reported. One that has our mark
may come to that when its object is deleted in the middle: it has as long as a node may take from its mark to its trial;
then it is given back, so that it holds no place for ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Proof
from proa.core.runtime import duration
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning import configure
from proa.scheduler.planning.actions import Create, Forget, Give, Uncordon, recall
from proa.scheduler.planning.evidence import blame_if_late, first, missing
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.ordered import SETTINGS
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import AWAY, RolloutPass
from proa.scheduler.planning.views import Mark
from proa.scheduler.spec.rollout import OnTimeout

UNMARKED: Final = "the node no longer runs the release, and does not reboot without Proa's mark: it returns by itself"


def _draining(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    node, mark = progress.node, progress.mark
    if mark is None:
        return None
    if rollout_pass.halted and not rollout_pass.aim.back:
        return _release(rollout_pass, progress, "Halted", Reason.Halted)
    if node.hold is not None:
        return _release(rollout_pass, progress, "Held", Reason.Held)
    if not node.unschedulable:
        rollout_pass.park(progress, "Uncordoned", "a person has uncordoned the node")
        return _release(rollout_pass, progress, "Uncordoned", Reason.Parked)
    drain = rollout_pass.snapshot.drains.get(node.name)
    deadline = _begins(rollout_pass, node.name, mark) + duration.parse(rollout_pass.spec.drain.timeout)
    if drain is not None and drain.done:
        return _boot(rollout_pass, progress)
    if rollout_pass.now >= deadline:
        return _overdue(rollout_pass, progress, deadline)
    rollout_pass.drains[node.name] = deadline
    rollout_pass.wakes.append(deadline)
    if drain is not None and drain.waits and (until := rollout_pass.waits.get(node.name)):
        pods = ", ".join(one.pod for one in drain.waits)
        left = duration.text(max(until - rollout_pass.now, timedelta(0)))
        return rollout_pass.say(progress, Reason.AwaitingPods, f"until {text(until)}, {left} left: {pods}")
    blockers = "; ".join(blocker.reason for blocker in drain.blockers) if drain else ""
    rollout_pass.say(progress, Reason.Draining, blockers)
    return None


def _begins(rollout_pass: RolloutPass, node: str, mark: Mark) -> datetime:
    """From when on a drain takes its time: from the cordon, or from when there was nothing more to wait for.

    For what it waits, no drain waits longer than it may.
    """
    since = max(mark.since, rollout_pass.snapshot.since or mark.since)
    if (wait := rollout_pass.spec.drain.wait_for) is None:
        return since
    until: datetime = since + duration.parse(wait.timeout)
    rollout_pass.waits[node] = until
    rollout_pass.wakes.append(until)
    drain = rollout_pass.snapshot.drains.get(node)
    return min(until, drain.began) if drain is not None and drain.began is not None else until


def _overdue(rollout_pass: RolloutPass, progress: NodeProgress, deadline: datetime) -> None:
    """The drain took too long."""
    if _only_the_reboot_helps(rollout_pass, progress, deadline):
        return _boot(rollout_pass, progress)
    drain = rollout_pass.snapshot.drains.get(progress.node.name)
    what = "; ".join(blocker.reason for blocker in drain.blockers) if drain else "pods are left"
    message = f"not drained within {rollout_pass.spec.drain.timeout}: {what}"
    match rollout_pass.spec.drain.on_timeout:
        case OnTimeout.PARK:
            rollout_pass.park(progress, "DrainTimeout", message)
            _release(rollout_pass, progress, "DrainTimeout", Reason.Parked)
        case OnTimeout.ABORT:
            rollout_pass.fail(progress, "DrainTimeout", message)
            _release(rollout_pass, progress, "DrainTimeout", Reason.BackingOff)
        case OnTimeout.FORCE:
            rollout_pass.drains[progress.node.name] = deadline
            rollout_pass.forced.add(progress.node.name)
            rollout_pass.say(progress, Reason.Draining, f"{message}; the remaining pods are deleted")
    return None


def _only_the_reboot_helps(rollout_pass: RolloutPass, progress: NodeProgress, deadline: datetime) -> bool:
    """Whether the node was NotReady all the time, on the way back: a kubelet that is ill never ends what was evicted.

    Its pods count as not ready with every disruption budget already.
    """
    node, began = progress.node, deadline - duration.parse(rollout_pass.spec.drain.timeout)
    return rollout_pass.aim.back and not node.ready and node.ready_since is not None and node.ready_since <= began


def _boot(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if progress.booted is not None and rollout_pass.aim.reached(progress.booted):
        return configure.configure(rollout_pass, progress)
    verb = Verb.ROLLBACK if rollout_pass.aim.back else Verb.BOOT
    _give(rollout_pass, progress, verb, rollout_pass.spec.health.timeout)
    return rollout_pass.say(progress, Reason.Booting)


def _booting(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.say(progress, Reason.Booting)
    blame_if_late(rollout_pass, progress, "BootTimeout", "the node has not come back")


def _trial(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    booted = progress.booted
    if progress.os is None or booted is None:
        return None
    if rollout_pass.halted and booted.release == rollout_pass.aim.digest and rollout_pass.aim.back:
        if progress.mark is None:
            return rollout_pass.say(progress, Reason.Proving, UNMARKED)
        return _give(rollout_pass, progress, Verb.ROLLBACK, rollout_pass.spec.health.timeout)
    lacks = _lacks(rollout_pass, progress)
    proof = Proof(booted.boot_id, booted.root_hash)
    order = progress.os.order
    if not lacks and not (order and order.action is Verb.COMMIT and order.trial == proof):
        _give(rollout_pass, progress, Verb.COMMIT, configure.COMMIT_TIMEOUT, proof)
        return rollout_pass.say(progress, Reason.Committing)
    blame_if_late(rollout_pass, progress, "TrialTimeout", f"the trial has not finished: {lacks}")
    return rollout_pass.say(progress, Reason.Proving, lacks)


def _committing(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.say(progress, Reason.Committing)
    blame_if_late(
        rollout_pass, progress, "CommitTimeout", "the node was ordered to commit, and has not reported that it did"
    )


def _finishing(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    booted, mark = progress.booted, progress.mark
    if booted is None or mark is None:
        return None
    if booted.boot_id == mark.boot_id:  # it never left: the aim has come to where it is, or only settings were new
        order = progress.order
        reason = "Done" if order is not None and order.action in SETTINGS else "NotNeeded"
        return _release(rollout_pass, progress, reason, Reason.UpToDate)
    lacks = _lacks(rollout_pass, progress)
    if not lacks:
        if rollout_pass.snapshot.since is None or mark.since >= rollout_pass.snapshot.since:
            rollout_pass.finished.append(max(0, round((rollout_pass.now - mark.since).total_seconds())))
        return _release(rollout_pass, progress, "Done", Reason.Finishing)
    blame_if_late(rollout_pass, progress, "Unwell", f"committed, but not healthy: {lacks}")
    return rollout_pass.say(progress, Reason.Finishing, lacks)


def _left(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    record = progress.os.record if progress.os else None
    _release(rollout_pass, progress, (record.reason if record else "") or "Revoked", Reason.BackingOff)


def _recall(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    """Before a place is given back: an order that comes late must not reboot a node that has pods again."""
    if progress.os is not None:
        rollout_pass.actions.append(recall(progress.os, rollout_pass.now))
    rollout_pass.say(progress, Reason.TakingBack)


def _failed(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    """A trial that came back counts against the release at once, unless it only had no order to commit in time."""
    reason, message = _FAILURES[progress.step]
    returned = progress.step is NodeStep.RETURNED
    error = progress.status.last_error if progress.status else None
    code = error.code if error else ""
    message = (error.message if error else "") or message
    rollout_pass.fail(progress, reason if returned else code or reason, message, fault=returned and code != AWAY)
    rollout_pass.say(progress, Reason.BackingOff, message)


_FAILURES: Final = {
    NodeStep.FAILED_STAGING: ("StageFailed", "the node could not fetch the release"),
    NodeStep.FAILED_BOOT: ("BootFailed", "the node did not reboot as ordered"),
    NodeStep.RETURNED: ("RolledBack", "the trial returned"),
}


def _new(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.actions.append(Create(progress.node.name))
    _without_object(rollout_pass, progress, Reason.New)


def _recreated(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if progress.os is not None:
        rollout_pass.actions.append(Forget(progress.node.name, progress.os.uid))
    _without_object(rollout_pass, dataclasses.replace(progress, os=None), Reason.Recreated)


def _without_object(rollout_pass: RolloutPass, progress: NodeProgress, reason: Reason) -> None:
    """There is nothing of its own to write a failure down in."""
    if _is_overdue(rollout_pass, progress):
        rollout_pass.actions.append(Uncordon(progress.node.name, Reason.AgentSilent.name))
    rollout_pass.say(progress, reason)


def _silent(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if _is_overdue(rollout_pass, progress):
        message = "the node has Proa's mark, and its agent has been silent since its NodeOS was created"
        rollout_pass.fail(progress, Reason.AgentSilent.name, message)
    no_agent = progress.node.name in rollout_pass.without_agent
    rollout_pass.say(progress, Reason.NoAgent if no_agent else Reason.AgentSilent)


def _is_overdue(rollout_pass: RolloutPass, progress: NodeProgress) -> bool:
    """Whether a marked node has had its time: from its last order on, or to be drained first where it got none."""
    if progress.mark is None:
        return False
    limit = duration.parse(rollout_pass.spec.health.timeout)
    if not _is_ordered(progress, progress.mark):
        drain = rollout_pass.spec.drain
        limit += duration.parse(drain.timeout)
        limit += duration.parse(drain.wait_for.timeout) if drain.wait_for else timedelta(0)
        progress = dataclasses.replace(progress, os=None)
    return rollout_pass.is_late(progress, limit)


def _is_ordered(progress: NodeProgress, mark: Mark) -> bool:
    """Whether it was given an order under its mark."""
    order = progress.order
    issued = read(order.issued) if order else None
    return issued is not None and issued >= mark.since


BY_STEP: Final[dict[NodeStep, Callable[[RolloutPass, NodeProgress], None]]] = {
    **configure.BY_STEP,
    NodeStep.FINISHING: _finishing,
    NodeStep.RECALL: _recall,
    NodeStep.LEFT: _left,
    NodeStep.RETURNED: _failed,
    NodeStep.FAILED_BOOT: _failed,
    NodeStep.FAILED_STAGING: _failed,
    NodeStep.COMMITTING: _committing,
    NodeStep.TRIAL: _trial,
    NodeStep.BOOTING: _booting,
    NodeStep.DRAINING: _draining,
    NodeStep.NEW: _new,
    NodeStep.RECREATED: _recreated,
    NodeStep.SILENT: _silent,
}
"""What is done at each of these steps, those first that give a place back."""


def _give(
    rollout_pass: RolloutPass, progress: NodeProgress, verb: Verb, timeout: str, proof: Proof | None = None
) -> None:
    if progress.os is not None:
        release = "" if verb is Verb.COMMIT else rollout_pass.spec.release
        number = progress.os.next_id(rollout_pass.now)
        downgrade = verb is Verb.BOOT and rollout_pass.spec.allow_downgrade
        give = Give(progress.node.name, number, verb, release, proof, timeout, downgrade)
        if verb is Verb.BOOT and rollout_pass.aim.settings is not None and _can_be_set(progress):
            give = dataclasses.replace(give, settings=rollout_pass.aim.settings.text)
        rollout_pass.actions.append(give)


def _can_be_set(progress: NodeProgress) -> bool:
    """Whether the agent takes settings along with a release: one that does not report any refuses the field."""
    return progress.status is not None and progress.status.settings is not None


def _release(rollout_pass: RolloutPass, progress: NodeProgress, reason: str, verdict: Reason) -> None:
    rollout_pass.actions.append(Uncordon(progress.node.name, reason))
    rollout_pass.say(progress, verdict)


def _lacks(rollout_pass: RolloutPass, progress: NodeProgress) -> str:
    daemon_set = rollout_pass.snapshot.daemon_sets.get(progress.node.name)
    return first(rollout_pass, missing(progress, rollout_pass.spec.health, daemon_set, rollout_pass.now))
