"""The planner of the disk: which partition lies where. Pure; nothing here opens a file.

Every partition begins and ends on a whole MiB, and 20 KiB are kept for the backup table whatever the sector
size, so a disk of 512-byte sectors and one of 4096-byte sectors have the same layout, byte for byte.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import human_bytes
from proa.core.schema.model import Part, field
from proa.core.schema.values import Count, Positive
from proa.partition.boot.statefile import STATE_SIZE

MIB: Final = 1 << 20
"""The alignment of every partition's start and size, in bytes."""
SECTOR_SIZES: Final = (512, 4096)
"""Logical sector sizes that disks have, in bytes."""
NAMES: Final = ("BOOT", "STATE", "UKI-A", "UKI-B", "ROOT-A", "ROOT-B", "PERSIST")
"""The partitions in order; the first is number 1."""
MIN_BOOT: Final = 260 * MIB
"""FAT32 needs 65,525 clusters; at 4096-byte sectors that is a little more than 256 MiB."""
MIN_PERSIST: Final = 16 * MIB
"""Bytes below which ``PERSIST`` is no use to a node."""
BACKUP_SIZE: Final = 20 * 1024
"""Bytes kept at the end for the backup table: 16 KiB of entries and one header sector of up to 4096 bytes."""
MAX_DISK: Final = 1 << 50
"""Bytes (1 PiB) beyond which a disk is a slip of the pen; files are measured in 63 bits, and ext4 ends at 1 EiB."""

NAMESPACE: Final = uuid.UUID("1942908c-299c-5061-a660-8f2f65bf3d03")
"""Where the GUIDs of a disk are derived: ``uuid5(NAMESPACE, "<seed>/<name>")`` (RFC 9562, section 5.5)."""

_UKI_TYPE: Final = "9b27ff60-3061-5a94-b207-29b104627d58"
_ROOT_TYPE: Final = "87fe4d5c-c9af-5690-9024-f7506f76f902"
TYPE_GUIDS: Final[Mapping[str, str]] = {
    "BOOT": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    "STATE": "dfa8dfc8-8fc2-532b-a689-cf334ebc176f",
    "UKI-A": _UKI_TYPE,
    "UKI-B": _UKI_TYPE,
    "ROOT-A": _ROOT_TYPE,
    "ROOT-B": _ROOT_TYPE,
    "PERSIST": "0fc63daf-8483-4772-8e79-3d69d8477de4",
}
"""Partition types. ``BOOT`` is the EFI system partition (UEFI 2.10, table 5.7) and ``PERSIST`` a Linux file system.

The others are of types of our own. systemd's discoverable types are avoided on purpose: a second system, or
gpt-auto-generator, would take a slot for its root, mount it or check it.
"""

NOT_GROWN: Final = 1 << 48
"""The attribute of ``PERSIST`` that the factory sets and the first boot clears, in the same write of the table in
which it grows the partition and gives new GUIDs. Bits 48 to 63 belong to the partition's type (UEFI 2.10, table
5.6); systemd uses 59, 60 and 63 of this type's, nobody bit 48."""


@dataclass(frozen=True)
class Sizes:
    """What each partition is to have, in bytes; rounded up to whole MiB.

    Attributes:
        boot: ``BOOT``, at least :data:`MIN_BOOT`.
        state: ``STATE``, exactly :data:`STATE_SIZE`.
        uki: Each of ``UKI-A`` and ``UKI-B``.
        root: Each of ``ROOT-A`` and ``ROOT-B``: file system and verity tree.
        persist: ``PERSIST`` as it leaves the factory. ``None``: the rest of a disk of given size, else 256 MiB.
    """

    boot: int = MIN_BOOT
    state: int = STATE_SIZE
    uki: int = 64 * MIB
    root: int = 2048 * MIB
    persist: int | None = None

    def of(self, name: str) -> int | None:
        """The size asked for the partition ``name``."""
        sizes = {"BOOT": self.boot, "STATE": self.state, "UKI": self.uki, "ROOT": self.root, "PERSIST": self.persist}
        return sizes[name.removesuffix("-A").removesuffix("-B")]


@dataclass(frozen=True)
class LayoutRequest:
    """What is asked of the planner.

    Attributes:
        seed: All GUIDs are derived from it: equal seeds give equal disks.
        sizes: What each partition is to have.
        disk_size: Bytes of the disk; ``None`` for the smallest that holds everything.
        sector_size: Bytes of a logical sector, 512 or 4096.
    """

    seed: str
    sizes: Sizes = Sizes()
    disk_size: int | None = None
    sector_size: int = 512


