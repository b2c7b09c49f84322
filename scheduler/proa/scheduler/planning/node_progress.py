"""Where one node stands on its way to a release: the one table of a node's steps, told from what is recorded.

Nothing here depends on the time, so that a standing is worked out again only when the node, its object or the aim has
changed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from proa.core.orders.messages import Action, Booted, NodeStatus, Order, OrderResult, Phase
from proa.core.settings.disruption import Disruption
from proa.scheduler.planning.node_step import UNDER_WAY, NodeStep
from proa.scheduler.planning.ordered import OVER_BADLY, is_disturbed, is_untaken, result_of
from proa.scheduler.planning.settings_aim import SettingsAim
from proa.scheduler.planning.settings_progress import settings_step
from proa.scheduler.planning.views import Mark, NodeOSView, NodeRecord, NodeView, digest_of


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a rollout wants its nodes.

    Attributes:
        rollout: Its name.
        release: The full reference.
        attempt: Which attempt.
        back: Whether nodes that run the release are to leave it.
        settings: What they are to be set to; none if that is left alone.
    """

    rollout: str
    release: str
    attempt: int = 0
    back: bool = False
    settings: SettingsAim | None = None

    @property
    def settings_hash(self) -> str:
        """The hash of the settings; empty if there are none."""
        return self.settings.hash if self.settings else ""

    @property
    def digest(self) -> str:
        """The release's digest."""
        return digest_of(self.release)

    def reached(self, booted: Booted) -> bool:
        """Whether what runs is what is wanted."""
        return booted.committed and (booted.release == self.digest) is not self.back


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """A node's standing.

    Attributes:
        node: Its view.
        os: Its object's.
        step: Its step.
        mark: Our mark, if it is of this rollout.
        record: What went wrong there on the way to this very aim.
        staged: Whether the release lies in its standby slot, or runs.
        away: Whether it is away, for whatever reason: it counts against the budget.
        under_way: Whether it is between cordon and uncordon.
        plain: Whether nothing of its own can hold it back: what holds for one of its zone and group holds for it.
        group: The place of its group in the rollout.
        disturbs: How much a start disturbs it: a reboot as much as anything.
    """

    node: NodeView
    os: NodeOSView | None
    step: NodeStep
    mark: Mark | None = None
    record: NodeRecord | None = None
    staged: bool = False
    away: bool = False
    under_way: bool = False
    plain: bool = False
    group: int = 0
    disturbs: Disruption = Disruption.DRAIN

    @property
    def is_drained(self) -> bool:
        """Whether pods are moved away before it is changed."""
        return self.disturbs is Disruption.DRAIN

    @property
    def status(self) -> NodeStatus | None:
        """What the node says of itself."""
        return self.os.status if self.os else None

    @property
    def order(self) -> Order | None:
        """The last order that it was given."""
        return self.os.order if self.os else None

    @property
    def booted(self) -> Booted | None:
        """What runs, as far as it has said."""
        return self.status.booted if self.status else None

    @property
    def retries(self) -> int:
        """Tries that did not come out well."""
        return self.record.failures + self.record.parks if self.record else 0


def stand(node: NodeView, os: NodeOSView | None, aim: Aim, group: int = 0) -> NodeProgress:
    """Where a node stands."""
    mark = node.mark if node.mark is not None and node.mark.rollout == aim.rollout else None
    record = _record(os, aim)
    step = _step(mark, record, node, os, aim)
    staged = os is not None and os.status is not None and _staged(os.status, aim)
    ordered = os is not None and is_disturbed(os)
    away = not node.ready or node.unschedulable or node.mark is not None or ordered or step in _HOLDS_A_PLACE
    itself = node.ready and node.hold is None and not node.unschedulable and not node.leaving
    plain = itself and record is None and not node.control_plane
    disturbs = _disturbs(os, aim)
    return NodeProgress(node, os, step, mark, record, staged, away, step in UNDER_WAY, plain, group, disturbs)


_HOLDS_A_PLACE: Final = frozenset(
    {NodeStep.RECALL, NodeStep.SETTING, NodeStep.SETTINGS_TRIAL, NodeStep.COMMITTING_SETTINGS}
)
"""Steps of a node that counts as away without a cordon."""


def _disturbs(os: NodeOSView | None, aim: Aim) -> Disruption:
    """How much the next change disturbs a node: one that runs the release only gets settings."""
    status = os.status if os else None
    booted, told = (status.booted, status.settings) if status else (None, None)
    if aim.settings is None or booted is None or told is None or not aim.reached(booted):
        return Disruption.DRAIN
    return aim.settings.disturbs(told.hash)


def _record(os: NodeOSView | None, aim: Aim) -> NodeRecord | None:
    """What went wrong on the way to this aim: what belongs to another release or attempt is over.

    The tries of the way there say nothing about the way back; that the release has failed holds on both.
    """
    record = os.record if os else None
    wanted = (aim.rollout, aim.digest, aim.attempt, aim.settings_hash)
    if record is None or (record.rollout, record.release, record.attempt, record.settings) != wanted:
        return None
    if record.back is not aim.back:
        return dataclasses.replace(record, back=aim.back, failures=0, parks=0, not_before=None)
    return record


