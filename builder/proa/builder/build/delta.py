"""What a delta between two roots is made of: which frames it holds, and what each of its units is packed against.

A frame belongs to it where the older root lacks one of its blocks: a node that runs the older root has all others. A
unit is packed against the older version of the same files, a window of them where they are large.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from mmap import mmap
from typing import BinaryIO, Final, TypeVar

from proa.builder.formats.erofs import Image
from proa.core.release.delta import PREFIX, UNIT, Unit, pack
from proa.core.release.document import BLOCK_SIZE
from proa.core.release.verity import hash_blocks

LEVEL: Final = 19
"""The zstd level unless told otherwise: units are small, and a delta is made once."""
_WINDOW: Final = PREFIX // BLOCK_SIZE
"""Blocks of a prefix at most."""
_WORDS: Final = 4
_BATCH: Final = 1 << 22
_NUMBER: Final = re.compile(r"\d+")
_In = TypeVar("_In")
_Out = TypeVar("_Out")
_NOBODY: Final = ""
"""The owner of blocks that belong to no file: names, inodes, and where their content lies."""


@dataclass(frozen=True)
class Side:
    """A root as far as a delta depends on it.

    Attributes:
        data: The image.
        names: A number for each of its blocks: the first 8 bytes of its hash.
        files: The blocks of each file, in order, and under the empty name those of none.
    """

    data: bytes | mmap
    names: Sequence[int]
    files: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, data: bytes | mmap, salt: bytes) -> Side:
        """Read an image.

        Raises:
            ProaError: ``VERITY`` if it is damaged.
        """
        names = array("Q")
        for start in range(0, len(data), _BATCH):
            names += array("Q", hash_blocks(data[start : start + _BATCH], salt))[::_WORDS]
        files: dict[str, Sequence[int]] = {path: array("I", blocks) for path, blocks in Image(data).places()}
        owned = {block for blocks in files.values() for block in blocks}
        files[_NOBODY] = array("I", (block for block in range(len(names)) if block not in owned))
        return cls(data, names, files)

    def content(self, blocks: Iterable[range]) -> bytes:
        """The content of blocks."""
        return b"".join(self.data[part.start * BLOCK_SIZE : part.stop * BLOCK_SIZE] for part in blocks)


class Prefixes:
    """Chooses what new blocks are packed against.

    Args:
        old: The older root.
        new: The newer root.
    """

    def __init__(self, old: Side, new: Side) -> None:
        self._old, self._new = old, new
        self._places = {name: place for place, name in enumerate(old.names)}
        self._owners: dict[int, tuple[str, int]] = {}
        for path, blocks in new.files.items():
            for index, block in enumerate(blocks):
                self._owners.setdefault(block, (path, index))
        self._alike = defaultdict[str, list[str]](list)
        for path in old.files:
            self._alike[_NUMBER.sub("#", path)].append(path)

    def of(self, blocks: range) -> tuple[range, ...]:
        """Blocks of the older root, ascending, for a row of blocks of the newer one."""
        same = [self._places[name] for name in self._new.names[blocks.start : blocks.stop] if name in self._places]
        chosen = set(same[:_WINDOW])
        parts = sorted(self._parts(blocks), key=lambda part: len(part[0]))
        for done, (known, centre) in enumerate(parts):
            share = (_WINDOW - len(chosen)) // (len(parts) - done)
            chosen.update(_around(known, centre, share))
        return tuple(_runs(sorted(chosen)))

    def _parts(self, blocks: range) -> Iterator[tuple[Sequence[int], float]]:
        """The older version of each file that has some of the blocks, and where in it, from 0 to 1, they would be."""
        indexes = defaultdict[str, list[int]](list)
        for block in blocks:
            if block in self._owners:
                path, index = self._owners[block]
                indexes[path].append(index)
        for path, found in indexes.items():
            known = self._old.files.get(self._before(path), ())
            if known:
                yield known, (found[0] + found[-1] + 1) / 2 / len(self._new.files[path])

    def _before(self, path: str) -> str:
        """The path that a file had; where only numbers differ, the one whose size is closest."""
        if path in self._old.files:
            return path
        size = len(self._new.files[path])
        alike = self._alike.get(_NUMBER.sub("#", path), ())
        return min(alike, key=lambda one: abs(len(self._old.files[one]) - size), default=path)


def _around(blocks: Sequence[int], centre: float, share: int) -> Sequence[int]:
    """So many of the blocks, around a place from 0 to 1."""
    first = min(max(0, round(centre * len(blocks)) - share // 2), max(0, len(blocks) - share))
    return blocks[first : first + share]


def _runs(blocks: Sequence[int]) -> Iterator[range]:
    cuts = [0, *(at for at in range(1, len(blocks)) if blocks[at] != blocks[at - 1] + 1), len(blocks)]
    for start, end in pairwise(cuts):
        if start < end:
            yield range(blocks[start], blocks[end - 1] + 1)


def rows(old: Side, new: Side, frame_size: int) -> Iterator[range]:
    """Rows of frames that the older root cannot give, of the size of a unit at most."""
    step, known = frame_size // BLOCK_SIZE, set(old.names)
    missing = {block // step for block, name in enumerate(new.names) if name not in known}
    most = max(1, UNIT // frame_size)
    for run in _runs(sorted(missing)):
        for first in range(run.start, run.stop, most):
            yield range(first, min(first + most, run.stop))


def make_units(
    old: Side,
    new: Side,
    frame_size: int,
    sink: BinaryIO,
    *,
    level: int = LEVEL,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[Unit]:
    """Write the units of a delta. Equal roots, level and zstd library give equal bytes.

    Args:
        old: The older root.
        new: The newer root.
        frame_size: Bytes of the newer root in one frame.
        sink: Where they go, in order.
        level: zstd's level.
        threads: How many units are packed at once.
        progress: Called with the units done so far, and all.
    """
    prefixes, wanted = Prefixes(old, new), list(rows(old, new, frame_size))
    step, units, offset = frame_size // BLOCK_SIZE, list[Unit](), 0

    def work(frames: range) -> tuple[range, tuple[range, ...], bytes]:
        blocks = range(frames.start * step, min(frames.stop * step, len(new.names)))
        prefix = prefixes.of(blocks)
        return frames, prefix, pack(new.content([blocks]), old.content(prefix), level)

    for frames, prefix, packed in _in_parallel(work, wanted, threads):
        sink.write(packed)
        units.append(Unit(frames, prefix, offset, len(packed), hashlib.sha256(packed).digest()))
        offset += len(packed)
        if progress:
            progress(len(units), len(wanted))
    return units


def _in_parallel(work: Callable[[_In], _Out], items: Iterable[_In], threads: int) -> Iterator[_Out]:
    """The results in order; at most twice as many under way as there are threads."""
    waiting = deque[Future[_Out]]()
    with ThreadPoolExecutor(threads, thread_name_prefix="delta") as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
