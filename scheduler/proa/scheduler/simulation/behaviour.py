"""How nodes behave in a simulated cluster: how long things take there, what becomes of a release, and how likely."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass


class NodeFate(enum.Enum):
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
        settle: Until settings are in effect.
        fate: Of a release (its digest), or of settings (their hash), on a node (its name).
    """

    report: float = 1.0
    stage: float = 60.0
    drain: float = 60.0
    boot: float = 90.0
    ready: float = 5.0
    trial: float = 600.0
    settle: float = 5.0
    fate: Callable[[str, str], NodeFate] = lambda node, digest: NodeFate.WELL


@dataclass(frozen=True)
class Chances:
    """Shares of nodes, in percent; a node is of one of them at most.

    Attributes:
        returns: On which the trial comes back by itself.
        unfetched: That cannot fetch the release.
        undrainable: Whose pods never leave.
        never_back: That do not come back from their reboot.
        seed: Another one gives other nodes these fates.
    """

    returns: float = 0.0
    unfetched: float = 0.0
    undrainable: float = 0.0
    never_back: float = 0.0
    seed: int = 0

    def fate(self, node: str, digest: str) -> NodeFate:
        """What becomes of a release on a node; that its pods never leave has nothing to do with the release."""
        drawn = int.from_bytes(hashlib.blake2s(f"{self.seed} {node}".encode(), digest_size=8).digest()) / 2**64 * 100
        for fate in (NodeFate.UNDRAINABLE, NodeFate.RETURNS, NodeFate.UNFETCHED, NodeFate.NEVER_BACK):
            drawn -= getattr(self, fate.name.lower())
            if drawn < 0:
                return fate
        return NodeFate.WELL
