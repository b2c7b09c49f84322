"""Reads EROFS images as mkfs.erofs writes them without compression: what a release has in its root, file by file.

Format: Linux, fs/erofs/erofs_fs.h. Nothing is mounted, so that no rights are needed.
"""

from __future__ import annotations

import hashlib
import mmap
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import foreign

_SUPERBLOCK: Final = 1024
_MAGIC: Final = 0xE0F5E1E2
_COMPACT: Final = struct.Struct("<3H2xI4xI4xHH4x")
_EXTENDED: Final = struct.Struct("<3H2xQI4xII32x")
_DIRENT: Final = struct.Struct("<QHBx")
_SLOT: Final = 32
"""Bytes that a number of an inode counts."""
_PLAIN: Final = 0
_INLINE: Final = 2
_CHUNKS: Final = 4
_INDEXES: Final = 0x20
_CHUNK_BITS: Final = 0x1F
_HOLE: Final = 0xFFFFFFFF
_PREFIXES: Final = ("", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security.")
_MAX_DEPTH: Final = 256
_DAMAGED: Final = "the root is a damaged EROFS image"


@dataclass(frozen=True)
class Entry:
    """A file, folder, link or device.

    Attributes:
        path: In the image, from ``/`` on.
        mode: Kind and rights, as in ``st_mode``.
        size: Bytes of its content.
        owner: User and group.
        xattrs: Extended attributes, capabilities among them.
        digest: SHA-256 of its content; of its target for a link, empty for a folder.
    """

    path: str
    mode: int
    size: int
    owner: tuple[int, int]
    xattrs: tuple[tuple[str, bytes], ...]
    digest: str


@dataclass(frozen=True)
class _Inode:
    layout: int
    xattr_size: int
    mode: int
    size: int
    where: int
    owner: tuple[int, int]
    body: int
    """The byte behind the fixed part."""


class Image:
    """An image in memory."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data
        with foreign(Code.VERITY, _DAMAGED):
            magic, self._bits, root, meta, self._shared = struct.unpack_from("<I8xBxH24xII", data, _SUPERBLOCK)
            if magic != _MAGIC:
                raise ProaError(Code.VERITY, "the root is not an EROFS image")
            self._block = 1 << self._bits
            self._meta = meta << self._bits
            self._root = root

    def entries(self) -> Iterator[Entry]:
        """Everything but the root itself, a folder before what is in it.

        Raises:
            ProaError: ``VERITY`` if the image is damaged.
        """
        with foreign(Code.VERITY, _DAMAGED):
            for path, inode in self._below("", self._inode(self._root), 0):
                yield self._entry(path, inode)

    def read(self, path: str) -> bytes:
        """The content of a file; empty if there is none of that name. Links on the way are not followed."""
        with foreign(Code.VERITY, _DAMAGED):
            inode = self._find(path)
            return b"".join(self._content(inode)) if inode and stat.S_ISREG(inode.mode) else b""

    def files(self, folder: str) -> list[str]:
        """The paths of the files in a folder, in ascending order; none if there is no such folder.

        Raises:
            ProaError: ``VERITY`` if the image is damaged.
        """
        with foreign(Code.VERITY, _DAMAGED):
            inode = self._find(folder)
            if inode is None or not stat.S_ISDIR(inode.mode):
                return []
            below = sorted((name, self._inode(number)) for name, number in dict(self._names(inode)).items())
            return [f"{folder.rstrip('/')}/{name}" for name, one in below if stat.S_ISREG(one.mode)]

    def places(self) -> Iterator[tuple[str, list[int]]]:
        """Each file with the numbers of the blocks that its content lies in, in order; holes and tails left out.

        Raises:
            ProaError: ``VERITY`` if the image is damaged.
        """
        with foreign(Code.VERITY, _DAMAGED):
            for path, inode in self._below("", self._inode(self._root), 0):
                if stat.S_ISREG(inode.mode):
                    yield path, list(self._blocks(inode))

    def _find(self, path: str) -> _Inode | None:
        inode = self._inode(self._root)
        for name in path.strip("/").split("/"):
            numbers = dict(self._names(inode)) if stat.S_ISDIR(inode.mode) else {}
            if name not in numbers:
                return None
            inode = self._inode(numbers[name])
        return inode

    def _below(self, path: str, folder: _Inode, depth: int) -> Iterator[tuple[str, _Inode]]:
        if depth > _MAX_DEPTH:
            raise ValueError("folders are nested too deeply")
        for name, number in sorted(self._names(folder)):
            inode = self._inode(number)
            below = f"{path}/{name}"
            yield below, inode
            if stat.S_ISDIR(inode.mode):
                yield from self._below(below, inode, depth + 1)

    def _entry(self, path: str, inode: _Inode) -> Entry:
        digest = ""
        if stat.S_ISREG(inode.mode) or stat.S_ISLNK(inode.mode):
            hashed = hashlib.sha256()
            for piece in self._content(inode):
                hashed.update(piece)
            digest = hashed.hexdigest()
        size = 0 if stat.S_ISDIR(inode.mode) else inode.size
        return Entry(path, inode.mode, size, inode.owner, tuple(sorted(self._xattrs(inode))), digest)

    def _inode(self, number: int) -> _Inode:
        at = self._meta + number * _SLOT
        extended = self._data[at] & 1
        kind = _EXTENDED if extended else _COMPACT
        form, count, mode, size, where, uid, gid = kind.unpack_from(self._data, at)
        xattr_size = 12 + 4 * (count - 1) if count else 0
        return _Inode((form >> 1) & 7, xattr_size, mode, size, where, (uid, gid), at + kind.size)

    def _names(self, folder: _Inode) -> Iterator[tuple[str, int]]:
        data = b"".join(self._content(folder))
        for start in range(0, len(data), self._block):
            block = data[start : start + self._block]
            count = _DIRENT.unpack_from(block)[1] // _DIRENT.size
            entries = [_DIRENT.unpack_from(block, number * _DIRENT.size) for number in range(count)]
            ends = [offset for _, offset, _ in entries[1:]] + [len(block)]
            for (number, offset, _), end in zip(entries, ends, strict=True):
                name = block[offset:end].rstrip(b"\0").decode(errors="surrogateescape")
                if name not in (".", ".."):
                    yield name, number

    def _content(self, inode: _Inode) -> Iterator[bytes]:
        behind = inode.body + inode.xattr_size
        match inode.layout:
            case _ if inode.size == 0:
                return
            case form if form == _PLAIN:
                yield self._take(inode.where << self._bits, inode.size)
            case form if form == _INLINE:
                whole = (inode.size - 1) >> self._bits << self._bits
                yield self._take(inode.where << self._bits, whole)
                yield self._take(behind, inode.size - whole)
            case form if form == _CHUNKS:
                yield from self._chunks(inode, behind)
            case other:
                raise ValueError(f"files are stored in form {other}")

    def _chunks(self, inode: _Inode, behind: int) -> Iterator[bytes]:
        for block, size in self._addresses(inode, behind):
            yield bytes(size) if block == _HOLE else self._take(block << self._bits, size)

    def _addresses(self, inode: _Inode, behind: int) -> Iterator[tuple[int, int]]:
        """First block and size of each chunk."""
        step = self._block << (inode.where & _CHUNK_BITS)
        width, place = (8, 4) if inode.where & _INDEXES else (4, 0)
        table = -(-behind // width) * width
        for number, start in enumerate(range(0, inode.size, step)):
            (block,) = struct.unpack_from("<I", self._data, table + number * width + place)
            yield block, min(step, inode.size - start)

    def _blocks(self, inode: _Inode) -> Iterator[int]:
        match inode.layout:
            case form if form == _CHUNKS:
                for block, size in self._addresses(inode, inode.body + inode.xattr_size):
                    if block != _HOLE:
                        yield from range(block, block + -(-size >> self._bits))
            case form if form == _PLAIN:
                yield from range(inode.where, inode.where + -(-inode.size >> self._bits))
            case form if form == _INLINE:
                yield from range(inode.where, inode.where + ((inode.size - 1) >> self._bits))

    def _xattrs(self, inode: _Inode) -> Iterator[tuple[str, bytes]]:
        if not inode.xattr_size:
            return
        end, at = inode.body + inode.xattr_size, inode.body + 12
        for number in range(self._data[inode.body + 4]):
            (shared,) = struct.unpack_from("<I", self._data, at + 4 * number)
            yield self._xattr((self._shared << self._bits) + 4 * shared)[0]
        at += 4 * self._data[inode.body + 4]
        while at < end and self._data[at]:
            pair, at = self._xattr(at)
            yield pair

    def _xattr(self, at: int) -> tuple[tuple[str, bytes], int]:
        length, prefix, size = struct.unpack_from("<BBH", self._data, at)
        name = self._take(at + 4, length).decode()
        value = self._take(at + 4 + length, size)
        return (_PREFIXES[prefix] + name, value), at + -(-(4 + length + size) // 4) * 4

    def _take(self, at: int, size: int) -> bytes:
        found = self._data[at : at + size]
        if len(found) != size:
            raise ValueError("it ends too early")
        return found
