"""The verbs besides ``install``: each takes the lock, looks, asks the table of states, and does its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proa.agent.node.bookkeeping import amend
from proa.agent.node.lock import locked
from proa.agent.node.policy import Door
from proa.agent.node.reports import Change, Scrubbed
from proa.agent.node.states import NodeState, Trigger, follow
from proa.agent.node.view import Context, View, known_slot, look, need_disk
from proa.agent.slot.damage import mark_damaged, marking
from proa.agent.trial import change
from proa.agent.trial.reconcile import reconcile
from proa.agent.trial.standing import check_commit, objection
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.partition.boot.bootstate import TRIES_MAX, Slot

if TYPE_CHECKING:
    from proa.agent.node.policy import Policy
    from proa.agent.node.record import SlotRecord
    from proa.core.settings.document import Document as Settings


@dataclass(frozen=True)
class Constraints:
    """What the cluster's order adds to a verb.

    Attributes:
        check: What must hold besides, looked at under the lock; raises what is not so.
        note: What is saved in the record at the same stroke as the deed, or right before it.
        settings: The settings that a trial gets along with its release.
    """

    check: Callable[[View], object] = lambda _: None
    note: change.Amendment = change.unamended
    settings: Settings | None = None


BY_HAND: Final = Constraints()


def activate(
    context: Context,
    *,
    tries: int = TRIES_MAX,
    reboot: bool = False,
    allow_downgrade: bool = False,
    dry_run: bool = False,
    constraints: Constraints = BY_HAND,
) -> Change:
    """Arm the staged slot.

    Raises:
        ProaError: as the table of states, and :func:`proa.agent.trial.change.arm`; ``NO_TRUST`` and ``KEY``, because
            what the node accepts must be known.
    """

    def check(view: View) -> SlotRecord:
        constraints.check(view)
        if reboot:
            change.check_reboot(view)
        policy = _policy(context, view, downgrade=allow_downgrade)
        return change.check_arm(context, view, tries, policy, constraints.settings)

    actions = [f"copy /etc, arm the other slot for {tries} attempts", *(["reboot"] if reboot else [])]
    step = _Deed(actions, lambda view, known: change.arm(context, view, known, tries, constraints.note), check, reboot)
    return _changed(context, Trigger.ACTIVATE, step, dry_run)


def deactivate(context: Context, *, dry_run: bool = False) -> Change:
    """Disarm the slot."""
    step = _Deed(["disarm the other slot"], lambda view, _: change.disarm(context, view))
    return _changed(context, Trigger.DEACTIVATE, step, dry_run)


def commit(context: Context, *, dry_run: bool = False, constraints: Constraints = BY_HAND) -> Change:
    """Make the running trial the good slot, whatever the health checks say.

    Raises:
        ProaError: ``NO_TRIAL``; ``SERIAL`` or ``DENIED`` when the policy forbids its release by now.
    """

    def check(view: View) -> None:
        constraints.check(view)
        check_commit(context, view)

    actions = ["make the running trial the good slot", f"stop {change.DEADLINE_TIMER}", "record its floor"]
    step = _Deed(actions, lambda view, _: change.commit(context, view), check)
    return _changed(context, Trigger.COMMIT, step, dry_run)


def rollback(
    context: Context, *, reboot: bool = False, dry_run: bool = False, constraints: Constraints = BY_HAND
) -> Change:
    """Roll back to the other slot.

    Raises:
        ProaError: ``NOT_GOOD``, ``SERIAL``, ``DENIED``.
    """

    def check(view: View) -> None:
        if reboot:
            change.check_reboot(view)
        if not _given_up(view):
            change.check_roll_back(context, view)

    def work(view: View, _: object) -> None:
        amend(context, constraints.note)
        if not _given_up(view):
            change.roll_back(context, view)

    actions = ["make the other slot good", *(["reboot"] if reboot else [])]
    try:
        return _changed(context, Trigger.ROLLBACK, _Deed(actions, work, check, reboot), dry_run)
    except ProaError as error:
        # What the policy forbids is no fallback any more: say why it is none.
        forbidden = objection(context, view := look(context), Door.ROLL_BACK, view.running.other)
        raise (forbidden or error) if error.code is Code.NOT_GOOD else error from error


def scrub_slot(context: Context, name: str | None = None) -> Scrubbed:
    """Read a slot (the running one if none is named) against its verity tree; one that is damaged is not booted.

    Raises:
        ProaError: ``VERITY`` when it is damaged, ``DEVICE`` when it cannot be read, ``NOT_STAGED`` when it is not
            known what it should hold.
    """
    from proa.agent.slot.scrub import scrub

    need_disk(context)
    with locked(context.paths):
        _settle(context, needed=False)
        view = look(context)
        slot = Slot(name) if name else view.running
        try:
            found = scrub(context, view, slot)
        except ProaError as error:
            if error.code is Code.DEVICE:
                mark_damaged(context, view, slot)
            raise
        if not found.ok:
            mark_damaged(context, view, slot)
    if not found.ok:
        what = found.tree or (f"{found.bad} blocks of {found.blocks}" if found.bad else found.boot)
        blocks = f", the first: {', '.join(map(str, found.first))}" if found.first else ""
        raise ProaError(Code.VERITY, f"slot {found.slot.value} is damaged: {what}{blocks}")
    return found


@dataclass(frozen=True)
class _Deed:
    """What a verb does.

    Attributes:
        actions: In words.
        work: Does it; gets what the check came to.
        check: Looks at what must hold before, besides the table of states; all that a dry run does.
        reboot: Whether the machine is rebooted then.
    """

    actions: list[str]
    work: Callable[[View, Any], object]
    check: Callable[[View], Any] = lambda _: None
    reboot: bool = False


def _changed(context: Context, trigger: Trigger, step: _Deed, dry_run: bool) -> Change:
    if dry_run:
        view = look(context)
        _follow(view, trigger)
        step.check(view)
        return _report(view, step)
    need_disk(context)
    with locked(context.paths):
        _settle(context, needed=trigger not in (Trigger.COMMIT, Trigger.ROLLBACK))
        view = look(context)
        _follow(view, trigger)
        with marking(context, view):
            found = step.check(view)
        step.work(view, found)
        if step.reboot:
            change.reboot()
        return _report(look(context), step, done=True)


def _settle(context: Context, *, needed: bool) -> None:
    """Settle the boot; that it cannot be written down, as on a full disk, must not bar the way on or back."""
    try:
        reconcile(context)
    except ProaError as error:
        if needed:
            raise
        context.monitor.emit(Note(f"the boot state cannot be reconciled: {error.message}", "warning"))


def _follow(view: View, trigger: Trigger) -> None:
    view.check()
    follow(view.node_state(), trigger)


def _given_up(view: View) -> bool:
    """Whether this boot's slot was given up already, so that only the reboot is left."""
    return view.node_state() is NodeState.LEAVING


def _report(view: View, step: _Deed, *, done: bool = False) -> Change:
    """What there is after (or, of a dry run, before) it."""
    other = known_slot(view, view.running.other)
    return Change(
        state=view.node_state(),
        booted=view.booted,
        good=view.state.good,
        trial=view.state.trial,
        left=view.state.left,
        version=other.version if other else "",
        dry_run=not done,
        actions=tuple(step.actions),
    )


def _policy(context: Context, view: View, *, downgrade: bool = False) -> Policy:
    from proa.agent.install.facts import load_trust, policy_of

    return policy_of(view, load_trust(context), downgrade=downgrade)
