"""The few fields of a GUID partition table that libparted 3.5 cannot set: GUIDs, types and attributes.

pyparted writes the table; this puts the planned GUIDs into both of its copies and mends the checksums. Formats:
UEFI specification 2.10, sections 5.3.2 (header, table 5.5) and 5.3.3 (entries, table 5.6).
"""

from __future__ import annotations

import dataclasses
import os
import struct
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.partition.disk.layout import Layout, Partition

PRIMARY_LBA: Final = 1
"""The sector of the primary header."""
_SIGNATURE: Final = b"EFI PART"
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ")
_MAX_COUNT: Final = 1024
"""Entries, and bytes of one, beyond which a table is not read."""
_MAX_ENTRIES: Final = 1 << 16
"""Bytes of an entry array beyond which it is not a table of ours: four times the usual 128 entries."""


@dataclass(frozen=True)
class Header:
    """A header, field by field in the order of table 5.5; places are sector numbers."""

    signature: bytes
    revision: int
    header_size: int
    header_crc: int
    reserved: int
    own_lba: int
    other_lba: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    entries_lba: int
    entry_count: int
    entry_size: int
    entries_crc: int

    def encode(self) -> bytes:
        """The header's 92 bytes, its own checksum mended."""
        fields = dataclasses.astuple(dataclasses.replace(self, header_size=_HEADER.size, header_crc=0))
        crc = zlib.crc32(_HEADER.pack(*fields))
        return _HEADER.pack(*fields[:3], crc, *fields[4:])


def decode(sector: bytes) -> Header | None:
    """The header in a sector; ``None`` when the sector holds no whole one."""
    header = Header(*_HEADER.unpack_from(sector))
    if header.signature != _SIGNATURE or not _HEADER.size <= header.header_size <= len(sector):
        return None
    covered = bytearray(sector[: header.header_size])
    covered[16:20] = bytes(4)
    if zlib.crc32(covered) != header.header_crc or header.entry_count * header.entry_size > _MAX_ENTRIES:
        return None
    return header


def read_header(file: BinaryIO, sector_size: int, lba: int = PRIMARY_LBA) -> Header | None:
    """The header at a sector of an open disk; ``None`` when there is no whole one."""
    file.seek(lba * sector_size)
    sector = file.read(sector_size)
    return decode(sector) if len(sector) == sector_size else None


def check_modest(path: Path, size: int) -> None:
    """Refuse a disk whose tables claim more than ours can have, before anybody reads them as a whole.

    Args:
        path: The disk or image file, which may be anybody's.
        size: Its bytes.

    Raises:
        ProaError: ``NO_DISK``; ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(path), path.open("rb") as file:
        for sector_size in (512, 4096):
            places = [PRIMARY_LBA, size // sector_size - 1]
            for place in places:
                claim = _claim(file, sector_size, place)
                if claim is None:
                    continue
                other, count, entry_size = claim
                if place == PRIMARY_LBA and other not in places and other < size // sector_size:
                    places.append(other)
                if count > _MAX_COUNT or entry_size > _MAX_COUNT:
                    what = f"its partition table claims {count} entries of {entry_size} bytes"
                    raise ProaError(Code.NO_DISK, what, at=path)


def _claim(file: BinaryIO, sector_size: int, place: int) -> tuple[int, int, int] | None:
    """Where the other header is, how many entries there are and of how many bytes, whatever the checksum says."""
    if place < 0:
        return None
    file.seek(place * sector_size)
    sector = file.read(_HEADER.size)
    if len(sector) < _HEADER.size or not sector.startswith(_SIGNATURE):
        return None
    header = Header(*_HEADER.unpack(sector))
    return header.other_lba, header.entry_count, header.entry_size


def disk_guid(path: Path, sector_size: int) -> str:
    """The disk's GUID as its primary header has it; empty when that is damaged."""
    with os_errors(path), path.open("rb") as file:
        header = read_header(file, sector_size)
    return str(uuid.UUID(bytes_le=header.disk_guid)) if header else ""


def described_size(path: Path, sector_size: int) -> int:
    """Bytes of the disk that the primary header was written for; 0 when there is no whole one.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(path), path.open("rb") as file:
        header = read_header(file, sector_size)
    return (header.other_lba + 1) * sector_size if header else 0


def stamp(path: Path, layout: Layout) -> None:
    """Put the layout's GUIDs, types and attributes into both copies of the table at ``path``.

    The backup is written and flushed before the primary, as section 5.3.2 has it, so that one is whole at any time.

    Raises:
        ProaError: ``DEVICE``, when the table is not the one that the layout describes.
    """
    size = layout.sector_size
    with os_errors(path), path.open("r+b") as file:
        primary = read_header(file, size)
        backup = read_header(file, size, primary.other_lba) if primary else None
        if primary is None or backup is None:
            raise ProaError(Code.DEVICE, f"it holds no complete partition table with {size}-byte sectors", at=path)
        for header in (backup, primary):
            _stamp_copy(file, header, layout, path)
            file.flush()
            os.fsync(file.fileno())


def _stamp_copy(file: BinaryIO, header: Header, layout: Layout, path: Path) -> None:
    file.seek(header.entries_lba * layout.sector_size)
    entries = bytearray(file.read(header.entry_count * header.entry_size))
    for partition in layout.partitions:
        _stamp_entry(entries, (partition.number - 1) * header.entry_size, partition, layout.sector_size, path)
    guid = uuid.UUID(layout.disk_guid).bytes_le
    stamped = dataclasses.replace(header, disk_guid=guid, entries_crc=zlib.crc32(entries))
    file.seek(header.entries_lba * layout.sector_size)
    file.write(entries)
    file.seek(header.own_lba * layout.sector_size)
    file.write(stamped.encode().ljust(layout.sector_size, b"\0"))


def _stamp_entry(entries: bytearray, offset: int, partition: Partition, sector_size: int, path: Path) -> None:
    _, _, first, last, _ = _ENTRY.unpack_from(entries, offset)
    if (first * sector_size, (last + 1) * sector_size) != (partition.start, partition.end):
        raise ProaError(Code.DEVICE, f"partition {partition.number} is not where {partition.name} should be", at=path)
    types, guid = (uuid.UUID(text).bytes_le for text in (partition.type_guid, partition.guid))
    _ENTRY.pack_into(entries, offset, types, guid, first, last, partition.attributes)
