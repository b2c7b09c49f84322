"""What the verbs of ``proa-disk`` report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count, Hash, Positive
from proa.partition.boot.bootstate import BootState, Slot
from proa.partition.disk.contents import Content
from proa.partition.disk.kernelimage import KernelImage
from proa.partition.disk.layout import NAMES, Layout


class DiskReport(Report, schema="proa.disk/v1"):
    """A disk, as the verbs of `proa-disk` tell it."""


@dataclass(frozen=True)
class PartitionFacts(Part):
    """A partition."""

    number: Positive = field("From 1.")
    name: str = field("The partition's name, unique on the disk.", enum=list(NAMES))
    offset: Count = field("Bytes from the start of the disk.")
    size: Count = field("Bytes.")
    type: str = field("The GUID of its type.")
    guid: str = field("Its own GUID.")


@dataclass(frozen=True)
class HoldingPartition(PartitionFacts):
    """A partition, and what it holds."""

    holds: Content = field("What the partition contains.")


@dataclass(frozen=True)
class _Facts(Part):
    disk_size: Count = field("Size of the disk in bytes.")
    sector_size: Literal[512, 4096] = field("Bytes per logical sector.")
    guid: str = field("The disk's own GUID.")
    unallocated: Count = field("Bytes after the last partition.")
    grown: bool = field("Whether the first boot has grown PERSIST and given the disk its own GUIDs.")


@dataclass(frozen=True)
class PlannedDisk(_Facts, DiskReport):
    """`plan`, `create` and `grow`: a layout."""

    partitions: tuple[PartitionFacts, ...] = field("In order.")

    @classmethod
    def of(cls, layout: Layout) -> PlannedDisk:
        """What is told of a layout."""
        return cls(*facts(layout), tuple(PartitionFacts(*partition) for partition in partitions(layout)))


@dataclass(frozen=True)
class SlotContent(Part):
    """A slot."""

    holds: str = field("Whether both of its partitions contain something.", enum=["empty", "half", "filled"])
    uki: str = field("What `UKI-x` contains.")
    root: str = field("What `ROOT-x` contains.")
    release: KernelImage | None = field("What its kernel image says; null if there is none.", default=None)


@dataclass(frozen=True)
class BootedSlot(Part):
    """The slot that this machine runs from."""

    slot: Slot = field("The slot.")
    root_hash: Hash = field("Root hash of the verity device that is the root.")
    root_device: str = field("The partition under it.")
    loader_agrees: bool | None = field("Whether the firmware's variable names the same disk; null if there is none.")


@dataclass(frozen=True)
class StateCopies(Part):
    """The boot state (docs/reference/boot-state.md)."""

    counts: Positive | None = field("The copy in effect; null if none is valid.")
    copies: tuple[BootState | None, ...] = field("Both copies; null for an invalid one.")


@dataclass(frozen=True)
class ShownDisk(_Facts, DiskReport):
    """`show`: a disk as it is."""

    partitions: tuple[HoldingPartition, ...] = field("In order.")
    disk: str = field("The device or image file.")
    booted: BootedSlot | None = field("The slot that this machine runs.")
    slots: Mapping[Slot, SlotContent] = field("Both slots.")
    state: StateCopies = field("The boot state (docs/reference/boot-state.md).")


@dataclass(frozen=True)
class ResetDisk(DiskReport):
    """`reset`: what was emptied."""

    disk: str = field("The device or image file.")
    reset: str = field("The partition.", enum=["PERSIST"])
    size: Count = field("Its size in bytes.")
    when: str = field("`next-boot` for the disk that the machine runs from.", enum=["now", "next-boot"])
    dry_run: bool = field("Whether this was a dry run.")


@dataclass(frozen=True)
class RecoveryKey(DiskReport):
    """`recovery-key`: what opens an encrypted PERSIST without its TPM."""

    key: str = field("The key.")
    removed: bool = field("Whether it is no longer kept on the node.")


def facts(layout: Layout) -> tuple[int, Literal[512, 4096], str, int, bool]:
    """What is told of every layout."""
    sector: Literal[512, 4096] = 512 if layout.sector_size == 512 else 4096
    return layout.disk_size, sector, layout.disk_guid, layout.unallocated, layout.grown


def partitions(layout: Layout) -> tuple[tuple[int, str, int, int, str, str], ...]:
    """What is told of every partition."""
    return tuple((one.number, one.name, one.start, one.size, one.type_guid, one.guid) for one in layout.partitions)
