"""What a node accepts, and which of its slots may be written. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import BootState, Slot


@dataclass(frozen=True)
class Policy:
    """What this node accepts.

    Attributes:
        compatible: The kind of node it is; empty accepts any.
        floor: The lowest serial that may be installed: the highest of the trust folder, the booted release and
            the record.
        deny: Manifest digests, root hashes and versions that are never installed.
    """

    compatible: str
    floor: int = 0
    deny: frozenset[str] = frozenset()

    def denied(self, *names: str) -> str:
        """The first of a release's names (manifest digest, root hash, version) that is on the deny list, or nothing."""
        return next((name for name in names if name in self.deny), "")


def choose_target(state: BootState, booted: Slot | None) -> Slot:
    """The slot that may be written: neither good nor booted.

    Raises:
        ProaError: ``SLOT_IN_USE`` when there is none.
    """
    target = state.good.other
    if booted is target:
        raise ProaError(
            Code.SLOT_IN_USE,
            f"slot {target.value} is booted and slot {state.good.value} is good, so neither may be written",
        )
    return target
