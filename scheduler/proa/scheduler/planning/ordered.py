"""What became of a node's last order."""

from __future__ import annotations

from typing import Final

from proa.core.orders.messages import Action, NodeStatus, Order, OrderResult
from proa.scheduler.planning.views import NodeOSView

SETTINGS: Final = frozenset({Action.CONFIGURE, Action.COMMIT_SETTINGS, Action.REVERT_SETTINGS})
"""Orders about settings."""
OVER_BADLY: Final = frozenset({OrderResult.REFUSED.value, OrderResult.FAILED.value})
"""Results of orders that came to nothing."""


def result_of(order: Order, status: NodeStatus | None) -> str:
    """What became of an order; empty as long as the node has not seen it."""
    observed = status.observed_order if status else None
    return observed.result if observed and observed.id == order.id else ""


def is_reboot_out(os: NodeOSView) -> bool:
    """Whether an order to reboot is out that has not ended: it holds a place, whatever became of the mark."""
    order = os.order
    if order is None or order.action not in (Action.BOOT, Action.ROLLBACK):
        return False
    if os.record is not None and os.record.order >= order.id:
        return False
    return result_of(order, os.status) in ("", OrderResult.RUNNING.value)


def is_untaken(os: NodeOSView) -> bool:
    """Whether an order to reboot stands there that the node has not taken up: it may do so at any time."""
    order = os.order
    return order is not None and order.action in (Action.BOOT, Action.ROLLBACK) and not result_of(order, os.status)


def is_setting_out(os: NodeOSView) -> bool:
    """Whether settings are being applied or tried by our order: daemons of the node may restart at any time."""
    order = os.order
    if order is None or order.action not in SETTINGS or (os.record is not None and os.record.order >= order.id):
        return False
    if result_of(order, os.status) in ("", OrderResult.RUNNING.value):
        return True
    return os.status is not None and os.status.settings is not None and bool(os.status.settings.trial_hash)


def is_disturbed(os: NodeOSView) -> bool:
    """Whether an order of ours reboots it, or restarts its daemons, at any time: it holds a place."""
    return is_reboot_out(os) or is_setting_out(os)
