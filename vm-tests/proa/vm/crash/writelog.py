"""The writes of a disk in the order in which they were done, as QEMU's filter ``blklogwrites`` records them.

The format is that of dm-log-writes (Linux, Documentation/admin-guide/device-mapper/log-writes.rst): a superblock, then
for each request a header of one sector, and its data if it has some. Numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError

SECTOR: Final = 512
_MAGIC: Final = 0x6A736677736872
_SUPER: Final = struct.Struct("<QQQI")
_ENTRY: Final = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD = 1, 2, 4


@dataclass(frozen=True)
class LoggedWrite:
    """One request.

    Attributes:
        offset: The first byte of the disk.
        size: Bytes; 0 for a flush alone.
        flushes: Whether all that was done before it is on the medium once it is done.
        lasting: Whether its own bytes are (FUA).
        discards: Whether it has no data: its bytes are of no use any more.
        at: Where its data begin in the log.
    """

    offset: int
    size: int
    flushes: bool
    lasting: bool
    discards: bool
    at: int

    @property
    def sectors(self) -> int:
        """How many of 512 bytes it writes."""
        return self.size // SECTOR

    def touches(self, start: int, end: int) -> bool:
        """Whether it changes a byte from ``start`` up to ``end``."""
        return self.size > 0 and self.offset < end and start < self.offset + self.size


class WriteLog:
    """A log, as far as it goes.

    Args:
        path: The file; it may grow still.

    Raises:
        ProaError: ``DEVICE`` when it is no such log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            head = file.read(_SUPER.size)
            if len(head) < _SUPER.size or head[:8] != _MAGIC.to_bytes(8, "little"):
                raise ProaError(Code.DEVICE, "this is no log of writes", at=path)
            _, version, count, sector = _SUPER.unpack(head)
            if (version, sector) != (1, SECTOR):
                raise ProaError(Code.DEVICE, f"a log of version {version}, with sectors of {sector} bytes", at=path)
            self.entries: Sequence[LoggedWrite] = tuple(self._read(file.fileno(), count))

    @staticmethod
    def count(path: Path) -> int:
        """How many entries a log has by its superblock; 0 for one that has not begun."""
        with path.open("rb") as file:
            head = file.read(_SUPER.size)
        return int(_SUPER.unpack(head)[2]) if len(head) == _SUPER.size else 0

    def data(self, entry: LoggedWrite) -> bytes:
        """What was written; zeroes for a discard, which a disk may give."""
        if entry.discards:
            return bytes(entry.size)
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), entry.size, entry.at)

    def _read(self, handle: int, count: int) -> list[LoggedWrite]:
        found: list[LoggedWrite] = []
        at = SECTOR
        for _ in range(count):
            header = os.pread(handle, _ENTRY.size, at)
            if len(header) < _ENTRY.size:
                raise ProaError(Code.DEVICE, f"the log ends in entry {len(found)} of {count}", at=self.path)
            sector, sectors, flags, _ = _ENTRY.unpack(header)
            at += SECTOR
            discards = bool(flags & _DISCARD)
            size = sectors * SECTOR
            found.append(LoggedWrite(sector * SECTOR, size, bool(flags & _FLUSH), bool(flags & _FUA), discards, at))
            at += 0 if discards else size
        return found
