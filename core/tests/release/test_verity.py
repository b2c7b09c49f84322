"""The hash tree: its geometry, its bytes, and that nothing altered gets past it."""

from __future__ import annotations

import hashlib
import io
import random
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.release import verity
from proa.core.release.verity import BLOCK_SIZE, Geometry
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

SALT = bytes(range(32))
EDGES = (2, 3, 127, 128, 129, 255, 256, 257, 16383, 16384, 16385)
"""Numbers of blocks around which a hash block or a level fills up."""


@cache
def image_of(blocks: int, seed: int = 1) -> bytes:
    """An image whose blocks all differ, made quickly."""
    filler = random.Random(seed).randbytes(BLOCK_SIZE - 8)
    return b"".join(number.to_bytes(8, "little") + filler for number in range(blocks))


@cache
def tree_of(image: bytes, salt: bytes = SALT) -> tuple[str, bytes]:
    sink = io.BytesIO()
    return verity.build_tree(io.BytesIO(image), sink, salt), sink.getvalue()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def reader_of(tree: bytes, geometry: Geometry, root_hash: str) -> verity.TreeReader:
    return verity.TreeReader(lambda offset, size: tree[offset : offset + size], geometry, root_hash, SALT)


def slow_root_hash(image: bytes, salt: bytes) -> str:
    """The root hash by the definition, level by level: an independent way to the same number."""
    level = image
    while len(level) > BLOCK_SIZE or level is image:
        digests = b"".join(hashlib.sha256(salt + block).digest() for block in cut(level, BLOCK_SIZE))
        level = digests + bytes(-len(digests) % BLOCK_SIZE)
    return hashlib.sha256(salt + level).hexdigest()


@pytest.mark.parametrize(
    ("blocks", "levels"),
    [
        (2, [(0, 1)]),
        (128, [(0, 1)]),
        (129, [(4096, 2), (0, 1)]),
        (16384, [(4096, 128), (0, 1)]),
        (16385, [(3 * 4096, 129), (4096, 2), (0, 1)]),
    ],
)
def test_levels_lie_top_first(blocks: int, levels: list[tuple[int, int]]) -> None:
    geometry = Geometry.of(blocks * BLOCK_SIZE)
    assert [(level.offset, level.blocks) for level in geometry.levels] == levels
    assert geometry.tree_size == sum(count for _, count in levels) * BLOCK_SIZE
    assert geometry.hash_offset == blocks * BLOCK_SIZE


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8191, 8193, 1 << 20 | 512])
def test_an_image_that_can_have_no_tree_is_refused(size: int) -> None:
    with pytest.raises(ProaError) as caught:
        verity.tree_size(size)
    assert caught.value.code is Code.VERITY
    assert str(size) in caught.value.message
    assert "8192" in caught.value.message


@pytest.mark.parametrize("blocks", EDGES[:8])
def test_the_root_hash_is_that_of_the_definition(blocks: int) -> None:
    image = image_of(blocks)
    root_hash, tree = tree_of(image)
    assert root_hash == slow_root_hash(image, SALT)
    assert len(tree) == verity.tree_size(len(image))
    assert hashlib.sha256(SALT + tree[:BLOCK_SIZE]).hexdigest() == root_hash


def test_the_salt_counts() -> None:
    image = image_of(130)
    assert len({tree_of(image, salt)[0] for salt in (b"", b"\0", SALT, SALT * 2)}) == 4


def test_the_tree_begins_where_the_sink_stands() -> None:
    image = image_of(129)
    sink = io.BytesIO(b"x" * 5000)
    sink.seek(4096)
    verity.build_tree(io.BytesIO(image), sink, SALT)
    assert sink.getvalue() == b"x" * 4096 + tree_of(image)[1]
    assert sink.tell() == len(sink.getvalue())


class Zeros(io.RawIOBase):
    """An image of zeros that is nowhere in memory."""

    def __init__(self, size: int) -> None:
        self._size, self._place = size, 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._place = offset + (self._size if whence else 0)
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        count = min(size or 0, self._size - self._place)
        self._place += count
        return bytes(count)