@dataclass(frozen=True)
class Partition(Part):
    """A partition; its GUIDs are in lower case."""

    number: Positive = field("From 1.")
    name: str = field("The partition's name, unique on the disk.", enum=list(NAMES))
    start: Count = field("Bytes from the start of the disk.")
    size: Count = field("Bytes.")
    type_guid: str = field("The GUID of its type.")
    guid: str = field("Its own GUID.")
    attributes: Count = field("GPT's attribute bits.", default=0)

    @property
    def end(self) -> int:
        """The byte behind the last one."""
        return self.start + self.size


@dataclass(frozen=True)
class Layout:
    """A partitioned disk: sector and disk size in bytes, the disk's GUID, the partitions by number."""

    sector_size: int
    disk_size: int
    disk_guid: str
    partitions: tuple[Partition, ...]

    def __getitem__(self, name: str) -> Partition:
        for partition in self.partitions:
            if partition.name == name:
                return partition
        raise KeyError(name)

    @property
    def usable_end(self) -> int:
        """The byte up to which partitions may reach."""
        return usable_end(self.disk_size)

    @property
    def unallocated(self) -> int:
        """Bytes between the last partition and :attr:`usable_end`."""
        return max(0, self.usable_end - max(partition.end for partition in self.partitions))

    @property
    def grown(self) -> bool:
        """Whether the first boot has grown ``PERSIST`` and renamed the disk."""
        return not self["PERSIST"].attributes & NOT_GROWN


def usable_end(disk_size: int) -> int:
    """The byte up to which partitions may reach on a disk of ``disk_size`` bytes."""
    return max(0, disk_size - BACKUP_SIZE) // MIB * MIB


