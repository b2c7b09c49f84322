"""What a slot holds, as its kernel image says it: name, version and root hash, out of the sections of the signed file.

Nothing is verified here: this tells a person what lies on a disk.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from proa.core.runtime.errors import ProaError
from proa.core.runtime.files import os_errors
from proa.core.schema.model import Part, field
from proa.partition.disk.fatfile import Fat
from proa.partition.disk.slots import Extent

UKI_PATH: Final = "/EFI/proa/uki.efi"
"""Where the kernel image lies in the FAT of ``UKI-x``."""
_MOST: Final = 64 << 20
"""Bytes of the file within which the small sections must lie."""
_SECTIONS: Final = 96
"""Sections that a file of this kind may have (PE format specification)."""
_WORD: Final = 200


@dataclass(frozen=True)
class KernelImage(Part):
    """A kernel image."""

    name: str = field("The product line.", default="")
    version: str = field("Of the release.", default="")
    root_hash: str = field("The root hash that it boots.", default="")


def read_kernel_image(extent: Extent) -> KernelImage | None:
    """What the kernel image in a partition says; none where there is none that can be read.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(extent.path), extent.path.open("rb") as file:
        try:
            sections = _sections(_File(file, extent))
        except (ProaError, struct.error):
            return None
    release = dict(line.partition("=")[::2] for line in sections.get(".osrel", "").splitlines())
    found = re.search(r"(?:^|\s)proa\.root_hash=([0-9a-f]{64})(?:\s|$)", sections.get(".cmdline", ""))
    name, version = (release.get(key, "").strip('"')[:_WORD] for key in ("IMAGE_ID", "IMAGE_VERSION"))
    image = KernelImage(name, version, found[1] if found else "")
    return image if image != KernelImage() else None


class _File:
    """The beginning of the kernel image, read as far as it is asked for."""

    def __init__(self, file: BinaryIO, extent: Extent) -> None:
        def read(offset: int, size: int) -> bytes:
            file.seek(extent.offset + offset)
            return file.read(size)

        self._chunks: Iterator[bytes] = Fat(read, extent.size).chunks(UKI_PATH)
        self._data = bytearray()

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of it; fewer where it ends, and none beyond what is looked at."""
        end = min(offset + size, _MOST)
        while len(self._data) < end and (chunk := next(self._chunks, b"")):
            self._data += chunk
        return bytes(self._data[offset:end])


def _sections(file: _File) -> dict[str, str]:
    """The texts of the small sections, by name (PE format specification, "COFF File Header", "Section Table")."""
    (start,) = struct.unpack("<I", file.read(0x3C, 4))
    head = file.read(start, 24)
    count, optional = struct.unpack_from("<H12xH", head, 6)
    found = {}
    for number in range(min(count, _SECTIONS) if head[:4] == b"PE\0\0" else 0):
        raw = file.read(start + 24 + optional + 40 * number, 40)
        title, used, _, stored, place = struct.unpack_from("<8sIIII", raw)
        name = title.rstrip(b"\0").decode("ascii", "replace")
        if name in (".osrel", ".cmdline") and min(used, stored) <= 1 << 16:
            found[name] = file.read(place, min(used, stored)).rstrip(b"\0").decode("utf-8", "replace")
    return found
