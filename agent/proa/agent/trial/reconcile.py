"""What comes before every change: know what runs, tell of a trial that came back, mend the boot state.

The daemon does it when it starts, and every verb that changes something does it under the same lock: whoever comes
first in a boot must not write over what the boot before left to be told.
"""

from __future__ import annotations

import dataclasses

from proa.agent.node.bookkeeping import remember, remember_slot, result, write_state
from proa.agent.node.boot import own_release
from proa.agent.node.record import TrialRecord
from proa.agent.node.view import Context, View, known_slot, look, state_file
from proa.agent.trial.change import mark_leaving, stop_deadline
from proa.agent.trial.etc import SetAside, carry_over, lacks_etc, set_aside
from proa.agent.trial.journal import keep_journal
from proa.agent.trial.returned import Traces, has_returned, report
from proa.agent.trial.standing import withdraw
from proa.agent.trial.traces import kernel_messages, load_try, watchdog_fired
from proa.agent.trial.trial import load_notes
from proa.core.release.document import LAYOUT_VERSION, LOADER_VERSION
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import BootState, Slot


def reconcile(context: Context) -> View:
    """Bring records and boot state in line with this boot; the caller holds the lock. Running it twice is harmless.

    Raises:
        ProaError: as :func:`proa.agent.node.view.look`; ``DEVICE`` when STATE or PERSIST cannot be written.
    """
    view = look(context)
    booted = view.booted
    if view.warning:
        context.monitor.emit(Note(view.warning, "warning"))
    if booted is None:
        return view
    for problem in view.persist:
        context.monitor.emit(Note(problem, "warning"))
    for work in (_mend, _adopt, _look_back, withdraw, _forget_rounds, _keep_etc):
        work(context, view, booted)
        view = look(context)
    return view


def _mend(context: Context, view: View, booted: Slot) -> None:
    """Write a boot state where none is valid, or where GRUB had to boot the other of two good slots."""
    if view.problem and view.problem.code is Code.NO_STATE:
        state, what = _state_anew(view, booted)
        write_state(view, state)
        _tell(context, f"neither copy of the boot state was valid: the running slot {booted.value} is now {what}")
    elif view.problem is None and not view.leaving and _is_fallback(view, booted):
        # ALT stays n: the slot that could not be loaded is nothing to return to.
        write_state(view, dataclasses.replace(bootstate.rollback(view.state), alt=False))
        _tell(context, f"slot {booted.other.value} could not be loaded: the running slot {booted.value} is now good")


def _state_anew(view: View, booted: Slot) -> tuple[BootState, str]:
    """The boot state where none is valid, and what the running slot is by it.

    A trial stays one, without another try. The initrd says that it is one, and the record, unless it is lost too, that
    it was neither committed nor the initrd's own way around a slot that cannot be opened.
    """
    trial, report = view.record.trial, view.report
    seq = trial.seq if trial else 1
    if report and report.trial and (trial or not view.record.slots):
        return BootState(seq, booted.other, booted, 0, alt=False), "still on trial"
    return BootState(seq, booted, None, 0, alt=False), "good"


def _is_fallback(view: View, booted: Slot) -> bool:
    on_trial = view.report is not None and view.report.trial
    return not on_trial and not view.state.on_trial and view.state.good is not booted and view.state.alt


def _adopt(context: Context, view: View, booted: Slot) -> None:
    """Record what the signed command line says of the running slot, and the floor of a committed one."""
    known = known_slot(view, booted)
    if known and known != view.record.slots.get(booted):
        remember_slot(context, booted, known)
    if not view.record.loader:
        own = own_release(context.paths)
        disk = {"layout": own.get("layout", LAYOUT_VERSION), "loader": own.get("loader", LOADER_VERSION)}
        remember(context, **{name: value for name, value in disk.items() if isinstance(value, int)})
    running = view.booted_release
    if running and view.state.good is booted and running.floor > view.record.floor:
        remember(context, floor=running.floor)


