"""The verbs besides ``install``: each takes the lock, looks, asks the table of states, and does its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proa.agent import change
from proa.agent.lock import held
from proa.agent.states import NodeState, Trigger, follow
from proa.agent.view import Context, View, known_slot, look
from proa.core.errors import Code, ProaError
from proa.partition.bootstate import TRIES_MAX, Slot

Report = dict[str, Any]


def activate(context: Context, *, tries: int = TRIES_MAX, reboot: bool = False, dry_run: bool = False) -> Report:
    """Arm the staged slot.

    Raises:
        ProaError: as the table of states, and :func:`proa.agent.change.arm`.
    """

    def work(view: View) -> None:
        if reboot:
            change.check_reboot(view)
        change.arm(context, view, tries, _floor(context, view))
        if reboot:
            change.reboot()

    actions = [f"carry /etc over, arm the other slot for {tries} tries", *(["reboot"] if reboot else [])]
    return _changed(context, Trigger.ACTIVATE, work, actions, dry_run)


def deactivate(context: Context, *, dry_run: bool = False) -> Report:
    """Take the arming back."""
    return _changed(
        context, Trigger.DEACTIVATE, lambda view: change.disarm(context, view), ["disarm the other slot"], dry_run
    )


def commit(context: Context, *, dry_run: bool = False) -> Report:
    """Make the running trial the good slot, whatever the health checks say.

    Raises:
        ProaError: ``NO_TRIAL``.
    """
    actions = ["make the running trial the good slot", f"stop {change.DEADLINE_TIMER}", "record its floor"]
    return _changed(context, Trigger.COMMIT, lambda view: change.commit(context, view), actions, dry_run)


def rollback(context: Context, *, reboot: bool = False, dry_run: bool = False) -> Report:
    """Go back to the other slot.

    Raises:
        ProaError: ``NOT_GOOD``, ``SERIAL``.
    """

    def work(view: View) -> None:
        if reboot:
            change.check_reboot(view)
        if view.node_state() is not NodeState.LEAVING:  # given up already: what is left is the reboot
            change.roll_back(context, view, _floor(context, view))
        if reboot:
            change.reboot()

    actions = ["make the other slot good", *(["reboot"] if reboot else [])]
    return _changed(context, Trigger.ROLLBACK, work, actions, dry_run)


def scrub_slot(context: Context, name: str | None = None) -> Report:
    """Read a slot (the running one if none is named) against its verity tree.

    Raises:
        ProaError: ``VERITY`` when it is damaged, ``NOT_STAGED`` when it is not known what it should hold.
    """
    from proa.agent.scrub import scrub

    with held(context.paths.lock):
        view = look(context)
        found = scrub(context, view, Slot(name) if name else view.running)
    if not found.whole:
        what = found.tree or (f"{found.bad} blocks of {found.blocks}" if found.bad else found.boot)
        blocks = f", the first: {', '.join(map(str, found.first))}" if found.first else ""
        raise ProaError(Code.VERITY, f"slot {found.slot.value} is damaged: {what}{blocks}")
    return found.document()


def _changed(
    context: Context, trigger: Trigger, work: Callable[[View], object], actions: list[str], dry_run: bool
) -> Report:
    if dry_run:
        view = look(context)
        _check(view, trigger)
        return _report(context, view) | {"dry_run": True, "actions": actions}
    with held(context.paths.lock):
        view = look(context)
        _check(view, trigger)
        work(view)
        return _report(context, look(context)) | {"dry_run": False, "actions": actions}


def _check(view: View, trigger: Trigger) -> None:
    view.check()
    follow(view.node_state(), trigger)


def _report(context: Context, view: View) -> Report:
    """What there is after (or, of a dry run, before) it."""
    other = known_slot(view, view.running.other)
    return {
        "state": view.node_state().value,
        "booted": view.booted.value if view.booted else None,
        "good": view.state.good.value,
        "trial": view.state.trial.value if view.state.trial else None,
        "left": view.state.left,
        "version": other.version if other else "",
    }


def _floor(context: Context, view: View) -> int:
    """The lowest serial that may be armed or gone back to; a trust that cannot be read adds nothing to the record."""
    from proa.agent.facts import load_trust

    try:
        trusted = load_trust(context).floor
    except ProaError:
        trusted = 0
    return change.floor_of(view, trusted)