def round_up(size: int, step: int = MIB) -> int:
    """``size`` rounded up to a multiple of ``step`` (bytes)."""
    return -(-size // step) * step


def sizes_for(root: int, uki: int, *, boot: int = MIN_BOOT, persist: int | None = None) -> Sizes:
    """Sizes with head-room for the releases to come: half as much again as today's content.

    Args:
        root: Bytes of the root image and its verity tree together; at least 64 MiB are left free.
        uki: Bytes of the image of ``UKI-x``; at least 8 MiB are left free.
        boot: See :class:`Sizes`.
        persist: See :class:`Sizes`.
    """
    return Sizes(
        boot=boot,
        uki=round_up(max(uki + uki // 2, uki + 8 * MIB), 4 * MIB),
        root=round_up(max(root + root // 2, root + 64 * MIB), 16 * MIB),
        persist=persist,
    )


def derive_guid(seed: str, name: str) -> str:
    """The GUID of the disk (``name`` is ``disk``), of a partition, or of a file system, from one seed."""
    return str(uuid.uuid5(NAMESPACE, f"{seed}/{name}"))


def plan(request: LayoutRequest) -> Layout:
    """Lay out the disk.

    Raises:
        ProaError: ``LAYOUT``, with the size that is there and the one that is needed.
    """
    if request.sector_size not in SECTOR_SIZES:
        what = f"a sector size of {request.sector_size} bytes is not supported"
        possible = " or ".join(map(str, SECTOR_SIZES))
        raise ProaError(Code.LAYOUT, what, hint=f"Use a sector size of {possible} bytes.")
    if not request.seed:
        raise ProaError(Code.LAYOUT, "the seed of the GUIDs is empty", hint="Give a seed, such as the product's name.")
    sizes = {name: request.sizes.of(name) for name in NAMES}
    sizes["PERSIST"] = _persist_size(request)
    partitions, start = [], MIB
    for number, name in enumerate(NAMES, 1):
        size = round_up(_check_size(name, sizes[name] or 0))
        guid = derive_guid(request.seed, name)
        attributes = NOT_GROWN if name == "PERSIST" else 0
        partitions.append(Partition(number, name, start, size, TYPE_GUIDS[name], guid, attributes))
        start += size
    disk_size = start + MIB if request.disk_size is None else request.disk_size
    _check_disk(disk_size, start, request.sector_size)
    return Layout(request.sector_size, disk_size, derive_guid(request.seed, "disk"), tuple(partitions))


def grow(layout: Layout, disk_size: int, new_guid: Callable[[], str]) -> Layout:
    """What a boot makes of the table on a disk of ``disk_size`` bytes; ``proa-grow.sh`` does the same in the initrd.

    ``PERSIST`` reaches up to the next partition or the end of the disk. The first time, the disk and every partition of
    ours but ``BOOT`` get new GUIDs too (the firmware's boot entries name that of ``BOOT``), and :data:`NOT_GROWN` is
    cleared. Strangers' partitions stay as they are.

    Args:
        layout: The table as it is.
        disk_size: What the disk has now, in bytes.
        new_guid: Gives a new random GUID at each call.

    Raises:
        ProaError: ``LAYOUT``, when the disk is smaller than its table.
    """
    persist = layout["PERSIST"]
    if usable_end(disk_size) < persist.end:
        raise _does_not_fit("the table needs", persist.end + MIB, disk_size)
    size = max(persist.size, room_end(layout, disk_size) - persist.start)
    grown = dataclasses.replace(persist, size=size, attributes=persist.attributes & ~NOT_GROWN)
    partitions = [grown if partition is persist else partition for partition in layout.partitions]
    if layout.grown:
        return Layout(layout.sector_size, disk_size, layout.disk_guid, tuple(partitions))
    ours = frozenset(NAMES) - {"BOOT"}
    renamed = [dataclasses.replace(one, guid=new_guid().lower()) if one.name in ours else one for one in partitions]
    return Layout(layout.sector_size, disk_size, new_guid().lower(), tuple(renamed))


def room_end(layout: Layout, disk_size: int) -> int:
    """The byte up to which ``PERSIST`` may reach: the next partition, or where partitions end; a whole MiB."""
    start = layout["PERSIST"].start
    behind = [partition.start for partition in layout.partitions if partition.start > start]
    return min([usable_end(disk_size), *behind]) // MIB * MIB


def check_contents(layout: Layout, contents: Mapping[str, int]) -> None:
    """Check that content fits before anything is written.

    Args:
        layout: The disk.
        contents: Bytes for each partition that is filled.

    Raises:
        ProaError: ``TOO_LARGE``, with both sizes.
    """
    for name, size in contents.items():
        room = layout[name].size
        if size > room:
            raise ProaError(
                Code.TOO_LARGE,
                f"the content of {name} has {size} bytes ({human_bytes(size)}), but the partition has "
                f"{room} ({human_bytes(room)})",
                at=name,
                hint=(
                    f"Make the content smaller, or {name} larger, by {size - room} bytes ({human_bytes(size - room)})."
                ),
            )


def _persist_size(request: LayoutRequest) -> int:
    if request.sizes.persist is not None:
        return request.sizes.persist
    if request.disk_size is None:
        return 256 * MIB
    others = sum(round_up(request.sizes.of(name) or 0) for name in NAMES[:-1])
    return max(MIN_PERSIST, usable_end(request.disk_size) - MIB - others)


def _check_size(name: str, size: int) -> int:
    least = {"BOOT": MIN_BOOT, "STATE": STATE_SIZE, "PERSIST": MIN_PERSIST}.get(name, MIB)
    if size < least:
        raise ProaError(
            Code.LAYOUT,
            f"{name} has a size of {size} bytes ({human_bytes(size)}), but needs at least {least} "
            f"({human_bytes(least)})",
            at=name,
        )
    if name == "STATE" and size != STATE_SIZE:
        raise ProaError(Code.LAYOUT, f"STATE has a size of {size} bytes, but this layout needs {STATE_SIZE}", at=name)
    return size


def _check_disk(disk_size: int, end: int, sector_size: int) -> None:
    if disk_size > MAX_DISK:
        raise ProaError(Code.LAYOUT, f"a disk of {disk_size} bytes is larger than {MAX_DISK} ({human_bytes(MAX_DISK)})")
    if disk_size % sector_size:
        raise ProaError(Code.LAYOUT, f"{disk_size} bytes are not a multiple of the {sector_size}-byte sectors")
    if end > usable_end(disk_size):
        raise _does_not_fit("the partitions need", end + MIB, disk_size)


def _does_not_fit(what: str, needed: int, there: int) -> ProaError:
    short = needed - there
    return ProaError(
        Code.LAYOUT,
        f"{what} {needed} bytes ({human_bytes(needed)}), but the disk has {there} ({human_bytes(there)})",
        hint=f"Make the disk larger, or a partition smaller, by {short} bytes ({human_bytes(short)}).",
    )
