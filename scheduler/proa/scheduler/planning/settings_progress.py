"""Where a node that runs the release stands on its way to the settings of a rollout."""

from __future__ import annotations

from proa.core.orders.messages import Action, NodeStatus, Order, OrderResult, SettingsState
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.ordered import OVER_BADLY, result_of
from proa.scheduler.planning.settings_aim import SettingsAim
from proa.scheduler.planning.views import Mark


def settings_step(
    mark: Mark | None, order: Order | None, status: NodeStatus, aim: SettingsAim | None
) -> NodeStep | None:
    """Its step; none if it has the settings.

    Args:
        mark: Our mark on it.
        order: The last order, unless what became of it has been counted.
        status: What it says of itself.
        aim: What it is to be set to; none if that is left alone.
    """
    told = status.settings
    if aim is None:
        return None
    if told is None:
        return NodeStep.LEFT if mark is not None else NodeStep.UNSETTABLE
    if order is not None and (found := _ordered_step(order, status, told, aim)):
        return found
    if told.hash == aim.hash and not told.trial_hash:
        return None
    return NodeStep.READY if mark is None else NodeStep.DRAINING


def _ordered_step(order: Order, status: NodeStatus, told: SettingsState, aim: SettingsAim) -> NodeStep | None:
    """Of a node with an order about settings; none where it says nothing about these, or is over."""
    result = result_of(order, status)
    over = result in (OrderResult.DONE.value, *OVER_BADLY)
    if order.action is Action.REVERT_SETTINGS:
        return None if over else NodeStep.SETTING
    if order.action is Action.CONFIGURE and order.settings == aim.text:
        if not over:
            return NodeStep.SETTING
    elif order.action is Action.COMMIT_SETTINGS and order.settings_hash == aim.hash:
        if not over:
            return NodeStep.COMMITTING_SETTINGS
    else:
        return None
    if told.hash == aim.hash and not told.trial_hash:
        return None
    if result in OVER_BADLY:
        return NodeStep.FAILED_SETTINGS
    if told.trial_hash == aim.hash:
        return NodeStep.SETTINGS_TRIAL if order.action is Action.CONFIGURE else NodeStep.COMMITTING_SETTINGS
    return NodeStep.FAILED_SETTINGS if told.failed_hash == aim.hash else None
