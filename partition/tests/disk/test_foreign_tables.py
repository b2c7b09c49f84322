"""Tables of other people's disks: huge claims end in an error before anything is read for them (faults s09)."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.partition.disk.layout import MIB, LayoutRequest, Sizes, plan
from proa.partition.disk.readtable import read_layout
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
