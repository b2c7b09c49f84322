"""A tree out of the good slot's tree and the registry's frames is the signed tree, whatever either of them gives."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.agent.install.fetch import leaves_of
from proa.agent.install.filling import REQUEST
from proa.agent.install.seeds import LeafSeed
from proa.agent.install.treefetch import SMALL, TreeFetch
from proa.agent.node.cancel import Cancel
from proa.core.oci.source import check_content, digest_of
from proa.core.release import frames
from proa.core.release.document import BLOCK_SIZE, MEDIA_TYPES, Blob, Boot, Release, Requires, Root
from proa.core.release.frames import read_seek_table, seek_table_size
from proa.core.release.verity import Geometry, TreeReader, build_tree, hash_blocks
from proa.core.runtime.errors import Code, ProaError

RELEASE = Release(
    name="os",
    version="2",
    architecture="amd64",
    compatible="worker",
    created="2026-01-01T00:00:00+00:00",
    serial=2,
    floor=0,
    root=Root("erofs", 8192, 4096, "a" * 64, "5a", 4096, 131072),
    boot=Boot(4096, "sha256:" + "b" * 64, "sha256:" + "c" * 64),
    requires=Requires(1, "0.1.0", 1),
    blobs={},
)
SIZE = 12 << 20
"""Bytes of a root: its tree has 24 hash blocks of leaves, and one above them."""
FRAME = 16 << 10
SALT = bytes.fromhex("5a" * 32)


class Source:
    """A registry that has one blob."""

    ranges = True

    def __init__(self, data: bytes) -> None:
        self.data = data

    def turn(self) -> Any:
        return nullcontext(self)

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        part = self.data[start : size if end is None else end]
        for at in range(0, len(part), 10_000):
            yield part[at : at + 10_000]
        if (start, end) == (0, None):
            check_content(self.data, digest)


@dataclasses.dataclass(frozen=True)
class Made:
    """A root image's tree, and what a release of it says."""

    image: bytes
    tree: bytes
    blob: bytes
    release: Release

    @property
    def reader(self) -> TreeReader:
        """Of the tree where it was written."""
        root_hash = self.release.root.root_hash
        return TreeReader(lambda at, size: self.tree[at : at + size], Geometry.of(SIZE), root_hash, SALT)


def make(image: bytes) -> Made:
    tree, blob = io.BytesIO(), io.BytesIO()
    root_hash = build_tree(io.BytesIO(image), tree, SALT)
    frames.compress(io.BytesIO(tree.getvalue()), blob, frame_size=FRAME, level=1)
    root = Root("erofs", SIZE, BLOCK_SIZE, root_hash, SALT.hex(), len(tree.getvalue()), 128 << 10)
    data = blob.getvalue()
    blobs = {name: Blob(digest_of(data), len(data)) for name in MEDIA_TYPES}
    return Made(image, tree.getvalue(), data, dataclasses.replace(RELEASE, root=root, blobs=blobs))


