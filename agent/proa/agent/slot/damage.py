"""Whether a slot still holds what is recorded, and what is written down when it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from proa.agent.node.bookkeeping import remember, remember_slot, write_state
from proa.agent.node.record import SlotRecord
from proa.agent.node.view import Context, View, holds
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot


class Damaged(ProaError):  # noqa: N818 -- it is what became of a slot
    """The refusal of a slot that does not hold what is recorded."""

    def __init__(self, code: Code, slot: Slot, message: str) -> None:
        self.slot = slot
        super().__init__(code, f"slot {slot.value} {message}")


@contextmanager
def marking(context: Context, view: View) -> Iterator[None]:
    """Write down what the block finds to be damaged."""
    try:
        yield
    except Damaged as error:
        mark_damaged(context, view, error.slot)
        raise


def damage(view: View, slot: Slot, known: SlotRecord) -> str:
    """What is wrong with the top of a slot's tree and with its kernel image; empty if nothing."""
    from proa.agent.slot.region import open_for_reading
    from proa.agent.slot.scrub import check_boot

    try:
        if not holds(view, slot, known.root_hash, known.salt, known.root_size):
            return "its verity tree is a different one"
        with open_for_reading(view.extents(slot)[1]) as region:
            return check_boot(region, known).replace("not known", "")
    except ProaError as error:
        return f"{error.message} ({error.at})"


def is_whole(context: Context, view: View, slot: Slot) -> bool:
    """Whether every block of a slot is as it must be; one that cannot be read is not.

    Raises:
        ProaError: When somebody asked to stop.
    """
    from proa.agent.slot.scrub import scrub

    try:
        return scrub(context, view, slot).ok
    except ProaError:
        context.cancel.check()
        return False


def mark_damaged(context: Context, view: View, slot: Slot) -> None:
    """Record that a slot is damaged, so that neither a trial nor a fallback leads to it. The running one is left alone.

    Raises:
        ProaError: as :func:`write_state` and :func:`remember`.
    """
    known = view.record.slots.get(slot)
    if slot is view.running:
        return
    if slot is not view.state.good and (view.state.alt or view.state.on_trial):
        write_state(view, bootstate.disarm(view.state))
        remember(context, trial=None)
    if known and known.complete:
        remember_slot(context, slot, dataclasses.replace(known, complete=False))
