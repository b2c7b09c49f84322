"""How likely it is that something goes wrong on a node: the same seed gives the same fates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from proa.scheduler.simulation.behaviour import Fate


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

    def fate(self, node: str, digest: str) -> Fate:
        """What becomes of a release on a node; that its pods never leave has nothing to do with the release."""
        drawn = int.from_bytes(hashlib.blake2s(f"{self.seed} {node}".encode(), digest_size=8).digest()) / 2**64 * 100
        for share, fate in (
            (self.undrainable, Fate.UNDRAINABLE),
            (self.returns, Fate.RETURNS),
            (self.unfetched, Fate.UNFETCHED),
            (self.never_back, Fate.NEVER_BACK),
        ):
            if drawn < share:
                return fate
            drawn -= share
        return Fate.WELL
