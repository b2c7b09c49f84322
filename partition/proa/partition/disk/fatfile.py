"""Finds one file in a small FAT image, to check it: nothing is mounted.

Microsoft Extensible Firmware Initiative FAT32 File System Specification 1.03: section 3 (boot sector), 4 (FAT),
6 (directory entries). Only short names are looked at, which mtools writes for names that fit.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from proa.core.runtime.errors import Code, ProaError

Read = Callable[[int, int], bytes]
"""Gives ``size`` bytes from ``offset`` of the image."""

_ENTRY: Final = 32
_FOLDER: Final = 0x10
_LONG_NAME: Final = 0x0F
_MAX_CLUSTERS: Final = 1 << 20
_MAX_FOLDER: Final = 1 << 20
_BLOCK: Final = 1 << 20
_BLOCKS: Final = 3


@dataclass(frozen=True)
class _Entry:
    name: str
    attributes: int
    cluster: int
    size: int


class Fat:
    """A FAT file system of 12, 16 or 32 bits.

    Args:
        read: Reads the image; asked for a few large blocks.
        size: Bytes of the image.

    Raises:
        ProaError: ``DIGEST`` when it is none: the image was signed with a kernel in it.
    """

    def __init__(self, read: Read, size: int) -> None:
        self._size = size
        self._block = lru_cache(_BLOCKS)(lambda index: read(index * _BLOCK, min(_BLOCK, size - index * _BLOCK)))
        boot = self._read(0, 512)
        sector, self._per_cluster, reserved, copies, roots, small = struct.unpack_from("<HBHBHH", boot, 11)
        fat16, large, fat32 = (struct.unpack_from("<H", boot, 22)[0], *struct.unpack_from("<II", boot, 32))
        sectors, fat = small or large, fat16 or fat32
        if boot[510:512] != b"\x55\xaa" or sector not in (512, 1024, 2048, 4096) or not self._per_cluster:
            raise _broken("it is not a FAT file system")
        self._cluster_size = sector * self._per_cluster
        self._fat = reserved * sector
        self._root = self._fat + copies * fat * sector
        self._root_size = roots * _ENTRY
        self._data = self._root + -(-self._root_size // sector) * sector
        clusters = (sectors * sector - self._data) // self._cluster_size
        if not 0 < clusters <= _MAX_CLUSTERS:
            raise _broken(f"it has {clusters} clusters")
        self._bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        self._root_cluster = struct.unpack_from("<I", boot, 44)[0] if self._bits == 32 else 0
        self._next = self._table(clusters + 2)

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file's content, a cluster at a time.

        Raises:
            ProaError: ``DIGEST`` when it is not there, or its chain of clusters is broken.
        """
        *folders, name = path.strip("/").split("/")
        listing = self._root_entries()
        for folder in folders:
            listing = self._folder(self._find(listing, folder, _FOLDER))
        entry = self._find(listing, name, 0)
        left = entry.size
        for first, count in self._runs(entry.cluster):
            if left <= 0:
                break
            yield self._clusters(first, count)[:left]
            left -= count * self._cluster_size
        if left > 0:
            raise _broken(f"{path} is truncated")

    def _read(self, offset: int, size: int) -> bytes:
        if not 0 <= offset <= offset + size <= self._size:
            raise _broken("there is data after its end")
        found = bytearray()
        while len(found) < size:
            index, skip = divmod(offset + len(found), _BLOCK)
            found += self._block(index)[skip : skip + size - len(found)]
        return bytes(found)

    def _find(self, listing: bytes, name: str, kind: int) -> _Entry:
        for entry in _entries(listing):
            if entry.name == name.upper() and entry.attributes & _FOLDER == kind:
                return entry
        raise _broken(f"{name} is not in it")

    def _root_entries(self) -> bytes:
        if self._bits == 32:
            return self._folder(_Entry("", _FOLDER, self._root_cluster, 0))
        return self._read(self._root, self._root_size)

    def _folder(self, entry: _Entry) -> bytes:
        found = bytearray()
        for first, count in self._runs(entry.cluster):
            found += self._clusters(first, count)
            if len(found) > _MAX_FOLDER:
                raise _broken("a folder has no end")
        return bytes(found)

    def _clusters(self, first: int, count: int) -> bytes:
        return self._read(self._data + (first - 2) * self._cluster_size, count * self._cluster_size)

    def _runs(self, cluster: int) -> Iterator[tuple[int, int]]:
        """The chain that begins at a cluster, as runs of clusters that follow one another: first and how many."""
        last = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self._bits]
        longest = max(1, _BLOCK // self._cluster_size)
        seen = 0
        while cluster < last:
            first, count = cluster, 0
            while cluster == first + count and count < longest:
                if not 2 <= cluster < len(self._next):
                    raise _broken("a chain of clusters is broken")
                cluster, count = self._next[cluster], count + 1
            yield first, count
            seen += count
            if seen > len(self._next):
                raise _broken("a chain of clusters has no end")

    def _table(self, entries: int) -> Sequence[int]:
        """For each cluster the one that follows it."""
        if self._bits == 32:
            raw = array("I", self._read(self._fat, 4 * entries))
            return array("I", (value & 0x0FFFFFFF for value in raw))
        if self._bits == 16:
            return array("H", self._read(self._fat, 2 * entries))
        packed = self._read(self._fat, -(-entries * 3 // 2) + 1)
        pairs = (packed[at * 3 // 2] | packed[at * 3 // 2 + 1] << 8 for at in range(entries))
        return array("H", (pair >> 4 if at & 1 else pair & 0xFFF for at, pair in enumerate(pairs)))


def file_digest(read: Read, size: int, path: str) -> str:
    """The digest (``sha256:...``) of a file in a FAT image of ``size`` bytes.

    Raises:
        ProaError: ``DIGEST`` when the image or the file in it is not as it must be.
    """
    hasher = hashlib.sha256()
    for chunk in Fat(read, size).chunks(path):
        hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}"


def _entries(listing: bytes) -> Iterator[_Entry]:
    for start in range(0, len(listing) - _ENTRY + 1, _ENTRY):
        raw = listing[start : start + _ENTRY]
        if raw[0] == 0:
            return
        if raw[0] == 0xE5 or raw[11] & 0x3F == _LONG_NAME:
            continue
        stem, suffix = raw[:8].decode("ascii", "replace").rstrip(), raw[8:11].decode("ascii", "replace").rstrip()
        high, low, size = struct.unpack_from("<H4xHI", raw, 20)
        yield _Entry(f"{stem}.{suffix}" if suffix else stem, raw[11], high << 16 | low, size)


def _broken(what: str) -> ProaError:
    return ProaError(Code.DIGEST, f"the boot image is malformed: {what}")