def peak(size: int, path: Path) -> int:
    """Bytes that building, checking and reading the tree of an image of ``size`` bytes takes at most."""
    geometry = Geometry.of(size)
    tracemalloc.start()
    try:
        with path.open("w+b") as tree:
            root_hash = verity.build_tree(cast(BinaryIO, Zeros(size)), tree, SALT)
            tree.seek(0)
            chunks = iter(lambda: tree.read(65536), b"")
            assert (
                sum(len(piece) for piece in verity.check_tree(chunks, geometry, root_hash, SALT)) == geometry.tree_size
            )

            def read(offset: int, count: int) -> bytes:
                tree.seek(offset)
                return tree.read(count)

            reader = verity.TreeReader(read, geometry, root_hash, SALT)
            for first in range(0, geometry.data_blocks, 256):
                reader.leaf_digests(first, 256)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    assert peak(128 << 20, tmp_path / "tree") < peak(16 << 20, tmp_path / "tree") + (512 << 10) < 4 << 20


def test_building_tells_its_progress() -> None:
    seen: list[int] = []
    verity.build_tree(io.BytesIO(image_of(130)), io.BytesIO(), SALT, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 130 * BLOCK_SIZE


class Shrinking(io.BytesIO):
    """A file that is shorter when it is read than its size said."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) if self.tell() < BLOCK_SIZE else b""


def test_an_image_that_shrinks_meanwhile_is_noticed() -> None:
    with pytest.raises(ProaError, match="changed while it was being read"):
        verity.build_tree(Shrinking(image_of(200)), io.BytesIO(), SALT)


@pytest.mark.parametrize("blocks", [2, 129, 257, 16385])
@pytest.mark.parametrize("chunk", [1000, 4096, 1 << 20])
def test_a_true_tree_streams_through(blocks: int, chunk: int) -> None:
    root_hash, tree = tree_of(image_of(blocks))
    pieces = list(verity.check_tree(cut(tree, chunk), Geometry(blocks), root_hash, SALT))
    assert b"".join(pieces) == tree
    assert all(len(piece) % BLOCK_SIZE == 0 for piece in pieces)


@settings(max_examples=40)
@given(bit=st.integers(0, 5 * BLOCK_SIZE * 8 - 1), chunk=st.sampled_from([777, 4096, 40960]))
def test_a_flipped_bit_never_comes_out(bit: int, chunk: int) -> None:
    blocks = 4 * 128  # a top block and four leaf blocks
    root_hash, tree = tree_of(image_of(blocks))
    bad = bytearray(tree)
    bad[bit // 8] ^= 1 << bit % 8
    pieces: list[bytes] = []
    with pytest.raises(ProaError) as caught:
        pieces.extend(verity.check_tree(cut(bytes(bad), chunk), Geometry(blocks), root_hash, SALT))
    out = b"".join(pieces)
    assert caught.value.code is Code.VERITY
    assert tree.startswith(out)
    assert len(out) <= bit // 8


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 8192, 12287])
def test_a_short_tree_is_refused(size: int) -> None:
    root_hash, tree = tree_of(image_of(129))
    with pytest.raises(ProaError, match="too short"):
        list(verity.check_tree([tree[:size]], Geometry(129), root_hash, SALT))
    with pytest.raises(ProaError, match="too short"):
        reader_of(tree[:size], Geometry(129), root_hash).leaf_digests(0, 129)


def test_a_long_tree_is_refused() -> None:
    root_hash, tree = tree_of(image_of(129))
    with pytest.raises(ProaError, match="longer than 12288"):
        list(verity.check_tree([tree, b"", b"\0"], Geometry(129), root_hash, SALT))


def test_leaves_are_read_from_any_place() -> None:
    blocks = 16385
    image = image_of(blocks)
    root_hash, tree = tree_of(image)
    leaves = verity.hash_blocks(image, SALT)
    reader = reader_of(tree, Geometry(blocks), root_hash)
    for first, count in [(0, 1), (0, 32), (100, 300), (8191, 2), (16384, 1), (5, 0), (0, blocks), (1, 1)]:
        assert reader.leaf_digests(first, count) == leaves[32 * first : 32 * (first + count)]


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 130), (129, 1), (3, -1)])
def test_leaves_outside_the_image_are_a_defect(first: int, count: int) -> None:
    root_hash, tree = tree_of(image_of(129))
    with pytest.raises(IndexError):
        reader_of(tree, Geometry(129), root_hash).leaf_digests(first, count)


@pytest.mark.parametrize("place", [0, 4096, 2 * 4096])
def test_a_tree_altered_on_the_device_is_noticed_when_read(place: int) -> None:
    root_hash, tree = tree_of(image_of(129))
    bad = bytearray(tree)
    bad[place] ^= 1
    with pytest.raises(ProaError, match="not the signed one"):
        reader_of(bytes(bad), Geometry(129), root_hash).leaf_digests(0, 129)


def test_leaves_are_read_in_batches() -> None:
    root_hash, tree = tree_of(image_of(16385))
    reads: list[tuple[int, int]] = []

    def read(offset: int, size: int) -> bytes:
        reads.append((offset, size))
        return tree[offset : offset + size]

    reader = verity.TreeReader(read, Geometry(16385), root_hash, SALT)
    for first in range(0, 16385 - 32, 32):
        reader.leaf_digests(first, 32)
    assert len(reads) == 4, "the top level, the one below it, and two batches of leaves"


def test_blocks_are_compared_and_the_wrong_one_is_named() -> None:
    image = image_of(8)
    digests = verity.hash_blocks(image, SALT)
    verity.check_blocks(memoryview(bytearray(image)), digests, SALT, 100)
    bad = bytearray(image)
    bad[5 * BLOCK_SIZE + 7] ^= 0x80
    with pytest.raises(ProaError, match="block 105 ") as caught:
        verity.check_blocks(bad, digests, SALT, 100)
    assert caught.value.at == f"byte {105 * BLOCK_SIZE} of the image"
    with pytest.raises(ProaError, match="block 7 "):
        verity.check_blocks(image, digests[:-32], SALT, 0)


@pytest.mark.contract
@pytest.mark.parametrize("blocks", EDGES)
@pytest.mark.parametrize("salt", [b"\x5a", SALT, SALT * 8], ids=len)
def test_veritysetup_agrees(tmp_path: Path, blocks: int, salt: bytes) -> None:
    image, mine, theirs = (tmp_path / name for name in ("image", "mine", "theirs"))
    image.write_bytes(image_of(blocks, seed=blocks))
    with image.open("rb") as source, mine.open("wb") as sink:
        root_hash = verity.build_tree(source, sink, salt)
    options = ["--no-superblock", "--hash=sha256", f"--salt={salt.hex()}", "--data-block-size=4096"]
    options += ["--hash-block-size=4096", f"--data-blocks={blocks}"]
    said = process.run(["veritysetup", "format", *options, image, theirs]).text
    assert root_hash in said
    assert mine.read_bytes() == theirs.read_bytes()
    process.run(["veritysetup", "verify", *options, image, mine, root_hash])
    with image.open("r+b") as damaged:
        damaged.seek(BLOCK_SIZE)
        damaged.write(b"\xff" * 9)
    assert process.run(["veritysetup", "verify", *options, image, mine, root_hash], check=False).status != 0


@pytest.mark.contract
def test_veritysetup_makes_no_tree_of_one_block(tmp_path: Path) -> None:
    """The reason why an image has two blocks at least: the root hash of one block is its own digest."""
    image, tree = tmp_path / "image", tmp_path / "tree"
    image.write_bytes(image_of(1))
    options = ["--no-superblock", "--hash=sha256", f"--salt={SALT.hex()}"]
    said = process.run(["veritysetup", "format", *options, image, tree]).text
    assert verity.hash_blocks(image_of(1), SALT).hex() in said
    assert tree.stat().st_size == 0


@pytest.mark.contract
def test_veritysetup_accepts_a_tree_behind_its_image(tmp_path: Path) -> None:
    """As it lies in ROOT-x: one file, the tree at the hash offset."""
    blocks = 300
    slot = tmp_path / "slot"
    slot.write_bytes(image_of(blocks))
    with slot.open("rb") as source, slot.open("r+b") as sink:
        sink.seek(Geometry(blocks).hash_offset)
        root_hash = verity.build_tree(io.BytesIO(source.read()), sink, SALT)
    options = ["--no-superblock", "--hash=sha256", f"--salt={SALT.hex()}", f"--data-blocks={blocks}"]
    offset = f"--hash-offset={Geometry(blocks).hash_offset}"
    verify: list[str | Path] = ["veritysetup", "verify", *options, offset, slot, slot, root_hash]
    assert process.run(verify, check=False).status == 0
    with slot.open("r+b") as damaged:
        damaged.seek(17)
        damaged.write(b"\xff" * 9)
    assert process.run(verify, check=False).status != 0
