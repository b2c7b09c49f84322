"""What the good slot has of a release: blocks of the root by their hashes, frames of the boot image in their places.

A block's name is its hash in the verity tree, and a product line has one salt: two trees tell which blocks two releases
share, from any version to any version. All is hashed again before it is written, so that what a slot holds may cost
time and never a byte.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Final

from proa.agent.node.cancel import Cancel
from proa.agent.node.record import SlotRecord
from proa.agent.node.view import Context, View, known_slot
from proa.agent.slot.region import Region, open_for_reading
from proa.agent.slot.scrub import tree_reader
from proa.core.release.document import BLOCK_SIZE
from proa.core.release.frames import Frame, FrameMap, content_name
from proa.core.release.verity import DIGEST_SIZE, FANOUT, Geometry, TreeReader, hash_blocks
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import Note
from proa.partition.boot.bootstate import Slot

_BATCH: Final = 1 << 14
_LEAVES: Final = 64
"""Hash blocks that are hashed at a time."""
_WORDS: Final = 4
"""A hash has 32 bytes; the first 8 of them name a block."""


def names(digests: bytes) -> array[int]:
    """The names of blocks: a number for each of their hashes."""
    return array("Q", digests)[::_WORDS]


def names_of(tree: TreeReader, blocks: int) -> array[int]:
    """The names of the first blocks of an image, in order."""
    found = array("Q")
    for first in range(0, blocks, _BATCH):
        found += names(tree.leaf_digests(first, min(_BATCH, blocks - first)))
    return found


class BlockSeed:
    """The blocks of a root by their names: 8 bytes of memory each.

    Args:
        region: The partition that they lie in; none where there is nothing to give.
        known: Their names, in order.
    """

    def __init__(self, region: Region | None = None, known: Sequence[int] = ()) -> None:
        self._region = region
        self._mask = (1 << len(known).bit_length()) - 1
        self._keys = array("Q", sorted(name & ~self._mask | place for place, name in enumerate(known)))

    def places(self, wanted: Sequence[int]) -> list[int]:
        """The numbers of the blocks with these names; none if one of them is not there."""
        found = []
        for name in wanted:
            key = name & ~self._mask
            at = bisect_left(self._keys, key)
            if at == len(self._keys) or self._keys[at] & ~self._mask != key:
                return []
            found.append(self._keys[at] & self._mask)
        return found

    def read_into(self, places: Sequence[int], room: memoryview) -> None:
        """Put blocks where they are wanted, one behind the other; none leave the room as it was.

        Raises:
            ProaError: ``DEVICE``.
        """
        if self._region is None:
            return
        cuts = [at for at in range(1, len(places)) if places[at] != places[at - 1] + 1]
        for start, end in pairwise(sorted({0, *cuts, len(places)})):
            data = self._region.read(places[start] * BLOCK_SIZE, (end - start) * BLOCK_SIZE)
            room[start * BLOCK_SIZE : end * BLOCK_SIZE] = data


class LeafSeed:
    """The lowest hash blocks of a tree by their own hashes, each of 128 blocks of a root.

    Args:
        tree: The tree; none where there is nothing to give.
        blocks: Blocks of its image.
        salt: Of the tree.
    """

    def __init__(self, tree: TreeReader | None = None, blocks: int = 0, salt: bytes = b"") -> None:
        self._tree = tree
        self._blocks = blocks
        self._numbers: dict[bytes, int] = {}
        for first in range(0, -(-blocks // FANOUT), _LEAVES):
            found = hash_blocks(b"".join(self._content(n) for n in range(first, self._end(first))), salt)
            for number in range(len(found) // DIGEST_SIZE):
                self._numbers[found[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]] = first + number

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._numbers

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def content(self, digest: bytes) -> bytes:
        """The hash block with this hash.

        Raises:
            ProaError: ``VERITY`` or ``DEVICE``.
        """
        return self._content(self._numbers[digest])

    def _content(self, number: int) -> bytes:
        first = number * FANOUT
        count = min(FANOUT, self._blocks - first)
        data = self._tree.leaf_digests(first, count) if self._tree else b""
        return data.ljust(BLOCK_SIZE, b"\0")

    def _end(self, first: int) -> int:
        return min(first + _LEAVES, -(-self._blocks // FANOUT))


@contextmanager
def open_blocks(context: Context, view: View, slot: Slot, salt: str) -> Iterator[BlockSeed]:
    """The blocks of a slot's root; none where it is not known what it holds, or it is of another product line."""
    with _open_tree(view, slot, salt) as (region, known):
        try:
            if region is None or known is None:
                seed = BlockSeed()
            else:
                geometry = Geometry.of(known.root_size)
                seed = BlockSeed(region, names_of(_tree(region, known), geometry.data_blocks))
        except ProaError as error:
            context.cancel.check()
            note = f"slot {slot.value} cannot be copied from, so everything is fetched: {error.message}"
            context.monitor.emit(Note(note, "warning"))
            seed = BlockSeed()
        yield seed


@contextmanager
def open_leaves(context: Context, view: View, slot: Slot, salt: str) -> Iterator[LeafSeed]:
    """The hash blocks of a slot's tree; none as with :func:`open_blocks`, which also warns of a damaged tree."""
    with _open_tree(view, slot, salt) as (region, known):
        try:
            blocks = known.root_size // BLOCK_SIZE if known else 0
            seed = LeafSeed(_tree(region, known), blocks, bytes.fromhex(salt)) if region and known else LeafSeed()
        except ProaError:
            context.cancel.check()
            seed = LeafSeed()
        yield seed


@contextmanager
def _open_tree(view: View, slot: Slot, salt: str) -> Iterator[tuple[Region | None, SlotRecord | None]]:
    known = known_slot(view, slot)
    if known is None or not known.complete or known.salt != salt:
        yield None, None
        return
    with open_for_reading(view.extents(slot)[0]) as region:
        yield region, known


def _tree(region: Region, known: SlotRecord) -> TreeReader:
    return tree_reader(region, known.root_hash, bytes.fromhex(known.salt), Geometry.of(known.root_size))


class PlaceSeed:
    """Frames of a boot image that another partition holds in the same places.

    Args:
        region: The partition.
        frames: The frames.
        content: The names of their contents, one behind the other; empty where the release does not tell them.
    """

    def __init__(self, region: Region, frames: FrameMap, content: str) -> None:
        self._region = region
        size = len(content) // len(frames.frames)
        self._names = [content[at : at + size] for at in range(0, len(content), size)] if size else []
        self._frames = frames

    def given(self, cancel: Cancel) -> list[int]:
        """The numbers of the frames that are there."""
        found = []
        for number, frame in enumerate(self._frames.frames[: len(self._names)]):
            cancel.check()
            if self._read(number, frame):
                found.append(number)
        return found

    def give(self, frame: Frame, room: memoryview) -> bool:
        """See :data:`proa.agent.install.filling.Give`."""
        data = self._read(frame.start // self._frames.frame_size, frame)
        if data:
            room[:] = data
        return bool(data)

    def _read(self, number: int, frame: Frame) -> bytes:
        try:
            data = self._region.read(frame.start, frame.size)
        except ProaError:  # beyond its end, or unreadable
            return b""
        return data if content_name(data) == self._names[number] else b""
