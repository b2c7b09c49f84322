"""What an install consists of, as it is planned, told and then done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proa.core.runtime.events import human_bytes
from proa.partition.boot.bootstate import Slot

WRITTEN_BLOBS: Final = ("tree", "root", "boot")
"""Blobs whose content goes into a slot, in the order in which it is written."""


@dataclass(frozen=True)
class Disarm:
    """Clear the trial and the fallback into the slot, before its first byte changes."""

    slot: Slot

    def __str__(self) -> str:
        return f"disarm slot {self.slot.value} in both copies of the boot state"


@dataclass(frozen=True)
class TakeBack:
    """The good slot's release was requested, so the trial of another one is withdrawn."""

    slot: Slot

    def __str__(self) -> str:
        return f"disarm slot {self.slot.value}"


@dataclass(frozen=True)
class Write:
    """Fetch, verify, write and read back one blob's content."""

    slot: Slot
    blob: str
    """One of :data:`WRITTEN_BLOBS`."""
    size: int
    """Bytes in the slot."""
    fetch: int
    """Bytes from the registry."""
    copy: int = 0
    """Bytes of the content that come from the good slot."""
    keep: int = 0
    """Bytes of the content that stand in their places already."""
    avoid: int = 0
    """Zeros of the content that the device made itself."""

    def __str__(self) -> str:
        where = self.slot.uki_name if self.blob == "boot" else self.slot.root_name
        parts = [f"fetching {human_bytes(self.fetch)}"]
        parts += [f"copying {human_bytes(self.copy)}"] if self.copy else []
        parts += [f"keeping {human_bytes(self.keep)}"] if self.keep else []
        return f"write {self.blob} to {where}: {human_bytes(self.size)}, {', '.join(parts)}"


@dataclass(frozen=True)
class Keep:
    """The slot already holds this release completely: leave it."""

    slot: Slot
    size: int

    def __str__(self) -> str:
        return f"keep slot {self.slot.value}, which already holds this release: {human_bytes(self.size)}"


@dataclass(frozen=True)
class Complete:
    """Record that the slot holds the complete release."""

    slot: Slot

    def __str__(self) -> str:
        return f"record slot {self.slot.value} as complete"


@dataclass(frozen=True)
class Arm:
    """Carry /etc over and let the next boot try the slot."""

    slot: Slot
    tries: int

    def __str__(self) -> str:
        return f"arm slot {self.slot.value} for {self.tries} attempts"


@dataclass(frozen=True)
class Reboot:
    """Reboot in order."""

    def __str__(self) -> str:
        return "reboot"


Action = Disarm | TakeBack | Write | Keep | Complete | Arm | Reboot
