"""What comes next for a node whose settings are being changed: applied, proved, committed, or taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.runtime import duration
from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Give
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import RolloutPass

COMMIT_TIMEOUT: Final = "5m"


def configure(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    """Order a node to try the settings: they return by themselves unless a second order commits them."""
    aim = rollout_pass.aim.settings
    if progress.os is not None and aim is not None:
        timeout = rollout_pass.spec.health.timeout
        number = progress.os.next_id(rollout_pass.now)
        rollout_pass.actions.append(
            Give(progress.node.name, number, Verb.CONFIGURE, timeout=timeout, settings=aim.text)
        )
        rollout_pass.say(progress, Reason.Configuring)


def _setting(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.say(progress, Reason.Configuring)
    _blame_if_late(rollout_pass, progress, "the node has not reported that it has the settings")


def _trial(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if rollout_pass.halted:
        return _give(rollout_pass, progress, Verb.REVERT_SETTINGS, Reason.Halted)
    if lacks := _lacks(rollout_pass, progress):
        rollout_pass.say(progress, Reason.ProvingSettings, lacks)
        return _blame_if_late(rollout_pass, progress, lacks)
    return _give(rollout_pass, progress, Verb.COMMIT_SETTINGS, Reason.Committing)


def _committing(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.say(progress, Reason.Committing)
    _blame_if_late(rollout_pass, progress, "the node was ordered to commit, and has not reported that it did")


def _failed(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    """Settings that a node refuses or takes back count at once: the next attempt would end alike."""
    status = progress.status
    error = status.last_error if status else None
    settings = status.settings if status else None
    message = (settings.message if settings else "") or (error.message if error else "")
    message = message or "the settings were reverted"
    rollout_pass.fail(progress, (error.code if error else "") or "SettingsFailed", message, fault=True)
    rollout_pass.say(progress, Reason.BackingOff, message)


BY_STEP: Final[Mapping[NodeStep, Callable[[RolloutPass, NodeProgress], None]]] = {
    NodeStep.FAILED_SETTINGS: _failed,
    NodeStep.COMMITTING_SETTINGS: _committing,
    NodeStep.SETTINGS_TRIAL: _trial,
    NodeStep.SETTING: _setting,
}
"""What is done at each of these steps."""


def _lacks(rollout_pass: RolloutPass, progress: NodeProgress) -> str:
    """What a node on trial has not proved yet; empty if nothing is missing."""
    node, status, health = progress.node, progress.status, rollout_pass.spec.health
    if not node.ready:
        return "the node is not Ready"
    if status is not None and status.settings is not None and status.settings.drift:
        return f"no longer in effect: {'; '.join(status.settings.drift)}"
    issued = read(progress.order.issued) if progress.order else None
    since = max(filter(None, (node.ready_since, issued)), default=rollout_pass.now)
    until = since + timedelta(seconds=health.ready_seconds)
    if rollout_pass.now < until:
        rollout_pass.wakes.append(until)
        return f"the node has been Ready for {max(0, int((rollout_pass.now - since).total_seconds()))} s"
    daemon_set = rollout_pass.snapshot.daemon_sets.get(node.name)
    if health.daemon_sets and daemon_set is None:
        return "the pods of DaemonSets have yet to be checked"
    return f"the pod of DaemonSet {daemon_set} is not ready" if health.daemon_sets and daemon_set else ""


def _give(rollout_pass: RolloutPass, progress: NodeProgress, verb: Verb, reason: Reason) -> None:
    aim = rollout_pass.aim.settings
    if progress.os is not None and aim is not None:
        number = progress.os.next_id(rollout_pass.now)
        give = Give(progress.node.name, number, verb, timeout=COMMIT_TIMEOUT, settings_hash=aim.hash)
        rollout_pass.actions.append(give)
        rollout_pass.say(progress, reason)


def _blame_if_late(rollout_pass: RolloutPass, progress: NodeProgress, what: str) -> None:
    """Count a node that takes longer than it may; what it tries returns by itself."""
    limit = rollout_pass.spec.health.timeout
    if rollout_pass.is_late(progress, duration.parse(limit)):
        rollout_pass.fail(progress, "SettingsTimeout", f"{what} (within {limit})", fault=True)
