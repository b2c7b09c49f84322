"""Tables of other people's disks: huge claims end in an error before anything is read for them (faults s09)."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.partition.disk.layout import MIB, Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.readtable import check_places, read_layout
from proa.partition.disk.table import write_table

SMALL = Sizes(uki=MIB, root=MIB, persist=16 * MIB)
SIZE = 4 << 30
LAST = SIZE // 512 - 1


def header(own: int, other: int, count: int, size: int) -> bytes:
    """A header with a good checksum (UEFI 2.10, table 5.5)."""
    form = struct.Struct("<8sIIIIQQQQ16sQIII")
    fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, 1000, bytes(16), 2, count, size, 0]
    fields[3] = zlib.crc32(form.pack(*fields))
    return form.pack(*fields)


HUGE = [
    [(1, LAST, 16 << 20, 128)],
    [(1, LAST, 128, 1 << 30)],
    [(1, LAST, 0xFFFFFFFF, 0xFFFFFFFF)],
    [(LAST, 1, 16 << 20, 128)],
    [(1, 5000, 128, 128), (5000, 1, 16 << 20, 128)],
    [(1, 5000, 128, 128), (5000, 1, 16 << 20, 128), (LAST, 1, 128, 128)],
    [(1, 0xFFFFFFFFFFFFFFFF, 16 << 20, 128)],
]


@pytest.mark.parametrize("headers", HUGE)
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_s09_a_huge_table_is_refused_at_once(
    tmp_path: Path, headers: list[tuple[int, int, int, int]], sector_size: int
) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(SIZE * sector_size // 512)
        for one in headers:
            file.seek(one[0] * sector_size)
            file.write(header(*one))
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with pytest.raises(ProaError) as caught:
        read_layout(disk)
    assert caught.value.code is Code.NO_DISK
    assert "claims" in caught.value.message
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss == before, "no program has read it"


@pytest.mark.parametrize("place", [0, -1, 1 << 62])
def test_s09_a_header_that_leads_nowhere_is_no_matter(tmp_path: Path, place: int) -> None:
    """Our own table, and a stranger's word for where its other half is."""
    disk = tmp_path / "disk.raw"
    write_table(disk, plan(LayoutRequest("test", SMALL)))
    with disk.open("r+b") as file:
        file.seek(512 + 32)
        file.write((place % (1 << 64)).to_bytes(8, "little"))
    assert read_layout(disk)["PERSIST"].number == 7, "by the backup"


OURS = plan(LayoutRequest("test", SMALL))


def moved(name: str, **changes: Any) -> Layout:
    """Our table, with one partition elsewhere."""
    parts = tuple(replace(one, **changes) if one.name == name else one for one in OURS.partitions)
    return replace(OURS, partitions=parts)


def test_a_table_as_it_should_be_is_taken() -> None:
    check_places(OURS, "disk")


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (moved("ROOT-B", start=OURS["ROOT-A"].start), "begins within partition ROOT-A"),
        (moved("ROOT-B", start=OURS["ROOT-A"].end - 512), "ROOT-B begins within partition ROOT-A"),
        (moved("UKI-B", size=1 << 40), "UKI-B is not within the disk"),
        (moved("UKI-B", size=0), "UKI-B is not within the disk"),
        (moved("UKI-B", size=-512), "UKI-B is not within the disk"),
        (moved("BOOT", start=0), "BOOT is not within the disk"),
        (moved("BOOT", start=512), "BOOT is not within the disk"),
        (moved("PERSIST", start=1 << 70), "PERSIST is not within the disk"),
    ],
)
def test_s09_a_partition_that_reaches_into_another_or_out_of_the_disk_is_refused(layout: Layout, said: str) -> None:
    """An install would write over the good slot, or over the table."""
    with pytest.raises(ProaError, match=said) as caught:
        check_places(layout, "disk")
    assert caught.value.code is Code.NO_DISK


def test_s09_a_table_that_says_so_on_a_disk_is_refused_as_well(tmp_path: Path) -> None:
    """By both tables of the disk, with good checksums: sfdisk reads them without a word."""
    disk = tmp_path / "disk.raw"
    write_table(disk, OURS)
    data = bytearray(disk.read_bytes())
    last = len(data) // 512 - 1
    for place, entries in ((1, 2), (last, last - 32)):
        table, head = entries * 512, place * 512
        data[table + 5 * 128 + 32 : table + 5 * 128 + 48] = data[table + 4 * 128 + 32 : table + 4 * 128 + 48]
        struct.pack_into("<I", data, head + 88, zlib.crc32(data[table : table + 128 * 128]))
        struct.pack_into("<I", data, head + 16, 0)
        struct.pack_into("<I", data, head + 16, zlib.crc32(data[head : head + 92]))
    disk.write_bytes(data)
    with pytest.raises(ProaError, match="begins within partition ROOT-A"):
        read_layout(disk)
