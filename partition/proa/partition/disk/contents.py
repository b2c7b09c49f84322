"""What a partition holds, told by its first bytes; and filling a partition from a file."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import human_bytes
from proa.core.runtime.files import os_errors
from proa.core.schema.model import Part, field
from proa.core.schema.values import Count
from proa.partition.disk.slots import Extent

_PROBED: Final = 64 * 1024
"""Bytes from the start of a partition that are looked at."""
_COPY: Final = 1 << 20


@dataclass(frozen=True)
class Content(Part):
    """What was found in a partition."""

    kind: str = field("The kind of content.", enum=["empty", "fat", "erofs", "ext4", "unknown"])
    size: Count | None = field("Size of the file system in bytes, if it records one.", default=None)
    name: str = field("Its label or UUID, if it has one.", default="")

    def __str__(self) -> str:
        size = human_bytes(self.size) if self.size is not None else ""
        return " ".join(word for word in (self.kind, size, self.name) if word)


def probe(extent: Extent) -> Content:
    """Tell what a partition holds.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(extent.path), extent.path.open("rb") as file:
        file.seek(extent.offset)
        head = file.read(min(_PROBED, extent.size)).ljust(_PROBED, b"\0")
    for look in (_erofs, _ext4, _fat):
        content = look(head)
        if content:
            return content
    return Content("unknown" if head.strip(b"\0") else "empty")


def _erofs(head: bytes) -> Content | None:
    """See linux/fs/erofs/erofs_fs.h, ``struct erofs_super_block`` at byte 1024."""
    magic, bits, blocks = struct.unpack_from("<I8xB23xI", head, 1024)
    if magic != 0xE0F5E1E2:
        return None
    return Content("erofs", blocks << bits, head[1024 + 64 : 1024 + 80].rstrip(b"\0").decode(errors="replace"))


def _ext4(head: bytes) -> Content | None:
    """See Linux, filesystems/ext4/globals, "Super Block" at byte 1024."""
    low, bits = struct.unpack_from("<4xI16xI", head, 1024)
    (magic,) = struct.unpack_from("<H", head, 1024 + 0x38)
    (high,) = struct.unpack_from("<I", head, 1024 + 0x150)
    if magic != 0xEF53:
        return None
    return Content(
        "ext4",
        (high << 32 | low) << (10 + bits),
        head[1024 + 0x78 : 1024 + 0x88].rstrip(b"\0").decode(errors="replace"),
    )


def _fat(head: bytes) -> Content | None:
    """See the FAT specification, "Boot Sector and BPB"."""
    if head[510:512] != b"\x55\xaa" or not (head[54:57] == b"FAT" or head[82:87] == b"FAT32"):
        return None
    sector, small, large = struct.unpack_from("<11xH6xH11xI", head)
    label = head[71:82] if head[82:87] == b"FAT32" else head[43:54]
    return Content("fat", sector * (small or large), label.decode(errors="replace").strip())


def fill(extent: Extent, source: Path) -> None:
    """Put a file's bytes at the start of a partition; what lies behind them stays as it is.

    Raises:
        ProaError: ``TOO_LARGE`` with both sizes, ``FILE_MISSING``, ``DEVICE``, ``DISK_FULL``.
    """
    with os_errors(source), source.open("rb") as content:
        size = content.seek(0, 2)
        if size > extent.size:
            what = f"{source.name} has {size} bytes ({human_bytes(size)}), "
            what += f"the partition has {extent.size} ({human_bytes(extent.size)})"
            raise ProaError(Code.TOO_LARGE, what, at=source)
        content.seek(0)
        with os_errors(extent.path), extent.path.open("r+b") as target:
            target.seek(extent.offset)
            _copy(content, target)


def _copy(content: BinaryIO, target: BinaryIO) -> None:
    """Copy, writing only what differs: holes stay holes."""
    while chunk := content.read(_COPY):
        place = target.tell()
        if target.read(len(chunk)) != chunk:
            target.seek(place)
            target.write(chunk)
    target.flush()
    os.fsync(target.fileno())
