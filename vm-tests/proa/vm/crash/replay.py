"""A disk as it is at a crash point: read where it is needed, or written to a file whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.vm.crash.points import CrashPoint
from proa.vm.crash.writelog import SECTOR, LoggedWrite, WriteLog
from proa.vm.support.copies import copy_sparse

_CHUNK: Final = 1 << 20


class Replay:
    """Goes through the points of a log in their order.

    Args:
        image: A copy of the disk as it was when the log began; it is written to.
        log: What was written.
    """

    def __init__(self, image: Path, log: WriteLog) -> None:
        self.image = image
        self.log = log
        self.applied = 0
        self._file = image.open("r+b", buffering=0)

    def close(self) -> None:
        """Close the copy."""
        self._file.close()

    def advance(self, durable: int) -> tuple[LoggedWrite, ...]:
        """Write all entries before one to the copy; those that were not there yet."""
        fresh = tuple(self.log.entries[self.applied : durable])
        for entry in fresh:
            if entry.size:
                os.pwrite(self._file.fileno(), self.log.data(entry), entry.offset)
        self.applied = max(self.applied, durable)
        return fresh

    def pieces(self, point: CrashPoint, start: int = 0, end: int = sys.maxsize) -> Iterator[tuple[int, bytes]]:
        """What a point has beyond the copy, which has come to it: offsets and bytes, in order.

        Args:
            point: The point.
            start: Writes that touch no byte from here are left out,
            end: up to here.
        """
        for number in point.also:
            entry = self.log.entries[number]
            if entry.touches(start, end):
                yield entry.offset, self.log.data(entry)
        number, mask = point.torn
        if number >= 0 and self.log.entries[number].touches(start, end):
            entry = self.log.entries[number]
            data = self.log.data(entry)
            for sector in range(entry.sectors):
                if mask >> sector & 1:
                    yield entry.offset + sector * SECTOR, data[sector * SECTOR : (sector + 1) * SECTOR]

    def read(self, point: CrashPoint, offset: int, size: int) -> bytes:
        """Bytes of the disk at a point that the copy has come to."""
        found = bytearray(os.pread(self._file.fileno(), size, offset))
        for start, data in self.pieces(point, offset, offset + size):
            first, last = max(start, offset), min(start + len(data), offset + size)
            if first < last:
                found[first - offset : last - offset] = data[first - start : last - start]
        return bytes(found)

    def export(self, point: CrashPoint, target: Path) -> Path:
        """The whole disk at a point that the copy has come to, sparse."""
        copy_sparse(self.image, target)
        with target.open("r+b", buffering=0) as file:
            for start, data in self.pieces(point):
                os.pwrite(file.fileno(), data, start)
        return target
