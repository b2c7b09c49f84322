"""What changes the boot state by order: arm, disarm, commit, roll back, reboot. The caller holds the lock.

The daemon imports this at every boot, on slow machines too, so what only some orders need is imported by them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proa.agent.node.bookkeeping import afterwards, amend, remember, remember_slot, result, write_state
from proa.agent.node.cause import Cause
from proa.agent.node.policy import Door, Subject
from proa.agent.node.record import AgentRecord, SlotRecord, TrialRecord
from proa.agent.node.settings import commit_settings
from proa.agent.node.view import Context, View, known_slot, look
from proa.agent.slot.damage import Damaged, damage, is_whole, mark_damaged
from proa.agent.trial.etc import carry_over
from proa.agent.trial.health import failed_units
from proa.agent.trial.merging import remember_release
from proa.agent.trial.standing import objection, withdraw
from proa.agent.trial.traces import known_logs
from proa.agent.trial.trial import TrialLog
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.runtime.files import os_errors
from proa.core.runtime.process import run
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot

if TYPE_CHECKING:
    from proa.agent.node.policy import Policy
    from proa.core.settings.document import Document as Settings

DEADLINE_TIMER: Final = "proa-deadline.timer"
"""The initrd's timer that reboots a trial that is not committed."""
REBOOT_DELAY: Final = "2s"
_SYSTEMCTL_LIMIT: Final = 60.0
Amendment = Callable[[AgentRecord], AgentRecord]
"""What is changed in the record at the same stroke as something else."""


def unamended(record: AgentRecord) -> AgentRecord:
    """Nothing."""
    return record


def check_arm(context: Context, view: View, tries: int, policy: Policy, brought: Settings | None = None) -> SlotRecord:
    """Check that the next boot may try the other slot; what it holds. Changes nothing.

    Args:
        context: The context.
        view: A look at the node.
        tries: Boots that the trial would get.
        policy: What the node accepts.
        brought: The settings that the trial would get along with the release, if not those that the node has.

    Raises:
        ProaError: ``USAGE`` for tries out of range, ``NOT_STAGED`` when it holds no complete release, the objections
            of the policy; ``NOT_STAGED`` as :class:`Damaged` when it was altered since; ``SETTINGS_REFUSED`` and
            ``SETTINGS_OLDER`` for settings that it would not get.
    """
    slot = view.state.good.other
    bootstate.check_tries(tries)
    known = known_slot(view, slot)
    if known is None or not known.complete:
        raise ProaError(Code.NOT_STAGED, f"nothing complete is recorded for slot {slot.value}")
    policy.check(Door.ARM, Subject.of_slot(slot, known), context.clock.now())
    check_settings(context, known, brought)
    if wrong := damage(view, slot, known):
        raise Damaged(Code.NOT_STAGED, slot, f"does not hold what was written: {wrong}")
    return known


def check_settings(context: Context, known: SlotRecord, brought: Settings | None = None) -> None:
    """Check that a release allows the settings that its trial would get.

    Raises:
        ProaError: ``SETTINGS_REFUSED``, ``SETTINGS_OLDER``.
    """
    if brought is not None or (context.paths.etc / "settings").is_dir():
        from proa.agent.settings.along import check_next

        check_next(context, known, brought)


def arm(context: Context, view: View, known: SlotRecord, tries: int, also: Amendment = unamended) -> Slot:
    """Let the next boot try the other slot.

    Args:
        context: The context.
        view: A look at the node.
        known: What the slot holds, as :func:`check_arm` found it.
        tries: Boots that the trial gets.
        also: What is saved with it.

    Raises:
        ProaError: ``DEVICE``, ``DISK_FULL``, ``TOOL``, or what ``also`` raises; it is not armed then.
    """
    slot = view.state.good.other
    armed = bootstate.arm(view.state, slot, tries)
    if view.booted:
        remember_release(context.paths, context.paths.etc_upper(view.booted))
        carry_over(context.paths, view.booted, slot)
    with os_errors(context.paths.trial):
        context.paths.trial.unlink(missing_ok=True)
    trial = TrialRecord(
        slot=slot.value,
        version=known.version,
        root_hash=known.root_hash,
        tries=tries,
        seq=armed.seq,
        armed=context.time(),
        boot_id=view.boot_id,
        logs=known_logs(context.paths),
        failed_before=failed_units() if view.booted else (),
    )
    done = result(context, "activate", slot=slot.value, version=known.version)

    def note(record: AgentRecord) -> AgentRecord:
        ready = record.with_slot(slot, dataclasses.replace(known, failed=False))
        return also(dataclasses.replace(ready, trial=trial, returned=None, last=done))

    amend(context, note)
    write_state(view, armed)
    return slot


def refresh_etc(context: Context, view: View) -> None:
    """Carry /etc over once more to a slot that is armed: what was changed since must not be lost by the reboot.

    Raises:
        ProaError: as :func:`proa.agent.trial.etc.carry_over`.
    """
    if view.booted and view.problem is None and view.state.pending and view.is_good:
        carry_over(context.paths, view.booted, view.booted.other)


