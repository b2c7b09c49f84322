"""What is done for orders: the verbs that a person has, with what an order asks for besides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from proa.agent.node.order_book import Taken
from proa.agent.node.record import Record
from proa.agent.node.view import Context, View, known_slot
from proa.agent.orders.plan import Deed, commit_is_ordered
from proa.agent.trial import change
from proa.agent.trial.change import Amendment
from proa.agent.verbs import verbs
from proa.agent.verbs.verbs import Behest
from proa.core.orders.messages import Action
from proa.core.runtime.errors import Code, ProaError


def arm(context: Context, taken: Taken, _: View) -> None:
    """Arm the standby for one try, if it holds the order's release, whole.

    Raises:
        ProaError: ``NOT_STAGED`` when it holds another one, or as :func:`proa.agent.verbs.verbs.activate`.
    """

    def holds(view: View) -> None:
        change.check_reboot(view)
        slot = view.state.good.other
        known = known_slot(view, slot)
        if known is None or not known.complete or known.manifest != taken.digest:
            has = (known.manifest or f"version {known.version}") if known and known.complete else "nothing complete"
            raise ProaError(Code.NOT_STAGED, f"slot {slot.value} holds {has}, not {taken.digest}")

    verbs.activate(context, tries=1, behest=Behest(holds, begun(taken)))


def disarm(context: Context, _: Taken, __: View) -> None:
    """Take an arming back.

    Raises:
        ProaError: ``NO_TRIAL`` when nothing is armed any more, or as :func:`proa.agent.verbs.verbs.deactivate`.
    """
    verbs.deactivate(context)


def commit(context: Context, _: Taken, __: View) -> None:
    """Make the running trial good, if it is still the one that the order means.

    Raises:
        ProaError: ``NO_TRIAL``, ``STALE_ORDER``, or as :func:`proa.agent.verbs.verbs.commit`.
    """

    def meant(view: View) -> None:
        if not commit_is_ordered(view):
            raise ProaError(Code.STALE_ORDER, "another order has come, or another trial runs")

    verbs.commit(context, behest=Behest(meant))


def roll_back(context: Context, taken: Taken, view: View) -> None:
    """Make the other slot the good one, or give the running trial up.

    Raises:
        ProaError: ``NOT_GOOD`` when there is nothing to go back to, or as :func:`proa.agent.verbs.verbs.rollback`.
    """
    change.check_reboot(view)
    verbs.rollback(context, behest=Behest(note=begun(taken, view.running.other.value)))


DEEDS: Final[Mapping[Deed, Callable[[Context, Taken, View], None]]] = {
    Deed.ARM: arm,
    Deed.DISARM: disarm,
    Deed.COMMIT: commit,
    Deed.ROLL_BACK: roll_back,
}
"""What each deed does that is done at once, under the lock."""


def begun(taken: Taken, slot: str = "") -> Amendment:
    """Mark an order as begun, in the record.

    Args:
        taken: The order.
        slot: Where a rollback leads to.
    """

    def note(record: Record) -> Record:
        now = record.order
        if now is None or now.order.id != taken.order.id:
            raise ProaError(Code.STALE_ORDER, f"another order has come after order {taken.order.id}")
        return dataclasses.replace(record, order=dataclasses.replace(now, begun=True, slot=slot))

    return note


def begun_staging(digest: str) -> Amendment:
    """Mark whatever order wants this release to be staged as begun: it may have come after the install's start."""

    def note(record: Record) -> Record:
        now = record.order
        if now is None or now.order.action is not Action.STAGE or now.digest != digest:
            return record
        return dataclasses.replace(record, order=dataclasses.replace(now, begun=True))

    return note
