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
from proa.agent.node.view import Context, View, known_slot
from proa.agent.slot.region import Region, open_for_reading
from proa.agent.slot.scrub import tree_reader
from proa.core.release.document import BLOCK_SIZE
from proa.core.release.frames import Frame, FrameMap, content_name
from proa.core.release.verity import Geometry, TreeReader
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import Note
from proa.partition.boot.bootstate import Slot

_BATCH: Final = 1 << 14
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


@contextmanager
def open_blocks(context: Context, view: View, slot: Slot, salt: str) -> Iterator[BlockSeed]:
    """The blocks of a slot's root; none where it is not known what it holds, or it is of another product line."""
    known = known_slot(view, slot)
    if known is None or not known.complete or known.salt != salt:
        yield BlockSeed()
        return
    with open_for_reading(view.extents(slot)[0]) as region:
        try:
            geometry = Geometry.of(known.root_size)
            tree = tree_reader(region, known.root_hash, bytes.fromhex(salt), geometry)
            seed = BlockSeed(region, names_of(tree, geometry.data_blocks))
        except ProaError as error:
            context.cancel.check()
            note = f"slot {slot.value} cannot be copied from, so all is fetched: {error.message}"
            context.monitor.emit(Note(note, "warning"))
            seed = BlockSeed()
        yield seed


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
