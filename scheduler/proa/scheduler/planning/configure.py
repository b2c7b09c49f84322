"""What comes next for a node whose settings are being changed: applied, proved, committed, or taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Give
from proa.scheduler.planning.evidence import Missing, blame_if_late, first, unready
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import RolloutPass

COMMIT_TIMEOUT: Final = "5m"
"""How long a node has to commit, a release or settings."""
_LATE: Final = "SettingsTimeout"


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
    blame_if_late(rollout_pass, progress, _LATE, "the node has not reported that it has the settings")


def _trial(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    if rollout_pass.halted:
        return _give(rollout_pass, progress, Verb.REVERT_SETTINGS, Reason.Halted)
    if lacks := first(rollout_pass, _missing(rollout_pass, progress)):
        rollout_pass.say(progress, Reason.ProvingSettings, lacks)
        return blame_if_late(rollout_pass, progress, _LATE, lacks)
    return _give(rollout_pass, progress, Verb.COMMIT_SETTINGS, Reason.Committing)


def _committing(rollout_pass: RolloutPass, progress: NodeProgress) -> None:
    rollout_pass.say(progress, Reason.Committing)
    blame_if_late(rollout_pass, progress, _LATE, "the node was ordered to commit, and has not reported that it did")


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


def _missing(rollout_pass: RolloutPass, progress: NodeProgress) -> Iterator[Missing]:
    """What a node on trial has not proved yet."""
    node, now, order = progress.node, rollout_pass.now, progress.order
    told = progress.status.settings if progress.status else None
    if node.ready and told is not None and told.drift:
        yield f"no longer in effect: {'; '.join(told.drift)}", None
    since = max(filter(None, (node.ready_since, read(order.issued) if order else None)), default=now)
    yield from unready(node, rollout_pass.spec.health, rollout_pass.snapshot.daemon_sets.get(node.name), since, now)


def _give(rollout_pass: RolloutPass, progress: NodeProgress, verb: Verb, reason: Reason) -> None:
    aim = rollout_pass.aim.settings
    if progress.os is not None and aim is not None:
        number = progress.os.next_id(rollout_pass.now)
        give = Give(progress.node.name, number, verb, timeout=COMMIT_TIMEOUT, settings_hash=aim.hash)
        rollout_pass.actions.append(give)
        rollout_pass.say(progress, reason)
