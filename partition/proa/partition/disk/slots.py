"""Where the partitions of a disk are, and which slot this node is booted from.

On a node the answer comes from what the kernel does, never from a label alone: ``/dev/mapper/proa-root`` by its
device number, the partition below it, the disk of that partition, and the names in the table of that one disk. A
second disk with the same image, the same names and the same GUIDs changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot
from proa.partition.disk import blockdev
from proa.partition.disk.layout import Layout
from proa.partition.disk.readtable import read_layout
from proa.partition.disk.system import Block, System

ROOT_MAPPING: Final = "proa-root"
"""The device mapper's name for the verified root; the initrd makes it."""
_PERSIST_MAPPING: Final = "proa-persist"
"""The same for an encrypted PERSIST that is open."""


@dataclass(frozen=True)
class Extent:
    """A run of bytes: ``size`` bytes from ``offset`` in a device or image file.

    Attributes:
        number: The device's number, ``major:minor``; empty for an image file, and where nobody asked.
    """

    path: Path
    offset: int
    size: int
    number: str = ""


@dataclass(frozen=True)
class Disk:
    """A disk with Proa's layout: device or image file, sector size in bytes, where each partition lies.

    Attributes:
        path: The whole disk.
        sector_size: Bytes of a logical sector.
        partitions: By name; on a node each has its own device, in an image an offset.
        layout: The whole table, where it was read.
    """

    path: Path
    sector_size: int
    partitions: Mapping[str, Extent]
    layout: Layout | None = None


@dataclass(frozen=True)
class Evidence:
    """Why a slot is taken for the booted one.

    Attributes:
        root_device: The partition below the root, ``/dev/vda5``.
        root_number: Its device number, ``254:5``.
        table_hash: The root hash in the running device-mapper table; empty where dmsetup is not installed.
        loader_guid: The partition that the UKI was loaded from, by EFI variable; empty when there is none.
        loader_agrees: Whether that is the booted slot's ``UKI-x``. ``None`` when this disk has no such partition, as
            after the first boot, which gives new GUIDs. A cross-check, never a reason.
    """

    root_device: Path
    root_number: str
    table_hash: str = ""
    loader_guid: str = ""
    loader_agrees: bool | None = None


@dataclass(frozen=True)
class Node:
    """The disk that counts, the slot that is booted from it, and why.

    Attributes:
        disk: The disk.
        booted: ``None`` for a disk that is not the one this machine runs from.
        root_hash: Of the running root, in hexadecimal; empty when nothing is booted from the disk.
        evidence: ``None`` when nothing is booted from the disk.
        encrypted: Whether PERSIST is; only known of the disk that is booted.
    """

    disk: Disk
    booted: Slot | None = None
    root_hash: str = ""
    evidence: Evidence | None = field(default=None)
    encrypted: bool = False


def open_image(path: Path) -> Disk:
    """The disk in an image file, or a device that this machine does not run from (``--disk``).

    Raises:
        ProaError: ``NO_DISK``, ``AMBIGUOUS``, ``FILE_MISSING`` or ``DEVICE``.
    """
    layout = read_layout(path)
    number = blockdev.number_of(path)
    extents = {one.name: Extent(path, one.start, one.size, number) for one in layout.partitions}
    return Disk(path, layout.sector_size, extents, layout)


def discover(system: System | None = None) -> Node:
    """The disk and the slot that this machine runs from.

    Args:
        system: What the kernel says; the running machine if none is given.

    Raises:
        ProaError: ``NO_DISK`` when this is not a node of Proa's, or its disk is not as it must be; ``AMBIGUOUS`` when
            two answers are possible.
    """
    system = system or _running_system()
    signed = _signed_root_hash(system.cmdline())
    partition = _root_partition(system)
    disk = _disk(system, partition)
    booted = _slot(disk, partition)
    running = _check_hash(system.mapping_table(ROOT_MAPPING), signed)
    loader = system.loader_partition()
    evidence = Evidence(partition.node, partition.number, running, loader, _loader_agrees(disk, booted, loader))
    return Node(disk, booted, signed, evidence, system.mapping(_PERSIST_MAPPING) is not None)


def _running_system() -> System:
    from proa.partition.disk.kernel import KernelSystem  # only here, so that a builder needs no pyudev

    return KernelSystem()


def _signed_root_hash(cmdline: str) -> str:
    values = {word.removeprefix("proa.root_hash=") for word in cmdline.split() if word.startswith("proa.root_hash=")}
    if len(values) != 1:
        what = "more than one proa.root_hash" if values else "no proa.root_hash"
        code = Code.AMBIGUOUS if values else Code.NO_DISK
        raise ProaError(code, f"the kernel command line has {what}", at="/proc/cmdline", hint=_HINT)
    return values.pop().lower()


_HINT: Final = "Name a disk or an image file: this machine did not boot from a release."


def _root_partition(system: System) -> Block:
    at = f"/dev/mapper/{ROOT_MAPPING}"
    number = system.mapping(ROOT_MAPPING)
    if number is None:
        raise ProaError(Code.NO_DISK, "there is no verified root", at=at, hint=_HINT)
    slaves = system.slaves(number)
    if len(slaves) != 1:
        code = Code.AMBIGUOUS if slaves else Code.NO_DISK
        raise ProaError(code, f"the verified root is on {len(slaves)} devices instead of one", at=at)
    block = system.block(slaves[0])
    if block.disk is None:
        raise ProaError(Code.NO_DISK, f"the verified root is on {block.node}, which is not a partition", at=at)
    return block


def _disk(system: System, root: Block) -> Disk:
    """The disk of the root's partition: names from its own table, devices from the kernel, both checked to agree."""
    disk = system.block(root.disk or "")
    layout = read_layout(disk.node)
    known = {block.index: block for block in system.partitions(disk.number)}
    extents = {}
    for partition in layout.partitions:
        block = known.get(partition.number)
        if block is None or (block.start, block.size) != (partition.start, partition.size):
            what = f"the kernel's partition {partition.number} ({partition.name}) is not where the table says"
            raise ProaError(Code.NO_DISK, what, at=disk.node, hint="Reboot, so that the kernel reads the table again.")
        extents[partition.name] = Extent(block.node, 0, partition.size, block.number)
    return Disk(disk.node, layout.sector_size, extents, layout)


def _slot(disk: Disk, root: Block) -> Slot:
    for slot in Slot:
        if disk.layout is not None and disk.layout[slot.root_name].number == root.index:
            return slot
    raise ProaError(Code.NO_DISK, f"the verified root is on {root.node}, which is not a slot", at=disk.path)


def _check_hash(table: str, signed: str) -> str:
    """The root hash of a device-mapper verity table (Linux, admin-guide/device-mapper/verity), if there is one."""
    words = table.split()
    if not words:
        return ""
    if len(words) < 12 or words[2] != "verity":
        raise ProaError(Code.NO_DISK, "the root is not verified", at=f"/dev/mapper/{ROOT_MAPPING}")
    running = words[11].lower()
    if running != signed:
        what = f"the running root has the hash {running}, but the signed command line says {signed}"
        raise ProaError(Code.AMBIGUOUS, what, at=f"/dev/mapper/{ROOT_MAPPING}", hint="Reboot the node.")
    return running


def _loader_agrees(disk: Disk, booted: Slot, guid: str) -> bool | None:
    if not guid or disk.layout is None or guid not in {partition.guid for partition in disk.layout.partitions}:
        return None
    return disk.layout[booted.uki_name].guid == guid
