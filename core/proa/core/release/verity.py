"""The dm-verity hash tree: made, checked while it streams, read back block by block.

Format version 1 as the kernel's ``Documentation/admin-guide/device-mapper/verity.rst`` and cryptsetup's
``veritysetup format --no-superblock --hash=sha256`` have it: blocks of 4096 bytes, digest = SHA-256(salt +
block), 128 digests to a hash block, the rest of a hash block zero, the top level first in the tree. The root
hash is the digest of the one block of the top level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import SEEK_END
from typing import BinaryIO, Final

from proa.core.release.chunks import ChunkReader
from proa.core.runtime.errors import Code, ProaError

BLOCK_SIZE: Final = 4096
"""Bytes of a data block and of a hash block."""
DIGEST_SIZE: Final = 32
"""Bytes of a SHA-256."""
FANOUT: Final = BLOCK_SIZE // DIGEST_SIZE
"""Digests in one hash block."""
_BATCH: Final = 64
"""Hash blocks that are read, hashed or written at once: 256 KiB, the digests of 32 MiB of image."""


@dataclass(frozen=True)
class Level:
    """One level of the tree: where it begins in the tree (bytes) and how many hash blocks it has."""

    offset: int
    blocks: int


@dataclass(frozen=True)
class Geometry:
    """Where everything lies, told by the number of data blocks alone.

    Attributes:
        data_blocks: Blocks of the image; at least 2, since one block alone has no tree.
    """

    data_blocks: int

    @classmethod
    def of(cls, data_size: int) -> Geometry:
        """The geometry for an image of ``data_size`` bytes.

        Raises:
            ProaError: ``VERITY`` if it is no multiple of the block size, or less than two blocks.
        """
        if data_size % BLOCK_SIZE or data_size < 2 * BLOCK_SIZE:
            what = (
                f"an image of {data_size} bytes cannot have a verity tree: its size must be a multiple of {BLOCK_SIZE}"
            )
            raise ProaError(Code.VERITY, f"{what}, and at least {2 * BLOCK_SIZE}")
        return cls(data_size // BLOCK_SIZE)

    @property
    def hash_offset(self) -> int:
        """Bytes of the image, behind which the tree begins in its partition."""
        return self.data_blocks * BLOCK_SIZE

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The levels from the leaves (index 0) to the top; the top one has one block and offset 0."""
        counts = []
        blocks = self.data_blocks
        while blocks > 1:
            blocks = -(-blocks // FANOUT)
            counts.append(blocks)
        return tuple(Level(sum(counts[index + 1 :]) * BLOCK_SIZE, count) for index, count in enumerate(counts))

    @property
    def tree_size(self) -> int:
        """Bytes of the tree."""
        return sum(level.blocks for level in self.levels) * BLOCK_SIZE

    def digests(self, level: int) -> int:
        """How many digests the level holds: the blocks of the level below it, or of the image."""
        return self.data_blocks if level == 0 else self.levels[level - 1].blocks


def tree_size(data_size: int) -> int:
    """Bytes of the tree of an image of ``data_size`` bytes.

    Raises:
        ProaError: ``VERITY``, see :meth:`Geometry.of`.
    """
    return Geometry.of(data_size).tree_size


def hash_blocks(data: bytes | bytearray | memoryview, salt: bytes) -> bytes:
    """The digests of all blocks of ``data`` (a multiple of 4096 bytes), 32 bytes each, one after the other."""
    view = memoryview(data)
    salted = hashlib.sha256(salt).copy
    digests = []
    for start in range(0, len(view), BLOCK_SIZE):
        one = salted()
        one.update(view[start : start + BLOCK_SIZE])
        digests.append(one.digest())
    return b"".join(digests)


def check_blocks(data: bytes | bytearray | memoryview, digests: bytes, salt: bytes, first_block: int) -> None:
    """Compare blocks with their digests.

    Raises:
        ProaError: ``VERITY``, naming the first block that differs.
    """
    found = hash_blocks(data, salt)
    if found != digests:
        for index in range(0, max(len(found), len(digests)), DIGEST_SIZE):
            if found[index : index + DIGEST_SIZE] != digests[index : index + DIGEST_SIZE]:
                raise ProaError(
                    Code.VERITY,
                    f"block {first_block + index // DIGEST_SIZE} does not match the verity tree",
                    at=f"byte {(first_block + index // DIGEST_SIZE) * BLOCK_SIZE} of the image",
                )


def build_tree(image: BinaryIO, sink: BinaryIO, salt: bytes, *, progress: Callable[[int], None] | None = None) -> str:
    """Write the tree of an image and return its root hash, in hexadecimal.

    Memory is one batch of blocks a level, however large the image.

    Args:
        image: The image; all of it is read, from its start.
        sink: A file that can be sought in; the tree begins at its present position.
        salt: The salt.
        progress: Called with the bytes of image done so far.

    Raises:
        ProaError: ``VERITY``, see :meth:`Geometry.of`, or if the image ends early.
    """
    geometry = Geometry.of(image.seek(0, SEEK_END))
    image.seek(0)
    base = sink.tell()
    levels = [_LevelWriter(sink, base + level.offset) for level in geometry.levels]
    root, done = b"", 0
    while data := image.read(_BATCH * BLOCK_SIZE):
        root += _climb(levels, hash_blocks(data, salt), salt)
        done += len(data)
        if progress:
            progress(done)
    if done != geometry.hash_offset:
        raise ProaError(
            Code.VERITY, f"the image changed while it was being read: {done} of {geometry.hash_offset} bytes"
        )
    for index, level in enumerate(levels):
        root += _climb(levels[index + 1 :], hash_blocks(level.drain(last=True), salt), salt)
    sink.seek(base + geometry.tree_size)
    return root.hex()


class _LevelWriter:
    """Collects the digests of one level and writes them as whole hash blocks."""

    def __init__(self, sink: BinaryIO, place: int) -> None:
        self._sink = sink
        self._place = place
        self._pending = bytearray()

    def add(self, digests: bytes) -> None:
        self._pending += digests

    def drain(self, *, last: bool = False) -> bytes:
        """Write the hash blocks that are full, or at the end all; returns them."""
        if last:
            self._pending += bytes(-len(self._pending) % BLOCK_SIZE)
        full = len(self._pending) // BLOCK_SIZE * BLOCK_SIZE
        data = bytes(self._pending[:full])
        del self._pending[:full]
        self._sink.seek(self._place)
        self._sink.write(data)
        self._place += full
        return data


def _climb(levels: list[_LevelWriter], digests: bytes, salt: bytes) -> bytes:
    """Add digests to the lowest of the levels, and what becomes full to those above; returns the top's digest."""
    for level in levels:
        level.add(digests)
        digests = hash_blocks(level.drain(), salt)
    return digests


def check_tree(chunks: Iterable[bytes], geometry: Geometry, root_hash: str, salt: bytes) -> Iterator[bytes]:
    """Check a tree as it streams, from the top down: nothing comes out that the root hash does not vouch for.

    Memory is the level above the one that streams: 1/16384 of the image.

    Args:
        chunks: The tree's bytes, cut anywhere.
        geometry: The signed geometry.
        root_hash: The signed root hash, in hexadecimal.
        salt: The signed salt.

    Yields:
        The same bytes, in pieces of whole hash blocks.

    Raises:
        ProaError: ``VERITY`` if a block does not match, or the tree is longer or shorter than it must be.
    """
    reader = ChunkReader(chunks)
    above = bytes.fromhex(root_hash)
    for index in reversed(range(len(geometry.levels))):
        level = geometry.levels[index]
        held = bytearray()
        for first in range(0, level.blocks, _BATCH):
            count = min(_BATCH, level.blocks - first)
            data = reader.take(count * BLOCK_SIZE)
            _check_level(data, above, index, range(first, first + count), salt)
            if index > 0:
                held += data
            yield data
        above = bytes(held)
    if reader.fill(1):
        raise ProaError(Code.VERITY, f"the verity tree is longer than {geometry.tree_size} bytes")


class TreeReader:
    """Leaf digests from a tree that lies on a device; every hash block is checked again on its way.

    Holds the level above the leaves (1/16384 of the image) and one batch of leaves.

    Args:
        read: Gives ``size`` bytes of the tree from ``offset``, both multiples of 4096.
        geometry: The signed geometry.
        root_hash: The signed root hash, in hexadecimal.
        salt: The signed salt.

    Raises:
        ProaError: ``VERITY`` if the tree is not the signed one.
    """

    def __init__(self, read: Callable[[int, int], bytes], geometry: Geometry, root_hash: str, salt: bytes) -> None:
        self._read = read
        self._geometry = geometry
        self._salt = salt
        self._above = bytes.fromhex(root_hash)
        self._first = 0
        self._held = b""
        for index in reversed(range(1, len(geometry.levels))):
            level = geometry.levels[index]
            batches = range(0, level.blocks, _BATCH)
            self._above = b"".join(self._checked(index, first, min(_BATCH, level.blocks - first)) for first in batches)

    def _checked(self, level: int, first: int, count: int) -> bytes:
        data = self._read(self._geometry.levels[level].offset + first * BLOCK_SIZE, count * BLOCK_SIZE)
        _check_level(data, self._above, level, range(first, first + count), self._salt)
        return data

    def leaf_digests(self, first_block: int, count: int) -> bytes:
        """The digests of ``count`` blocks of the image from ``first_block``, 32 bytes each.

        Raises:
            ProaError: ``VERITY`` if the tree is not the signed one.
        """
        if not 0 <= first_block <= first_block + count <= self._geometry.data_blocks:
            raise IndexError(
                f"blocks {first_block} to {first_block + count} are outside an image of "
                f"{self._geometry.data_blocks} blocks"
            )
        start, end = first_block * DIGEST_SIZE, (first_block + count) * DIGEST_SIZE
        if not self._first <= start <= end <= self._first + len(self._held):
            self._hold(start // BLOCK_SIZE, -(-end // BLOCK_SIZE))
        return self._held[start - self._first : end - self._first]

    def _hold(self, first: int, end: int) -> None:
        """Bring the leaf blocks from ``first`` to before ``end`` in, and those that follow up to a batch."""
        end = max(end, min(first + _BATCH, self._geometry.levels[0].blocks))
        self._held = self._checked(0, first, end - first)
        self._first = first * BLOCK_SIZE


def _check_level(data: bytes, above: bytes, level: int, blocks: range, salt: bytes) -> None:
    """Compare the given hash blocks of a level with their digests in the level above."""
    at = f"level {level} of the tree, from block {blocks.start}"
    if len(data) != len(blocks) * BLOCK_SIZE:
        raise ProaError(Code.VERITY, "the verity tree is too short", at=at)
    if hash_blocks(data, salt) != above[blocks.start * DIGEST_SIZE : blocks.stop * DIGEST_SIZE]:
        raise ProaError(Code.VERITY, "the verity tree is not the signed one", at=at)