def disarm(context: Context, view: View) -> None:
    """Disarm the slot; it stays complete.

    Raises:
        ProaError: ``NO_TRIAL`` when nothing is armed.
    """
    write_state(view, bootstate.retire(view.state))
    with afterwards(context):
        remember(context, trial=None, last=result(context, "deactivate"))


def commit(context: Context, view: View) -> Slot:
    """Make the running trial the good slot, stop its deadline and record its floor.

    Raises:
        ProaError: ``NO_TRIAL``; once it is committed, only that somebody asked to stop.
    """
    old, slot = view.state.good, view.state.good.other
    left = view.record.slots.get(old)
    # ALT beside a trial: the slot we came from may be the damaged one that the initrd turned away from. To read it
    # takes a while, so the trial is committed first.
    suspect = view.state.alt or (left is not None and not left.complete)
    write_state(view, bootstate.commit(view.state, alt=not suspect))
    stop_deadline(context)
    with afterwards(context):
        _remember_commit(context, view, slot)
    with afterwards(context):
        withdraw(context, look(context), slot)
    if suspect and not objection(context, look(context), Door.HEAL, old):
        with afterwards(context):
            _vouch(context, look(context), old)
    return slot


def _remember_commit(context: Context, view: View, slot: Slot) -> None:
    known, running = known_slot(view, slot), view.booted_release
    if known:
        remember_slot(context, slot, dataclasses.replace(known, complete=True, failed=False))
    serial = max(running.serial if running else 0, known.serial if known else 0)
    raised = serial if commit_settings(context.paths).raises_floor else 0
    floor = max(view.record.floor, running.floor if running else 0, raised)
    # What the slot before had counts too: it was committed by an agent that kept no count, or by the factory.
    left = view.record.slots.get(slot.other)
    committed = max(view.record.committed, serial, left.serial if left and left.complete else 0)
    done = result(context, "commit", slot=slot.value, version=known.version if known else "")
    remember(context, trial=None, returned=None, floor=floor, committed=committed, last=done)
    with os_errors(context.paths.trial):
        context.paths.trial.unlink(missing_ok=True)


def _vouch(context: Context, view: View, slot: Slot) -> None:
    """Make a slot a fallback again, once it was read."""
    if is_whole(context, view, slot):
        write_state(view, bootstate.vouch(view.state))
    else:
        mark_damaged(context, view, slot)


def stop_deadline(context: Context) -> None:
    """Stop the timer that would reboot a trial. A failure is told, not raised: a reboot is safe after a commit."""
    try:
        run(["systemctl", "stop", DEADLINE_TIMER], timeout=_SYSTEMCTL_LIMIT)
    except ProaError as error:
        context.monitor.emit(Note(f"{DEADLINE_TIMER} could not be stopped: {error.message}", "warning"))


def check_roll_back(context: Context, view: View) -> None:
    """Check that there is a slot to go back to: the one before a trial, or a fallback of which every block is read.

    Raises:
        ProaError: ``NOT_GOOD`` when there is none, ``SERIAL`` or ``DENIED`` when the policy forbids it; ``NOT_GOOD``
            as :class:`Damaged` when it is not whole.
    """
    slot = view.running.other
    bootstate.rollback(view.state)
    if view.state.on_trial:
        return
    known = view.record.slots.get(slot)
    if known is None or not known.complete:
        raise ProaError(Code.NOT_GOOD, f"nothing complete is recorded for slot {slot.value}, so it cannot be checked")
    if error := objection(context, view, Door.ROLL_BACK, slot):
        raise error
    if not is_whole(context, view, slot):
        raise Damaged(Code.NOT_GOOD, slot, "is damaged")


def roll_back(context: Context, view: View) -> Slot:
    """Go back to the other slot: give the running trial up, or make the slot that was good before good again.

    Raises:
        ProaError: ``NOT_GOOD`` when there is nothing to go back to; :func:`check_roll_back` asks for more.
    """
    slot = view.running.other
    if view.state.on_trial:
        TrialLog(context, view).ended("withdrawn by order", Cause.ORDERED)
    if view.booted:
        mark_leaving(context)
    write_state(view, bootstate.rollback(view.state))
    with afterwards(context):
        remember(context, last=result(context, "rollback", slot=slot.value))
    return slot


def mark_leaving(context: Context) -> None:
    """Note for the rest of this boot that its slot was given up by us."""
    with os_errors(context.paths.leaving):
        context.paths.run.mkdir(parents=True, exist_ok=True)
        context.paths.leaving.touch()


def check_reboot(view: View) -> None:
    """Refuse to reboot for a disk that nothing runs from.

    Raises:
        ProaError: ``USAGE``.
    """
    if view.booted is None:
        raise ProaError(Code.USAGE, "--reboot has no effect: this machine does not run from that disk")


def reboot() -> None:
    """Reboot in order, through systemd, in a moment: the client that asked for it still gets the answer.

    Raises:
        ProaError: ``TOOL`` or ``TOOL_MISSING``.
    """
    moment = (f"--on-active={REBOOT_DELAY}", "--timer-property=AccuracySec=100ms")
    run(["systemd-run", "--quiet", "--collect", *moment, "systemctl", "reboot"], timeout=_SYSTEMCTL_LIMIT)
