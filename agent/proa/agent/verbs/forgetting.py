"""``orders forget``: root's way out of an order book that refuses everything."""

from __future__ import annotations

import dataclasses

from proa.agent.node.bookkeeping import amend
from proa.agent.node.record import AgentRecord
from proa.agent.node.refused_order import save_refused
from proa.agent.node.reports import ForgottenOrder
from proa.agent.node.view import Context
from proa.agent.verbs.status import given_order


def forget(context: Context, *, dry_run: bool = False) -> ForgottenOrder:
    """Accept any order next, whatever its numbers. The last one is not started again, and continues if it is running.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL`` when that cannot be kept.
    """

    def note(record: AgentRecord) -> AgentRecord:
        if dry_run or record.order is None or record.order.forgotten:
            return record
        return dataclasses.replace(record, order=dataclasses.replace(record.order, forgotten=True))

    order = amend(context, note).order
    if not dry_run:
        save_refused(context.paths, None)
    return ForgottenOrder(given_order(order), dry_run)
