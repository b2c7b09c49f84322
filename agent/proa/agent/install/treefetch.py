"""The verity tree of a release, of which most hash blocks are those of the good slot's tree.

The levels above the leaves are small, and tell by its hash each block of leaves that is wanted. Those that the good
slot has are copied, the others are fetched by the frames of the blob, as its seek table tells them. All of this is a
hint: what comes out was verified from the root hash down, and where that fails the whole blob is fetched.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import zstandard

from proa.agent.install.ahead import Ahead
from proa.agent.install.fetch import fetch_tree
from proa.agent.install.filling import REQUEST, packed, plan_frames
from proa.agent.install.seeds import LeafSeed
from proa.agent.node.cancel import Cancel
from proa.core.oci.source import Source
from proa.core.release import zstdframe
from proa.core.release.chunks import ChunkReader
from proa.core.release.document import BLOCK_SIZE, Release
from proa.core.release.frames import FrameMap, read_seek_table, seek_table_size
from proa.core.release.verity import DIGEST_SIZE, Geometry, check_tree
from proa.core.runtime.errors import Code, ProaError

SMALL: Final = 4 * REQUEST
"""Bytes of a blob below which three requests for parts of it cost more than all of it."""
_SMALLEST_FRAME: Final = 1 << 14
"""Of the frames whose seek table is fetched at once; the table of smaller ones counts as none."""
_WRONG: Final = frozenset({Code.VERITY, Code.FRAMES, Code.DIGEST})


@dataclass
class TreeFetch:
    """One tree on its way.

    Attributes:
        source: Where the release is.
        release: The release.
        cancel: The wish to stop.
        small: Bytes of a blob that is fetched whole in any case.
        fetched: Bytes that came from the registry.
    """

    source: Source
    release: Release
    cancel: Cancel
    small: int = SMALL
    fetched: int = field(default=0, init=False)

    def pieces(self, seed: LeafSeed) -> Iterator[bytes]:
        """The tree, each piece verified before it comes out.

        Raises:
            ProaError: as :func:`proa.agent.install.fetch.fetch_tree`.
        """
        root, given = self.release.root, 0
        if seed and self.release.blobs["tree"].size > self.small:
            try:
                chunks = self._assembled(seed)
                for piece in check_tree(chunks, Geometry.of(root.size), root.root_hash, bytes.fromhex(root.salt)):
                    given += len(piece)
                    yield piece
            except ProaError as error:
                if error.code not in _WRONG:
                    raise
            else:
                return
        while given < root.tree_size:
            self.fetched += self.release.blobs["tree"].size
            with self.source.turn() as place:
                done = 0
                for piece in fetch_tree(place, self.release, self.cancel):
                    done += len(piece)
                    if done > given:
                        yield piece[given - done :]
                        given = done

    def _assembled(self, seed: LeafSeed) -> Iterator[bytes]:
        frames = self._table()
        leaves = Geometry.of(self.release.root.size).levels[0].offset
        kept = -(-leaves // frames.frame_size)
        self.fetched += packed(frames, range(kept)) if kept else 0
        upper = b"".join(self._read(frames, range(kept))) if kept else b""
        yield upper
        wanted = _digests(upper[:leaves], self.release)
        given = [n for n in range(kept, len(frames.frames)) if all(one in seed for one in _within(n, frames, wanted))]
        plan = plan_frames(frames, given, kept)
        parts = [stretch.frames for stretch in plan.stretches if not stretch.local]
        with Ahead(parts, partial(self._read, frames), lambda: self.source.ranges, frames.frame_size) as ahead:
            for stretch in plan.stretches:
                if not stretch.local:
                    self.fetched += packed(frames, stretch.frames)
                    yield from ahead.take()
                    continue
                for number in stretch.frames:
                    self.cancel.check()
                    yield _copied(seed, _within(number, frames, wanted))

    def _table(self) -> FrameMap:
        blob, size = self.release.blobs["tree"], self.release.root.tree_size
        most = min(blob.size, seek_table_size(-(-size // _SMALLEST_FRAME)))
        tail = b"".join(self.source.blob(blob.digest, blob.size, start=blob.size - most))
        self.fetched += len(tail)
        found = read_seek_table(tail, blob.size, size)
        if found is None or found.frame_size % BLOCK_SIZE or not self.source.ranges:
            raise ProaError(Code.FRAMES, "the tree has no usable seek table")
        return found

    def _read(self, frames: FrameMap, part: range) -> Generator[bytes, None, None]:
        blob, (start, end) = self.release.blobs["tree"], frames.extent(part)
        reader = ChunkReader(self.source.blob(blob.digest, blob.size, start=start, end=end))
        for number in part:
            self.cancel.check()
            frame = frames.frames[number]
            try:
                yield zstdframe.content(reader.take(frame.compressed), frame.size)
            except zstandard.ZstdError as error:
                raise ProaError(Code.FRAMES, str(error), at=f"frame at {frame.offset}") from error


def _copied(seed: LeafSeed, wanted: list[bytes]) -> bytes:
    try:
        return b"".join(seed.content(one) for one in wanted)
    except ProaError as error:  # whatever is wrong with the good slot, the registry has it too
        raise ProaError(Code.VERITY, error.message, at=error.at) from error


def _digests(upper: bytes, release: Release) -> list[bytes]:
    """The hashes of the lowest hash blocks, in order, out of the levels above them, which are not verified yet."""
    levels = Geometry.of(release.root.size).levels
    if len(levels) == 1:
        return [bytes.fromhex(release.root.root_hash)]
    start, count = levels[1].offset, levels[0].blocks
    return [upper[at : at + DIGEST_SIZE] for at in range(start, start + count * DIGEST_SIZE, DIGEST_SIZE)]


def _within(number: int, frames: FrameMap, wanted: list[bytes]) -> list[bytes]:
    """The hashes of the hash blocks that a frame below the upper levels holds."""
    frame, first = frames.frames[number], frames.size // BLOCK_SIZE - len(wanted)
    start = frame.start // BLOCK_SIZE - first
    return wanted[start : start + frame.size // BLOCK_SIZE]