def _look_back(context: Context, view: View, booted: Slot) -> None:
    """Tell of a trial that came back, and end what is left of it."""
    trial = view.record.trial
    returned = has_returned(trial, booted, view.boot_id, view.state)
    if trial and returned:
        _tell_return(context, view, _traces(context, view, trial))
    elif trial and view.problem is None and view.state.good is Slot(trial.slot):
        remember(context, trial=None)  # committed, and cut off before that was recorded
    if view.state.on_trial and view.state.good is booted and (returned or view.state.left == 0):
        write_state(view, bootstate.retire(view.state))
    if view.problem is None and view.report and view.report.trial and view.state.good is booted:
        stop_deadline(context)  # committed, and cut off before that was done


def _traces(context: Context, view: View, trial: TrialRecord) -> Traces:
    paths = context.paths
    return Traces(
        trial,
        view.state,
        load_notes(paths),
        kernel=kernel_messages(paths, trial),
        refused=view.problem is None and state_file(view.disk).read().refused,
        last_try=load_try(paths),
        watchdog=watchdog_fired(paths),
    )


def _tell_return(context: Context, view: View, traces: Traces) -> None:
    slot = Slot(traces.trial.slot)
    if traces.never_armed:
        remember(context, trial=None)
        return
    etc = _set_aside(context, slot)
    told = report(traces, context.time(), etc)
    told = dataclasses.replace(told, journal=_keep_journal(context, view, traces.trial))
    known = view.record.slots.get(slot)
    if known:
        remember_slot(context, slot, dataclasses.replace(known, failed=True))
    code = Code.__members__.get(told.code, Code.TRIAL_RETURNED)
    error = ProaError(code, f"the trial of {traces.trial.version} returned: {told.reason}")
    remember(context, trial=None, returned=told, last=result(context, "trial", error, slot=slot.value))
    context.monitor.emit(Note(error.message, "warning"))


def _keep_journal(context: Context, view: View, trial: TrialRecord) -> str:
    """Keep the trial's journal; that it cannot be had must not keep the return from being told."""
    try:
        return str(keep_journal(context.paths, trial.boot_id, view.boot_id) or "")
    except ProaError as error:
        context.monitor.emit(Note(f"the trial's journal cannot be kept: {error.message}", "warning"))
        return ""


def _set_aside(context: Context, slot: Slot) -> SetAside | None:
    """Keep what the trial made of /etc; that there is no room for it must not keep the return from being told."""
    try:
        return set_aside(context.paths, slot, slot.other, context.time())
    except ProaError as error:
        context.monitor.emit(Note(f"the trial's /etc stays where it is: {error.message}", "warning"))
        return None


def _forget_rounds(_: Context, view: View, __: Slot) -> None:
    """A slot has come up, so what GRUB and the initrd counted is over; the next failure begins anew."""
    if view.problem is None and state_file(view.disk).read().rounds:
        write_state(view, view.state)


def _keep_etc(context: Context, view: View, booted: Slot) -> None:
    """See that a slot which the next boot may lead to finds an /etc of its own; that there is no room is told."""
    other, state = booted.other, view.state
    if state.good is booted and (state.alt or state.pending) and lacks_etc(context.paths, other):
        try:
            carry_over(context.paths, booted, other)
        except ProaError as error:
            context.monitor.emit(Note(f"slot {other.value} has no /etc of its own: {error.message}", "warning"))


def _tell(context: Context, text: str) -> None:
    remember(context, last=result(context, "reconcile", ProaError(Code.NO_STATE, text)))
    context.monitor.emit(Note(text, "warning"))


def give_up(context: Context, why: str) -> None:
    """Give up the running trial; the caller holds the lock and reboots.

    Raises:
        ProaError: ``NO_TRIAL`` when there is none any more.
    """
    view = look(context)
    state = bootstate.retire(view.state)
    mark_leaving(context)
    write_state(view, state)
    context.monitor.emit(Note(f"ending the trial: {why}", "warning"))
