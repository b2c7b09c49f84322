"""What the node asks of releases that it has already: without keys, since this runs at every boot of slow machines."""

from __future__ import annotations

from proa.agent.node.bookkeeping import remember, write_state
from proa.agent.node.policy import Door, Policy, Subject
from proa.agent.node.view import Context, View, known_slot
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import Note
from proa.core.signing import trustfile
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot


def floor_of(view: View, trusted: int = 0) -> int:
    """The lowest serial that may boot from now on: the highest of the record, the booted release and the trust."""
    running = view.booted_release
    return max(view.record.floor, trusted, running.floor if running and view.state.good is view.booted else 0)


def newest_of(view: View) -> int:
    """The highest serial that was ever committed here, as far as is known."""
    running = view.booted_release
    return max(view.record.committed, running.serial if running and view.state.good is view.booted else 0)


def standing_policy(context: Context, view: View) -> Policy:
    """What the node asks at the doors where no signature counts.

    A trust that cannot be read adds nothing: a way on and a way back must be left.
    """
    try:
        trust = trustfile.load(context.paths.usr / "trust", context.paths.etc / "trust.json")
    except ProaError:
        return Policy(floor=floor_of(view))
    return Policy(trust.compatible, floor_of(view, trust.floor), frozenset(trust.deny))


def objection(context: Context, view: View, door: Door, slot: Slot) -> ProaError | None:
    """Why what a slot holds does not get through a door; none also where nothing is known of it."""
    known = known_slot(view, slot)
    if known is None:
        return None
    policy = standing_policy(context, view)
    return next(policy.objections(door, Subject.of_slot(slot, known), context.clock.now()), None)


def check_commit(context: Context, view: View) -> None:
    """Check that the running trial may become the good slot.

    Raises:
        ProaError: ``SERIAL`` or ``DENIED``.
    """
    if error := objection(context, view, Door.COMMIT, view.state.good.other):
        raise error


def withdraw(context: Context, view: View, booted: Slot) -> None:
    """Let no boot lead by itself to a slot that the policy forbids by now: neither as a trial nor as the fallback.

    Raises:
        ProaError: ``DEVICE`` when STATE or PERSIST cannot be written.
    """
    if view.problem or view.state.good is not booted:
        return
    if view.state.pending and (error := objection(context, view, Door.COMMIT, booted.other)):
        write_state(view, bootstate.retire(view.state))
        remember(context, trial=None)
        context.monitor.emit(Note(f"disarmed: {error.message}", "warning"))
    elif view.state.alt and not view.state.on_trial and (error := objection(context, view, Door.HEAL, booted.other)):
        write_state(view, bootstate.disarm(view.state))
        context.monitor.emit(Note(f"no longer a fallback: {error.message}", "warning"))