def _step(mark: Mark | None, record: NodeRecord | None, node: NodeView, os: NodeOSView | None, aim: Aim) -> NodeStep:
    if os is None:
        return NodeStep.NEW
    if os.owner != node.uid:
        return NodeStep.RECREATED
    status = os.status
    over = mark is not None and os.record is not None and os.record.mark == mark.since
    if status is not None and status.booted is not None and not status.booted.committed:
        return _trial_step(mark, os, status.booted, aim)
    counted = os.record.order if os.record else 0
    order = os.order if os.order and os.order.id > counted else None
    if order is None and is_untaken(os):
        return NodeStep.RECALL
    if status is None or status.booted is None:
        return NodeStep.LEFT if over else NodeStep.SILENT
    if order is not None and order.action in _REBOOTS and (found := _reboot_step(order, os, status, mark)):
        return found
    if os.order is None and mark is not None and not over and _has_returned(mark, status.booted, status):
        return NodeStep.RETURNED
    is_set = aim.settings is None or aim.back or over or not aim.reached(status.booted)
    if not is_set and (found := settings_step(mark, order, status, aim.settings)) is not None:
        return found
    if mark is not None and (over or aim.reached(status.booted)):
        return NodeStep.LEFT if over else NodeStep.FINISHING
    if aim.reached(status.booted):
        return NodeStep.REACHED
    return _resting_step(mark, order, os, status, aim)


def _has_returned(mark: Mark, booted: Booted, status: NodeStatus) -> bool:
    """Whether a node has come back from its trial, of whose order its object knows nothing any more."""
    return status.phase == Phase.ROLLED_BACK and booted.boot_id != mark.boot_id and booted.release != mark.release


_REBOOTS: Final = frozenset({Action.BOOT, Action.COMMIT, Action.ROLLBACK})


def _trial_step(mark: Mark | None, os: NodeOSView, booted: Booted, aim: Aim) -> NodeStep:
    """A trial is ours when we ordered it; whatever release that was, it is brought to its end."""
    order = os.order
    if order is not None and order.action is Action.NONE:  # it was taken back too late
        return NodeStep.TRIAL if mark is not None or booted.release == aim.digest else NodeStep.FOREIGN
    if order is None and mark is not None and booted.boot_id != mark.boot_id:  # its Node was registered anew
        return NodeStep.TRIAL if booted.release == mark.release else NodeStep.FOREIGN
    if order is None or order.action not in _REBOOTS:
        return NodeStep.FOREIGN
    if order.action is Action.COMMIT and order.trial and order.trial.boot_id == booted.boot_id:
        return NodeStep.TRIAL if result_of(order, os.status) in OVER_BADLY else NodeStep.COMMITTING
    if order.action is Action.ROLLBACK:
        return NodeStep.BOOTING
    return NodeStep.TRIAL if mark is not None or digest_of(order.release) == aim.digest else NodeStep.FOREIGN


def _reboot_step(order: Order, os: NodeOSView, status: NodeStatus, mark: Mark | None) -> NodeStep | None:
    """Of a node that runs a committed slot, and was ordered to try, to commit or to go back; none if that is done."""
    booted, result = status.booted, result_of(order, os.status)
    if booted is None:
        return None
    rebooted = mark is None or booted.boot_id != mark.boot_id
    if _arrived(order, booted) and (rebooted or result == OrderResult.DONE.value):
        return None  # also an order of before the mark: a way back begins where the commit has ended
    if status.phase == Phase.ROLLED_BACK and rebooted and order.action is not Action.ROLLBACK:
        return NodeStep.RETURNED
    if result in OVER_BADLY:
        return NodeStep.FAILED_BOOT
    if result == OrderResult.DONE.value and rebooted:
        return NodeStep.RETURNED
    return NodeStep.BOOTING


def _arrived(order: Order, booted: Booted) -> bool:
    """Whether what runs, committed, is what the order was to lead to."""
    if order.action is Action.COMMIT:
        return order.trial is not None and booted.root_hash == order.trial.root_hash
    left = order.action is Action.ROLLBACK
    return (booted.release == digest_of(order.release)) is not left


def _resting_step(mark: Mark | None, order: Order | None, os: NodeOSView, status: NodeStatus, aim: Aim) -> NodeStep:
    """Of a node that runs something else than what is wanted, and was not ordered to reboot."""
    if aim.back:
        if not _can_go_back(status, aim):
            return NodeStep.NOWHERE if mark is None else NodeStep.LEFT
        return NodeStep.READY if mark is None else NodeStep.DRAINING
    if _staged(status, aim):
        if mark is None:
            return NodeStep.READY
        return NodeStep.DRAINING if mark.release == aim.digest else NodeStep.LEFT
    if mark is not None:
        return NodeStep.LEFT
    if order is not None and order.action is Action.STAGE and order.release == aim.release:
        result = result_of(order, os.status)
        if result in OVER_BADLY:
            return NodeStep.FAILED_STAGING
        if result != OrderResult.DONE.value:
            return NodeStep.STAGING
    return NodeStep.TO_STAGE


def _staged(status: NodeStatus, aim: Aim) -> bool:
    standby, booted = status.standby, status.booted
    if booted is not None and booted.release == aim.digest:
        return True
    return standby is not None and standby.complete and standby.release == aim.digest


def _can_go_back(status: NodeStatus, aim: Aim) -> bool:
    standby = status.standby
    return standby is not None and standby.good and standby.release != aim.digest
