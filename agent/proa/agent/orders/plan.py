"""What comes next for the order that a node has: decided from one look, so that any interruption may come anywhere.

Nothing here remembers a step. What was done shows in the boot state, in the slots and in the record, and an order that
has come to its end by whatever way is done. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proa.agent.node.order_book import AcceptedOrder
from proa.agent.node.record import Returned
from proa.agent.node.states import NodeState
from proa.agent.node.view import View, known_slot
from proa.core.orders.messages import Action, OrderResult
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings.document import parse as parse_settings
from proa.partition.boot.bootstate import Slot


class OrderStep(enum.Enum):
    """What may be done for an order."""

    WAIT = "wait"
    STAGE = "install the release, without arming it"
    STOP = "stop the install under way, because it is no longer wanted"
    TIME_OUT = "stop the install under way, because its time is up"
    ARM = "arm the staged release for one attempt"
    DISARM = "disarm the standby slot"
    REBOOT = "reboot"
    COMMIT = "make the running trial good"
    ROLL_BACK = "make the other slot good"
    CONFIGURE = "apply settings and try them"
    COMMIT_SETTINGS = "keep the settings that are being tried"
    REVERT_SETTINGS = "return to the settings before"


@dataclass(frozen=True)
class End:
    """The order has come to its end. ``REFUSED`` becomes ``FAILED`` where something was changed for it."""

    result: OrderResult
    code: Code | None = None
    message: str = ""


Step = OrderStep | End
DONE: Final = End(OrderResult.DONE)


@dataclass(frozen=True)
class Staging:
    """An install that was begun for an order, by this process.

    Attributes:
        digest: The release's manifest digest.
        begun: Whether it gave the standby up.
        over: Whether it has ended.
        error: Why it did not end well.
    """

    digest: str
    begun: bool = False
    over: bool = False
    error: ProaError | None = None


@dataclass(frozen=True)
class SettingsHashes:
    """The node's settings, by the hashes of their documents.

    Attributes:
        committed: What is committed.
        trial: What is being tried; empty if nothing is.
        failed: What was taken back last; empty if nothing was.
        message: Why it was.
    """

    committed: str = ""
    trial: str = ""
    failed: str = ""
    message: str = ""


@dataclass(frozen=True)
class Situation:
    """What the next step is decided from.

    Attributes:
        state: What the node is.
        problem: Why boot loader and boot state cannot be believed.
        settled: Whether what the boot before left to be told has been told.
        boot_id: The kernel's identifier of this boot.
        root_hash: Of what runs.
        booted: The running slot.
        good: The committed slot.
        running: The manifest digest of what runs; empty if it is not known, as for the two below.
        staged: Of what the slot that is not good holds, complete.
        kept: Of what the good slot holds.
        armed: Whether the next boot is a trial, and this is the good slot's.
        returned: Why the last trial came back; none from an arming on.
        healthy: Whether the checks of a trial have passed.
        staging: The install under way, or the one that ended last.
        late: Whether the order's time is up.
        settings: The node's settings.
    """

    state: NodeState
    problem: ProaError | None = None
    settled: bool = True
    boot_id: str = ""
    root_hash: str = ""
    booted: Slot | None = None
    good: Slot = Slot.A
    running: str = ""
    staged: str = ""
    kept: str = ""
    armed: bool = False
    returned: Returned | None = None
    healthy: bool = False
    staging: Staging | None = None
    late: bool = False
    settings: SettingsHashes = SettingsHashes()

    @property
    def on_other(self) -> bool:
        """Whether the slot that is not good runs: on trial, or about to be left."""
        return self.booted is self.good.other


def situation(view: View) -> Situation:
    """What a look tells; what only the daemon knows is still to be filled in."""
    good = known_slot(view, view.state.good)
    other = known_slot(view, view.state.good.other)
    running = known_slot(view, view.booted) if view.booted else None
    return Situation(
        state=view.node_state(),
        problem=view.problem,
        boot_id=view.boot_id,
        root_hash=view.booted_release.root_hash if view.booted_release else "",
        booted=view.booted,
        good=view.state.good,
        running=running.manifest if running else "",
        staged=other.manifest if other and other.complete else "",
        kept=good.manifest if good and good.complete else "",
        armed=view.problem is None and view.state.pending and view.is_good,
        returned=view.record.returned,
    )


def next_step(accepted: AcceptedOrder, now: Situation) -> Step:
    """What comes next for an order that has not come to its end."""
    if now.staging and not now.staging.over and not _wants(accepted, now.staging):
        return OrderStep.STOP
    step = _RULES[accepted.order.action](accepted, now)
    return step if isinstance(step, End) or not now.late else _too_late(accepted, now)


def commit_is_ordered(view: View) -> bool:
    """Whether the running trial is only waiting for its checks: its commit was ordered."""
    accepted, now = view.record.order, situation(view)
    return (
        accepted is not None
        and accepted.running
        and accepted.order.action is Action.COMMIT
        and _is_meant(accepted, now)
    )


def _wants(accepted: AcceptedOrder, staging: Staging) -> bool:
    return accepted.order.action is Action.STAGE and staging.digest == accepted.digest


def _too_late(accepted: AcceptedOrder, now: Situation) -> Step:
    """An order whose time is up leaves nothing behind that would go on by itself."""
    if now.staging and not now.staging.over:
        return OrderStep.TIME_OUT
    if accepted.order.action is Action.BOOT and accepted.begun and now.armed:
        return OrderStep.DISARM
    return End(OrderResult.FAILED, Code.TIMEOUT, f"it did not finish within {accepted.order.timeout}")


def _came_back(returned: Returned) -> End:
    return End(OrderResult.FAILED, Code.__members__.get(returned.code, Code.TRIAL_RETURNED), returned.reason)


def _none(_: AcceptedOrder, now: Situation) -> Step:
    return OrderStep.DISARM if now.armed else DONE


def _stage(accepted: AcceptedOrder, now: Situation) -> Step:
    staging = now.staging if now.staging and _wants(accepted, now.staging) else None
    if staging and not staging.over:
        return OrderStep.WAIT
    if staging and staging.error is None:
        return DONE
    if staging and staging.error and staging.error.code not in (Code.BUSY, Code.INTERRUPTED):
        if staging.error.code is Code.TIMEOUT:
            return End(OrderResult.FAILED, Code.TIMEOUT, f"it did not finish within {accepted.order.timeout}")
        result = OrderResult.FAILED if staging.begun else OrderResult.REFUSED
        return End(result, staging.error.code, staging.error.message)
    return DONE if accepted.digest in (now.staged, now.kept) else OrderStep.STAGE


def _boot(accepted: AcceptedOrder, now: Situation) -> Step:
    given_up = now.state in (NodeState.LEAVING, NodeState.INCONSISTENT)
    if now.running == accepted.digest and not given_up:
        return DONE
    if not accepted.begun:
        return OrderStep.ARM
    if now.armed and now.staged == accepted.digest:
        return OrderStep.REBOOT
    if not now.settled or now.on_other:  # the trial is about to be given up: the next boot tells why
        return OrderStep.WAIT
    return _came_back(now.returned) if now.returned else OrderStep.ARM


def _commit(accepted: AcceptedOrder, now: Situation) -> Step:
    proof = accepted.order.trial
    if now.state is NodeState.TRIAL and _is_meant(accepted, now):
        return OrderStep.COMMIT if now.healthy else OrderStep.WAIT
    waited = proof is not None and accepted.boot_id == proof.boot_id
    committed = proof is not None and now.booted is now.good and now.root_hash == proof.root_hash
    if committed and (waited or _is_meant(accepted, now)):
        return DONE
    if waited and (now.state is NodeState.LEAVING or not now.settled):
        return OrderStep.WAIT  # the trial was given up: the next boot tells why
    if waited and now.boot_id != accepted.boot_id and now.returned:
        return _came_back(now.returned)
    if now.state is NodeState.TRIAL:
        what = f"boot {now.boot_id} tries root {now.root_hash}, but the order is for another trial"
        return End(OrderResult.REFUSED, Code.STALE_ORDER, what)
    if now.problem:
        return End(OrderResult.REFUSED, now.problem.code, now.problem.message)
    return End(OrderResult.REFUSED, Code.NO_TRIAL, "no trial is running")


def _is_meant(accepted: AcceptedOrder, now: Situation) -> bool:
    """Whether what runs is what the order's proof is about."""
    proof = accepted.order.trial
    return proof is not None and (now.boot_id, now.root_hash) == (proof.boot_id, proof.root_hash)


