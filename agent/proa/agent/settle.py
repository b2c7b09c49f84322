"""What the daemon does first in a boot: know what runs, tell of a trial that came back, mend the boot state."""

from __future__ import annotations

import dataclasses

from proa.agent.boot import own_release
from proa.agent.change import mark_leaving, remember, remember_slot, result, write_state
from proa.agent.etc import set_aside
from proa.agent.returned import Traces, has_returned, kernel_messages, reason, report
from proa.agent.trial import load_notes
from proa.agent.view import Context, View, known_slot, look
from proa.core.errors import Code, ProaError
from proa.core.events import Note
from proa.core.release import LAYOUT_VERSION, LOADER_VERSION
from proa.partition import bootstate
from proa.partition.bootstate import Slot


def settle(context: Context) -> View:
    """Bring records and boot state in line with this boot; the caller holds the lock. Again is harmless.

    Raises:
        ProaError: as :func:`proa.agent.view.look`; ``DEVICE`` when STATE or PERSIST cannot be written.
    """
    view = look(context)
    if view.warning:
        context.monitor.emit(Note(view.warning, "warning"))
    if view.booted is None:
        return view
    _mend(context, view, view.booted)
    _adopt(context, view, view.booted)
    _look_back(context, view, view.booted)
    return look(context)


def _mend(context: Context, view: View, booted: Slot) -> None:
    """Write a boot state where none is valid, or where GRUB had to boot the other of two good slots."""
    if view.problem and view.problem.code is Code.NO_STATE:
        write_state(view, bootstate.initial(booted))
        _tell(context, f"neither copy of the boot state was valid: slot {booted.value}, which runs, is good now")
    elif view.problem is None and not view.leaving and _is_fallback(view, booted):
        # ALT stays n: the slot that could not be loaded is nothing to return to.
        write_state(view, dataclasses.replace(bootstate.rollback(view.state), alt=False))
        _tell(context, f"slot {booted.other.value} could not be loaded: slot {booted.value}, which runs, is good now")


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
    if trial and has_returned(trial, booted, view.boot_id, view.state):
        _tell_return(context, view, Traces(trial, view.state, load_notes(context.paths), _kernel(context, trial.armed)))
    elif trial and view.problem is None and view.state.good is Slot(trial.slot):
        remember(context, trial=None)  # committed, and cut off before that was recorded
    if view.state.on_trial and view.state.left == 0 and view.state.good is booted:
        write_state(view, bootstate.retire(view.state))


def _tell_return(context: Context, view: View, traces: Traces) -> None:
    slot = Slot(traces.trial.slot)
    if traces.never_armed:
        remember(context, trial=None)
        return
    etc = set_aside(context.paths, slot, slot.other, context.time())
    told = report(traces, context.time(), etc)
    known = view.record.slots.get(slot)
    if known:
        remember_slot(context, slot, dataclasses.replace(known, failed=True))
    error = ProaError(Code.TRIAL_RETURNED, f"the trial of {traces.trial.version} came back: {reason(traces)}")
    remember(context, trial=None, returned=told, last=result(context, "trial", error, slot=slot.value))
    if view.state.on_trial:
        write_state(view, bootstate.retire(view.state))
    context.monitor.emit(Note(error.message, "warning"))


def _kernel(context: Context, since: str) -> tuple[str, ...]:
    return kernel_messages(context.paths, since)


def _tell(context: Context, text: str) -> None:
    remember(context, last=result(context, "settle", ProaError(Code.NO_STATE, text)))
    context.monitor.emit(Note(text, "warning"))


def give_up(context: Context, why: str) -> None:
    """Take the running trial back; the caller holds the lock and reboots.

    Raises:
        ProaError: ``NO_TRIAL`` when there is none any more.
    """
    view = look(context)
    state = bootstate.retire(view.state)
    mark_leaving(context)
    write_state(view, state)
    context.monitor.emit(Note(f"the trial is taken back: {why}", "warning"))
