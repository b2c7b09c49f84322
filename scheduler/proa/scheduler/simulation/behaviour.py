"""How nodes behave in a simulated cluster: how long things take there, and what becomes of a release."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass


class Fate(enum.Enum):
    """What becomes of a release on a node."""

    WELL = "well"
    RETURNS = "returns"
    """The trial comes back by itself."""
    UNFETCHED = "unfetched"
    """It cannot be fetched."""
    NEVER_BACK = "never-back"
    """The node does not come back from its reboot."""
    UNDRAINABLE = "undrainable"
    """Its pods never leave."""


@dataclass(frozen=True)
class Behaviour:
    """How long things take, in seconds, and what becomes of them.

    Attributes:
        fate: Of a release (its digest) on a node (its name).
    """

    report: float = 1.0
    stage: float = 60.0
    drain: float = 60.0
    boot: float = 90.0
    ready: float = 5.0
    trial: float = 600.0
    fate: Callable[[str, str], Fate] = lambda node, digest: Fate.WELL