@pytest.fixture(scope="module")
def old() -> Made:
    blocks = (number.to_bytes(8, "big").ljust(BLOCK_SIZE, b".") for number in range(SIZE // BLOCK_SIZE))
    return make(b"".join(blocks))


@pytest.fixture(scope="module")
def other(old: Made) -> Made:
    """The same with one block changed."""
    return make(edited(old, [SIZE // BLOCK_SIZE // 2]))


def edited(old: Made, blocks: list[int]) -> bytes:
    data = bytearray(old.image)
    for block in blocks:
        data[block * BLOCK_SIZE] ^= 1
    return bytes(data)


def seed_of(made: Made) -> LeafSeed:
    return LeafSeed(made.reader, SIZE // BLOCK_SIZE, SALT)


def fetch(made: Made, source: Any = None, small: int = 0) -> TreeFetch:
    given: Any = source or Source(made.blob)
    return TreeFetch(given, made.release, Cancel(), small)


def test_one_block_costs_a_frame_of_the_tree(old: Made, other: Made) -> None:
    tree = fetch(other)
    assert b"".join(tree.pieces(seed_of(old))) == other.tree
    assert tree.fetched < seek_table_size(-(-len(other.tree) // FRAME)) + 2 * FRAME + 100


def test_nothing_to_copy_from_is_fetched_whole(other: Made) -> None:
    tree = fetch(other)
    assert b"".join(tree.pieces(LeafSeed())) == other.tree
    assert tree.fetched == len(other.blob)


def test_a_small_tree_is_not_worth_three_requests(old: Made, other: Made) -> None:
    assert SMALL > 3 * REQUEST
    tree = fetch(other, small=len(other.blob))
    assert b"".join(tree.pieces(seed_of(old))) == other.tree
    assert tree.fetched == len(other.blob)


@settings(max_examples=10)
@given(st.lists(st.integers(0, SIZE // BLOCK_SIZE - 1), max_size=12))
def test_any_blocks_may_differ(old: Made, blocks: list[int]) -> None:
    made = make(edited(old, blocks))
    pieces = list(fetch(made).pieces(seed_of(old)))
    assert b"".join(pieces) == made.tree
    assert b"".join(leaves_of(pieces, made.release.root)) == hash_blocks(made.image, SALT)


class Lying:
    """A source that gives other bytes for parts of a blob."""

    def __init__(self, made: Made, change: Callable[[int, bytes], bytes], ranges: bool = True) -> None:
        self._source, self._change, self.ranges = Source(made.blob), change, ranges
        self.asked = 0

    def turn(self) -> Any:
        return nullcontext(self)

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.asked += 1
        data = b"".join(self._source.blob(digest, size, start=start, end=end))
        yield data if (start, end) in ((0, None), (0, size)) else self._change(self.asked, data)


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


LIES: dict[str, Callable[[int, bytes], bytes]] = {
    "no table": lambda asked, data: bytes(len(data)) if asked == 1 else data,
    "a table that is cut": lambda asked, data: data[:5] if asked == 1 else data,
    "a table that is empty": lambda asked, data: b"" if asked == 1 else data,
    "a table with another size": lambda asked, data: data[:-13] + b"\xff" + data[-12:] if asked == 1 else data,
    "upper levels that are no frame": lambda asked, data: bytes(len(data)) if asked == 2 else data,
    "upper levels that are cut": lambda asked, data: data[: len(data) // 2] if asked == 2 else data,
    "leaves that are no frame": lambda asked, data: bytes(len(data)) if asked == 3 else data,
    "leaves with another byte": lambda asked, data: (
        data[:-9] + bytes([data[-9] ^ 1]) + data[-8:] if asked == 3 else data
    ),
    "leaves that end early": lambda asked, data: data[:9] if asked == 3 else data,
    "other hints": lambda asked, data: flipped(data, 200) if asked == 2 else data,
}


@pytest.mark.parametrize("lie", LIES)
def test_f10_what_a_registry_lies_about_costs_the_whole_tree(old: Made, other: Made, lie: str) -> None:
    lying = Lying(other, LIES[lie])
    tree = fetch(other, lying)
    assert b"".join(tree.pieces(seed_of(old))) == other.tree
    assert tree.fetched >= len(other.blob)
    assert lying.asked <= 4


def test_a_registry_without_ranges_is_asked_for_all(old: Made, other: Made) -> None:
    lying = Lying(other, lambda _, data: data, ranges=False)
    assert b"".join(fetch(other, lying).pieces(seed_of(old))) == other.tree
    assert lying.asked == 2


class Rotting(LeafSeed):
    """The hash blocks of a slot that rots, or cannot be read, after some were read."""

    left = 10
    error: ProaError | None = None

    def content(self, digest: bytes) -> bytes:
        self.left -= 1
        if self.left >= 0:
            return super().content(digest)
        if self.error:
            raise self.error
        return bytes(BLOCK_SIZE)


@pytest.mark.parametrize("error", [None, ProaError(Code.DEVICE)])
def test_f34_a_good_slot_that_rots_meanwhile_costs_the_whole_tree(
    old: Made, other: Made, error: ProaError | None
) -> None:
    """What came out before is not repeated."""
    seed, tree = Rotting(old.reader, SIZE // BLOCK_SIZE, SALT), fetch(other)
    seed.error = error
    assert b"".join(tree.pieces(seed)) == other.tree
    assert tree.fetched > len(other.blob)


def test_a_tree_that_is_another_one_is_refused_either_way(old: Made, other: Made) -> None:
    noise = random.Random(1).randbytes(len(other.blob))
    with pytest.raises(ProaError):
        list(fetch(other, Source(noise)).pieces(seed_of(old)))


@pytest.mark.parametrize("size", [1, 2, 3, 100, 1 << 20])
def test_a_seek_table_fits_or_is_none(other: Made, size: int) -> None:
    blob = other.blob
    found = read_seek_table(blob[-size:], len(blob), len(other.tree))
    table = seek_table_size(-(-len(other.tree) // FRAME))
    assert (found is None) is (size < table)
    assert read_seek_table(blob, len(blob) + 1, len(other.tree)) is None
    assert read_seek_table(blob, len(blob), len(other.tree) + BLOCK_SIZE) is None
