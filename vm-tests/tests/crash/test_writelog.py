"""The log of writes, as QEMU itself makes it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.crash.writelog import SECTOR, LoggedWrite, WriteLog
from proa.vm.testing.writelogs import MAGIC, write_log


def test_writes_flushes_and_discards_are_told_apart(tmp_path: Path) -> None:
    data = os.urandom(2 * SECTOR)
    found = WriteLog(
        write_log(tmp_path / "log", (8, 2, 0, data), (0, 0, 1, b""), (4, 4, 4, b""), (1, 1, 2, data[:SECTOR]))
    )
    written, flushed, discarded, lasting = found.entries
    assert (written.offset, written.size, written.flushes, written.lasting) == (8 * SECTOR, 2 * SECTOR, False, False)
    assert found.data(written) == data
    assert (flushed.size, flushed.flushes) == (0, True)
    assert discarded.discards
    assert found.data(discarded) == bytes(4 * SECTOR)
    assert lasting.lasting
    assert found.data(lasting) == data[:SECTOR]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no log"),
        (b"something else".ljust(SECTOR), "no log"),
        (struct.pack("<QQQI", MAGIC, 2, 0, SECTOR).ljust(SECTOR), "version 2"),
        (struct.pack("<QQQI", MAGIC, 1, 0, 4096).ljust(SECTOR), "4096"),
        (struct.pack("<QQQI", MAGIC, 1, 3, SECTOR).ljust(SECTOR), "ends in entry 0 of 3"),
    ],
)
def test_what_is_no_such_log_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(ProaError, match=says) as caught:
        WriteLog(tmp_path / "log")
    assert caught.value.code is Code.DEVICE


@pytest.mark.parametrize(("start", "end", "touched"), [(0, 4, False), (0, 5, True), (8, 9, False), (7, 9, True)])
def test_a_write_touches_the_bytes_that_it_changes(start: int, end: int, touched: bool) -> None:
    assert LoggedWrite(4, 4, False, False, False, 0).touches(start, end) is touched
    assert not LoggedWrite(4, 0, True, False, False, 0).touches(start, end)
