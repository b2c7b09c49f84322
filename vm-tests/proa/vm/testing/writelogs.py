"""Logs of writes, made by hand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from proa.vm.crash.writelog import SECTOR

MAGIC: Final = 0x6A736677736872


def write_log(path: Path, *entries: tuple[int, int, int, bytes]) -> Path:
    """A log as the kernel's documentation describes it.

    Args:
        path: The file.
        entries: The first sector, the number of sectors and the flags of each, and its data.
    """
    parts = [struct.pack("<QQQI", MAGIC, 1, len(entries), SECTOR).ljust(SECTOR, b"\0")]
    for first, sectors, flags, data in entries:
        parts.append(struct.pack("<QQQQ", first, sectors, flags, 0).ljust(SECTOR, b"\0") + data)
    path.write_bytes(b"".join(parts))
    return path
