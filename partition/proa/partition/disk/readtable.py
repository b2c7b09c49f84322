"""Reads a partition table, by ``sfdisk --json``, and by ``partx`` for image files of 4096-byte sectors.

sfdisk 2.38 takes every file for a disk of 512-byte sectors; ``partx --sector-size`` reads the others as well. Both
check the checksums, and take the backup table where the primary is damaged.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import foreign, json_value
from proa.core.runtime.process import run
from proa.partition.disk import blockdev, gpt
from proa.partition.disk.layout import NAMES, SECTOR_SIZES, Layout, Partition

_LIMIT: Final = 60.0
"""Seconds that a table may take to be read."""
_FIRST: Final = 2
"""The first sector that may belong to a partition: behind the protective MBR and the header (UEFI 2.10, 5.3)."""
_DAMAGED: Final = "The table is damaged, or was made by hand: restore it, or write the image again."
_PARTX_SECTOR = 512
"""partx counts in this unit whatever the sector size."""


def read_layout(path: Path) -> Layout:
    """The layout that a disk or image file has.

    Raises:
        ProaError: ``NO_DISK`` when it has no partition table of Proa's, ``AMBIGUOUS`` when a name stands there
            twice, ``FILE_MISSING`` or ``DEVICE`` when it cannot be read.
    """
    size = blockdev.size_of(path)
    gpt.check_modest(path, size)
    layout = _by_sfdisk(path, size)
    if layout is None and not blockdev.is_device(path):
        layout = _by_partx(path, size)
    if layout is None:
        raise _no_table(path, size)
    check_names(layout, path)
    check_places(layout, path)
    return layout


def _no_table(path: Path, size: int) -> ProaError:
    for sector_size in SECTOR_SIZES:
        table_size = gpt.described_size(path, sector_size)
        if table_size > size:
            what = f"it has {size} bytes, but its partition table is for {table_size}"
            return ProaError(
                Code.NO_DISK, what, at=path, hint=("Check whether the image was truncated or the disk is too small.")
            )
        if table_size:
            what = f"its partition table is for sectors of {sector_size} bytes"
            return ProaError(Code.NO_DISK, what, at=path, hint="Write the image for this device's sector size.")
    return ProaError(Code.NO_DISK, "it has no GUID partition table", at=path)


def check_names(layout: Layout, at: object) -> None:
    """Check that a layout is Proa's: each name once, at its number.

    Raises:
        ProaError: ``NO_DISK`` or ``AMBIGUOUS``.
    """
    names = [partition.name for partition in layout.partitions]
    for number, name in enumerate(NAMES, 1):
        if names.count(name) > 1:
            raise ProaError(
                Code.AMBIGUOUS, f"two partitions are called {name}", at=at, hint=("Rename the one that is not Proa's.")
            )
        if name not in names:
            raise ProaError(Code.NO_DISK, f"there is no partition called {name}", at=at)
        if layout[name].number != number:
            what = f"{name} is partition {layout[name].number}, but must be number {number}"
            raise ProaError(Code.NO_DISK, what, at=at)


def check_places(layout: Layout, at: object) -> None:
    """Check that no partition reaches into another, or out of the disk: what is written to one stays in it.

    Raises:
        ProaError: ``NO_DISK``.
    """
    before = None
    for partition in sorted(layout.partitions, key=lambda one: one.start):
        name = partition.name or f"number {partition.number}"
        if partition.start < _FIRST * layout.sector_size or partition.size <= 0 or partition.end > layout.disk_size:
            raise ProaError(Code.NO_DISK, f"partition {name} is not within the disk", at=at, hint=_DAMAGED)
        if before and partition.start < before.end:
            what = f"partition {name} begins within partition {before.name or f'number {before.number}'}"
            raise ProaError(Code.NO_DISK, what, at=at, hint=_DAMAGED)
        before = partition


def _by_sfdisk(path: Path, size: int) -> Layout | None:
    result = run(["sfdisk", "--json", path], check=False, timeout=_LIMIT)
    if result.status != 0:
        return None
    with foreign(Code.NO_DISK, "its partition table cannot be read", path):
        return _from_sfdisk(json_value(result.text)["partitiontable"], size)


def _from_sfdisk(table: Mapping[str, Any], size: int) -> Layout | None:
    if table["label"] != "gpt":
        return None  # as a file of 4096-byte sectors looks: nothing but its protective MBR
    sector = table["sectorsize"]
    partitions = [
        Partition(
            number=_number(entry["node"], table["device"]),
            name=entry.get("name", ""),
            start=entry["start"] * sector,
            size=entry["size"] * sector,
            type_guid=entry["type"].lower(),
            guid=entry["uuid"].lower(),
            attributes=attributes(entry.get("attrs") or ""),
        )
        for entry in table.get("partitions", [])
    ]
    return Layout(sector, size, table["id"].lower(), tuple(partitions))


def _by_partx(path: Path, size: int) -> Layout | None:
    columns = "NR,START,SIZE,NAME,UUID,TYPE,FLAGS,SCHEME"
    words = ("partx", "--bytes", "--pairs", "--sector-size", "4096", "--output", columns)
    result = run([*words, path], check=False, timeout=_LIMIT)
    if result.status != 0:
        return None
    with foreign(Code.NO_DISK, "its partition table cannot be read", path):
        rows = [dict(word.split("=", 1) for word in shlex.split(line)) for line in result.text.splitlines()]
        return _from_partx(rows, path, size)


def _from_partx(rows: Sequence[Mapping[str, str]], path: Path, size: int) -> Layout | None:
    if not rows or any(row["SCHEME"] != "gpt" for row in rows):
        return None
    partitions = [
        Partition(
            number=int(row["NR"]),
            name=row["NAME"],
            start=int(row["START"]) * _PARTX_SECTOR,
            size=int(row["SIZE"]),
            type_guid=row["TYPE"],
            guid=row["UUID"],
            attributes=int(row["FLAGS"], 16),
        )
        for row in rows
    ]
    return Layout(4096, size, gpt.disk_guid(path, 4096), tuple(partitions))


def attributes(text: str) -> int:
    """Attribute bits from sfdisk's words, ``RequiredPartition GUID:48,60`` (sfdisk(8), ``attrs``)."""
    named = {"RequiredPartition": 0, "NoBlockIOProtocol": 1, "LegacyBIOSBootable": 2}
    bits = 0
    for word in text.replace("GUID:", "").replace(",", " ").split():
        bits |= 1 << (named[word] if word in named else int(word))
    return bits


def _number(node: str, device: str) -> int:
    """The partition's number from its node: ``/dev/nvme0n1p5`` of ``/dev/nvme0n1``."""
    return int(node.removeprefix(device).removeprefix("p").removeprefix("-part"))
