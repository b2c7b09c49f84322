"""How much a change of settings disturbs a node's pods."""

from __future__ import annotations

import enum


class Disruption(enum.IntEnum):
    """From the least to the most."""

    NONE = 0
    """Nothing restarts."""
    RESTART = 1
    """A daemon restarts; pods keep running."""
    DRAIN = 2
    """Pods are moved away first."""
