"""What changes the boot state by order: arm, disarm, commit, roll back, reboot. The caller holds the lock.

The daemon imports this at every boot, on slow machines too, so what only some orders need is imported by them.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from proa.agent import record as records
from proa.agent.etc import carry_over
from proa.agent.record import Result, SlotRecord, TrialRecord
from proa.agent.trial import Diary
from proa.agent.view import Context, View, holds, known_slot, state_file
from proa.core.errors import Code, ProaError
from proa.core.events import Note
from proa.core.files import os_errors
from proa.core.process import run
from proa.partition import bootstate
from proa.partition.bootstate import BootState, Slot

DEADLINE_TIMER: Final = "proa-deadline.timer"
"""The initrd's timer that reboots a trial that is not committed."""
_SYSTEMCTL_LIMIT: Final = 60.0


def write_state(view: View, state: BootState) -> None:
    """Write the boot state.

    Raises:
        ProaError: as :meth:`proa.partition.statefile.StateFile.write`.
    """
    state_file(view.disk).write(state)


def remember(context: Context, **changes: object) -> None:
    """Save the record with some fields changed."""
    record, _ = records.load(context.paths.record)
    records.save(context.paths.record, dataclasses.replace(record, **changes))  # type: ignore[arg-type]  # by name


def remember_slot(context: Context, slot: Slot, known: SlotRecord) -> None:
    """Save what is known of one slot."""
    record, _ = records.load(context.paths.record)
    records.save(context.paths.record, record.with_slot(slot, known))


def result(context: Context, verb: str, error: ProaError | None = None, **details: object) -> Result:
    """The result of a verb as it is remembered."""
    code, message = (error.code.name, error.message) if error else ("", "")
    return Result(verb, error is None, context.time(), code, message, details)


def floor_of(view: View, trusted: int = 0) -> int:
    """The lowest serial that may boot from now on: the highest of the record, the booted release and the trust."""
    running = view.booted_release
    return max(view.record.floor, trusted, running.floor if running and view.state.good is view.booted else 0)


def arm(context: Context, view: View, tries: int, floor: int) -> Slot:
    """Let the next boot try the other slot, once it has been looked at again.

    Raises:
        ProaError: ``NOT_STAGED`` when it holds no complete release, ``SERIAL`` when that is below the floor,
            ``USAGE`` for tries out of range.
    """
    slot = view.state.good.other
    known = known_slot(view, slot)
    armed = bootstate.arm(view.state, slot, tries)
    if known is None or not known.complete:
        raise ProaError(Code.NOT_STAGED, f"nothing complete is recorded for slot {slot.value}")
    if known.serial < floor:
        raise ProaError(Code.SERIAL, f"slot {slot.value} has serial {known.serial}, the floor is {floor}")
    check_content(context, view, slot, known)
    if view.booted:
        carry_over(context.paths, view.booted, slot)
    trial = TrialRecord(slot.value, known.version, known.root_hash, tries, context.time(), view.boot_id)
    context.paths.trial.unlink(missing_ok=True)
    done = result(context, "activate", slot=slot.value, version=known.version)
    remember_slot(context, slot, dataclasses.replace(known, failed=False))
    remember(context, trial=trial, returned=None, last=done)
    write_state(view, armed)
    return slot


def refresh_etc(context: Context, view: View) -> None:
    """Carry /etc over once more to a slot that is armed: what was changed since must not be lost by the reboot.

    Raises:
        ProaError: as :func:`proa.agent.etc.carry_over`.
    """
    if view.booted and view.problem is None and view.state.on_trial and view.state.left and view.is_good:
        carry_over(context.paths, view.booted, view.booted.other)


def check_content(context: Context, view: View, slot: Slot, known: SlotRecord) -> None:
    """Look whether a slot still holds what is recorded: the top of its tree, all of its kernel image.

    Raises:
        ProaError: ``NOT_STAGED``; the record then counts as incomplete.
    """
    from proa.agent.region import open_for_reading
    from proa.agent.scrub import check_boot

    wrong = "" if holds(view, slot, known.root_hash, known.salt, known.root_size) else "its verity tree is another one"
    if not wrong:
        with open_for_reading(view.extents(slot)[1]) as region:
            wrong = check_boot(region, known).replace("not known", "")
    if wrong:
        remember_slot(context, slot, dataclasses.replace(known, complete=False))
        raise ProaError(Code.NOT_STAGED, f"slot {slot.value} does not hold what was put there: {wrong}")


def disarm(context: Context, view: View) -> None:
    """Take an arming back; the slot stays complete.

    Raises:
        ProaError: ``NO_TRIAL`` when nothing is armed.
    """
    write_state(view, bootstate.retire(view.state))
    remember(context, trial=None, last=result(context, "deactivate"))


def commit(context: Context, view: View) -> Slot:
    """Make the running trial the good slot, record its floor and stop its deadline.

    Raises:
        ProaError: ``NO_TRIAL``.
    """
    old, slot = view.state.good, view.state.good.other
    # ALT beside a trial: the slot we came from may be the damaged one that the initrd turned away from.
    whole = not view.state.alt or _is_whole(context, view, old)
    write_state(view, bootstate.commit(view.state, alt=whole))
    stop_deadline(context)
    damaged = view.record.slots.get(old)
    if damaged and not whole:
        remember_slot(context, old, dataclasses.replace(damaged, complete=False))
    known, running = known_slot(view, slot), view.booted_release
    if known:
        remember_slot(context, slot, dataclasses.replace(known, complete=True, failed=False))
    floor = max(view.record.floor, running.floor if running else 0)
    done = result(context, "commit", slot=slot.value, version=known.version if known else "")
    remember(context, trial=None, returned=None, floor=floor, last=done)
    context.paths.trial.unlink(missing_ok=True)
    return slot


def _is_whole(context: Context, view: View, slot: Slot) -> bool:
    from proa.agent.scrub import scrub

    try:
        return scrub(context, view, slot).whole
    except ProaError:
        return False


def stop_deadline(context: Context) -> None:
    """Stop the timer that would reboot a trial. A failure is told, not raised: a reboot is safe after a commit."""
    try:
        run(["systemctl", "stop", DEADLINE_TIMER], timeout=_SYSTEMCTL_LIMIT)
    except ProaError as error:
        context.monitor.emit(Note(f"{DEADLINE_TIMER} could not be stopped: {error.message}", "warning"))


def roll_back(context: Context, view: View, floor: int) -> Slot:
    """Go back to the other slot: give the running trial up, or make the slot that was good before good again.

    Raises:
        ProaError: ``NOT_GOOD`` when there is nothing to go back to, ``SERIAL`` when it is below the floor.
    """
    slot = view.running.other
    state = bootstate.rollback(view.state)
    known = view.record.slots.get(slot)
    serial = known.serial if known else 0
    if not view.state.on_trial and serial < floor:
        raise ProaError(Code.SERIAL, f"slot {slot.value} has serial {serial}, the floor is {floor}")
    if view.state.on_trial:
        Diary(context, view).ended("taken back by order")
    if view.booted:
        mark_leaving(context)
    write_state(view, state)
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
        raise ProaError(Code.USAGE, "--reboot makes no sense: this machine does not run from that disk")


def reboot() -> None:
    """Reboot in order, through systemd.

    Raises:
        ProaError: ``TOOL`` or ``TOOL_MISSING``.
    """
    run(["systemctl", "reboot"], timeout=_SYSTEMCTL_LIMIT)
