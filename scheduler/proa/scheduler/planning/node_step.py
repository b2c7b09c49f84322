"""The steps of a node on its way to what a rollout wants."""

from __future__ import annotations

import enum
from typing import Final


class NodeStep(enum.StrEnum):
    """A node's step; the value is a sentence."""

    NEW = "It has no NodeOS yet."
    RECREATED = "Its NodeOS belongs to a deleted node of the same name."
    SILENT = "Its agent has never reported."
    FOREIGN = "It runs a trial that Proa did not order."
    REACHED = "It runs the target release, with the settings of the rollout."
    FINISHING = "It runs the target release, and still has Proa's mark."
    TO_STAGE = "It has to fetch the release."
    STAGING = "It is fetching the release."
    READY = "It can start: it holds the target release, in its standby slot or with other settings."
    NOWHERE = "It should roll back, but there is nothing to go back to."
    DRAINING = "It has Proa's mark, but no order to reboot yet."
    BOOTING = "It has the order to reboot."
    TRIAL = "It runs the release on trial."
    COMMITTING = "It has the order to commit."
    FAILED_STAGING = "It could not fetch the release; this has not been counted yet."
    FAILED_BOOT = "It did not reboot as ordered; this has not been counted yet."
    RETURNED = "Its trial returned; this has not been counted yet."
    RECALL = "It has not accepted an order to reboot that was given up and still stands."
    LEFT = "It has Proa's mark from an attempt that is over."
    UNSETTABLE = "It runs the target release, whose agent cannot be configured."
    SETTING = "It has the order to apply the settings."
    SETTINGS_TRIAL = "It has the settings on trial."
    COMMITTING_SETTINGS = "It has the order to commit the settings."
    FAILED_SETTINGS = "The settings were reverted; this has not been counted yet."


UNDER_WAY: Final = frozenset(
    {
        NodeStep.DRAINING,
        NodeStep.BOOTING,
        NodeStep.TRIAL,
        NodeStep.COMMITTING,
        NodeStep.FINISHING,
        NodeStep.FAILED_BOOT,
        NodeStep.RETURNED,
        NodeStep.RECALL,
        NodeStep.LEFT,
        NodeStep.SETTING,
        NodeStep.SETTINGS_TRIAL,
        NodeStep.COMMITTING_SETTINGS,
        NodeStep.FAILED_SETTINGS,
    }
)
"""Steps of a node between its cordon and its uncordon, or its first order about settings and their commit."""
TO_START: Final = (NodeStep.TO_STAGE, NodeStep.STAGING, NodeStep.READY)
"""Steps of a node that has yet to be cordoned."""
BEGUN: Final = UNDER_WAY | {NodeStep.REACHED}
"""Steps that show that the rollout has disturbed nodes already."""
