"""What is done for orders: the verbs that a person has, with what an order asks for besides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from proa.agent.node.bookkeeping import amend
from proa.agent.node.order_book import AcceptedOrder
from proa.agent.node.record import AgentRecord
from proa.agent.node.view import Context, View, known_slot
from proa.agent.orders.plan import OrderStep, commit_is_ordered
from proa.agent.settings.engine import Engine
from proa.agent.trial import change
from proa.agent.trial.change import Amendment
from proa.agent.verbs import verbs
from proa.agent.verbs.verbs import Constraints
from proa.core.orders.messages import Action
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings.document import parse as parse_settings


def arm(context: Context, accepted: AcceptedOrder, _: View) -> None:
    """Arm the standby for one try, if it holds the order's release, whole.

    Raises:
        ProaError: ``NOT_STAGED`` when it holds another one, ``SETTINGS_INVALID``, or as
            :func:`proa.agent.verbs.verbs.activate`.
    """
    settings = parse_settings(accepted.order.settings) if accepted.order.settings else None

    def holds(view: View) -> None:
        change.check_reboot(view)
        slot = view.state.good.other
        known = known_slot(view, slot)
        if known is None or not known.complete or known.manifest != accepted.digest:
            has = (known.manifest or f"version {known.version}") if known and known.complete else "nothing complete"
            raise ProaError(Code.NOT_STAGED, f"slot {slot.value} holds {has}, not {accepted.digest}")

    allowed = accepted.order.allow_downgrade
    verbs.activate(context, tries=1, allow_downgrade=allowed, constraints=Constraints(holds, begun(accepted), settings))


def disarm(context: Context, _: AcceptedOrder, __: View) -> None:
    """Disarm the slot.

    Raises:
        ProaError: ``NO_TRIAL`` when nothing is armed any more, or as :func:`proa.agent.verbs.verbs.deactivate`.
    """
    verbs.deactivate(context)


def commit(context: Context, _: AcceptedOrder, __: View) -> None:
    """Make the running trial good, if it is still the one that the order means.

    Raises:
        ProaError: ``NO_TRIAL``, ``STALE_ORDER``, or as :func:`proa.agent.verbs.verbs.commit`.
    """

    def meant(view: View) -> None:
        if not commit_is_ordered(view):
            raise ProaError(Code.STALE_ORDER, "another order has arrived, or another trial runs")

    verbs.commit(context, constraints=Constraints(meant))


def roll_back(context: Context, accepted: AcceptedOrder, view: View) -> None:
    """Make the other slot the good one, or give the running trial up.

    Raises:
        ProaError: ``NOT_GOOD`` when there is nothing to go back to, or as :func:`proa.agent.verbs.verbs.rollback`.
    """
    change.check_reboot(view)
    verbs.rollback(context, constraints=Constraints(note=begun(accepted, view.running.other.value)))


def configure(context: Context, accepted: AcceptedOrder, _: View) -> None:
    """Apply the order's settings; they return by themselves unless a second order commits them in the order's time.

    Raises:
        ProaError: as :meth:`proa.agent.settings.engine.Engine.apply`.
    """
    engine = Engine(context)
    document = parse_settings(accepted.order.settings)
    engine.require(document)
    amend(context, begun(accepted))
    engine.apply(document, accepted.limit)


def commit_settings(context: Context, accepted: AcceptedOrder, _: View) -> None:
    """Keep the settings that the order means.

    Raises:
        ProaError: ``NO_SETTINGS_TRIAL``.
    """
    Engine(context).commit(accepted.order.settings_hash)


def revert_settings(context: Context, accepted: AcceptedOrder, _: View) -> None:
    """Take back the settings that the order means.

    Raises:
        ProaError: ``NO_SETTINGS_TRIAL``, ``SETTINGS_FAILED``.
    """
    Engine(context).revert(accepted.order.settings_hash)


STEPS: Final[Mapping[OrderStep, Callable[[Context, AcceptedOrder, View], None]]] = {
    OrderStep.ARM: arm,
    OrderStep.DISARM: disarm,
    OrderStep.COMMIT: commit,
    OrderStep.ROLL_BACK: roll_back,
    OrderStep.CONFIGURE: configure,
    OrderStep.COMMIT_SETTINGS: commit_settings,
    OrderStep.REVERT_SETTINGS: revert_settings,
}
"""What each deed does that is done at once, under the lock."""


def begun(accepted: AcceptedOrder, slot: str = "") -> Amendment:
    """Mark an order as begun, in the record.

    Args:
        accepted: The order.
        slot: Where a rollback leads to.
    """

    def note(record: AgentRecord) -> AgentRecord:
        now = record.order
        if now is None or now.order.id != accepted.order.id:
            raise ProaError(Code.STALE_ORDER, f"another order has arrived after order {accepted.order.id}")
        return dataclasses.replace(record, order=dataclasses.replace(now, begun=True, slot=slot))

    return note


def begun_staging(digest: str) -> Amendment:
    """Mark whatever order wants this release to be staged as begun: it may have come after the install's start."""

    def note(record: AgentRecord) -> AgentRecord:
        now = record.order
        if now is None or now.order.action is not Action.STAGE or now.digest != digest:
            return record
        return dataclasses.replace(record, order=dataclasses.replace(now, begun=True))

    return note