def _roll_back(accepted: AcceptedOrder, now: Situation) -> Step:
    if not accepted.begun:
        return OrderStep.ROLL_BACK
    if not now.settled:
        return OrderStep.WAIT
    if now.booted is now.good and now.good.value == accepted.slot:
        return DONE
    return OrderStep.REBOOT if now.state is NodeState.LEAVING else OrderStep.ROLL_BACK


def _configure(accepted: AcceptedOrder, now: Situation) -> Step:
    try:
        wanted = parse_settings(accepted.order.settings).digest
    except ProaError as error:
        return End(OrderResult.REFUSED, error.code, error.message)
    if now.settings.trial == wanted or (not now.settings.trial and now.settings.committed == wanted):
        return DONE
    if accepted.begun and now.settings.failed == wanted:
        return End(OrderResult.FAILED, Code.SETTINGS_FAILED, now.settings.message)
    return OrderStep.CONFIGURE


def _commit_settings(accepted: AcceptedOrder, now: Situation) -> Step:
    wanted = accepted.order.settings_hash
    if now.settings.trial == wanted:
        return OrderStep.COMMIT_SETTINGS
    if not now.settings.trial and now.settings.committed == wanted:
        return DONE
    if now.settings.failed == wanted:
        return End(OrderResult.FAILED, Code.SETTINGS_FAILED, now.settings.message)
    return End(OrderResult.REFUSED, Code.NO_SETTINGS_TRIAL, f"settings {wanted} are not being tried")


def _revert_settings(accepted: AcceptedOrder, now: Situation) -> Step:
    wanted = accepted.order.settings_hash
    if now.settings.trial == wanted:
        return OrderStep.REVERT_SETTINGS
    if now.settings.committed == wanted:
        return End(OrderResult.REFUSED, Code.NO_SETTINGS_TRIAL, f"settings {wanted} are committed")
    return DONE


_RULES: Final[Mapping[Action, Callable[[AcceptedOrder, Situation], Step]]] = {
    Action.NONE: _none,
    Action.STAGE: _stage,
    Action.BOOT: _boot,
    Action.COMMIT: _commit,
    Action.ROLLBACK: _roll_back,
    Action.CONFIGURE: _configure,
    Action.COMMIT_SETTINGS: _commit_settings,
    Action.REVERT_SETTINGS: _revert_settings,
}
