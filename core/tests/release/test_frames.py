"""The payload: frames, seek table, map; and that no bytes whatever get past the checks."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.release import frames
from proa.core.release.frames import Expected, Frame, FrameMap
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

SIZE = 4096
"""A small frame size, so that tests have many frames."""


def payload(size: int, seed: int = 1) -> bytes:
    """Bytes that compress to about half."""
    noise = random.Random(seed)
    return b"".join(noise.randbytes(64) + bytes(64) for _ in range(size // 128 + 1))[:size]


def packed(data: bytes, *, frame_size: int = SIZE, level: int = 3, threads: int = 1) -> tuple[FrameMap, bytes]:
    sink = io.BytesIO()
    return frames.compress(io.BytesIO(data), sink, frame_size=frame_size, level=level, threads=threads), sink.getvalue()


def describe(found: FrameMap, blob: bytes) -> Expected:
    return Expected(found.size, found.frame_size, len(blob))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@contextmanager
def only(code: Code) -> Iterator[None]:
    """Let the block end well or with this error, but with no other."""
    try:
        yield
    except ProaError as error:
        if error.code is not code:
            raise


DATA = payload(10 * SIZE + 100)
MAP, BLOB = packed(DATA)
EXPECTED = {"boot": describe(MAP, BLOB), "root": describe(MAP, BLOB)}
ENCODED = frames.encode_maps({"root": MAP, "boot": MAP})


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE])
def test_what_goes_in_comes_out(size: int) -> None:
    data = payload(size)
    found, blob = packed(data)
    assert (found.size, found.blob_size, len(found.frames)) == (size, len(blob), -(-size // SIZE))
    assert b"".join(into(blob[one.offset : one.offset + one.compressed], one) for one in found.frames) == data
    assert b"".join(frames.decompress_stream([blob], size)) == data


def test_frames_lie_without_gaps() -> None:
    assert [one.start for one in MAP.frames] == list(range(0, len(DATA), SIZE))
    ends = [one.offset + one.compressed for one in MAP.frames]
    assert [one.offset for one in MAP.frames] == [0, *ends[:-1]]
    assert MAP.compressed == ends[-1]
    for one in MAP.frames:
        assert hashlib.sha256(BLOB[one.offset : one.offset + one.compressed]).digest() == one.digest


def test_frames_are_a_sequence() -> None:
    assert MAP.frames[-1] == MAP.frames[10]
    assert MAP.frames[-1].size == 100
    assert MAP.frames[2:4] == (MAP.frames[2], MAP.frames[3])
    with pytest.raises(IndexError):
        MAP.frames[11]


@pytest.mark.parametrize(
    ("start", "size", "indexes"),
    [(0, 1, range(1)), (0, SIZE, range(1)), (SIZE - 1, 2, range(2)), (2 * SIZE, 2 * SIZE, range(2, 4))],
)
def test_the_frames_that_cover_a_piece(start: int, size: int, indexes: range) -> None:
    assert MAP.covering(start, size) == indexes


def test_the_bytes_do_not_depend_on_the_threads() -> None:
    assert {packed(DATA, threads=threads)[1] for threads in (1, 2, 5)} == {BLOB}


class Dripping(io.BytesIO):
    """A source that gives less than it is asked for, as a pipe does."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1000))


def test_the_bytes_do_not_depend_on_how_the_source_comes() -> None:
    sink = io.BytesIO()
    frames.compress(Dripping(DATA), sink, frame_size=SIZE, level=3)
    assert sink.getvalue() == BLOB


def test_compressing_tells_its_progress() -> None:
    seen: list[int] = []
    frames.compress(io.BytesIO(DATA), io.BytesIO(), frame_size=SIZE, level=1, progress=seen.append)
    assert seen == [*range(SIZE, len(DATA), SIZE), len(DATA)]


class Zeros(io.RawIOBase):
    """An image of zeros that is nowhere in memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int | None = -1, /) -> bytes:
        count = self._left if size is None or size < 0 else min(size, self._left)
        self._left -= count
        return bytes(count)


def peak(size: int) -> int:
    """Bytes that compressing and decompressing an image of ``size`` bytes takes at most."""
    tracemalloc.start()
    try:
        with Path("/dev/null").open("wb") as sink:
            found = frames.compress(cast(BinaryIO, Zeros(size)), sink, level=1)
        assert found.size == size
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_image() -> None:
    assert peak(64 << 20) < peak(8 << 20) + (256 << 10) < 4 << 20


@pytest.mark.parametrize("size", [-1, 0, frames.MAX_FRAME + 1])
def test_a_frame_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ProaError) as caught:
        frames.compress(io.BytesIO(), io.BytesIO(), frame_size=size)
    assert caught.value.code is Code.FRAMES


def test_a_failing_source_ends_the_work() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2 * SIZE:
                raise OSError("gone")
            return super().read(size)

    with pytest.raises(OSError, match="gone"):
        frames.compress(Failing(DATA), io.BytesIO(), frame_size=SIZE)


def test_the_seek_table_is_that_of_the_seekable_format() -> None:
    table = BLOB[MAP.compressed :]
    magic, size = struct.unpack_from("<II", table)
    count, descriptor, end = struct.unpack("<IBI", table[-9:])
    assert (magic, size, end) == (0x184D2A5E, len(table) - 8, 0x8F92EAB1)
    assert (count, descriptor) == (11, 0)
    entries = list(struct.iter_unpack("<II", table[8:-9]))
    assert entries == [(one.compressed, one.size) for one in MAP.frames]


def test_maps_round_trip() -> None:
    assert frames.decode_maps(ENCODED, expected=EXPECTED) == {"boot": MAP, "root": MAP}
    assert len(ENCODED) == frames.map_size(EXPECTED)


@settings(max_examples=100)
@given(st.binary(max_size=300) | st.binary(max_size=80).map(lambda tail: ENCODED[:80] + tail))
def test_no_bytes_but_a_map_are_a_map(data: bytes) -> None:
    with pytest.raises(ProaError) as caught:
        frames.decode_maps(data, expected=EXPECTED)
    assert caught.value.code is Code.FRAMES


@settings(max_examples=100)
@given(place=st.integers(0, len(ENCODED) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_only_a_digest(place: int, value: int) -> None:
    data = bytearray(ENCODED)
    data[place] = value
    with only(Code.FRAMES):
        found = frames.decode_maps(bytes(data), expected=EXPECTED)
        check_sizes(found)


def check_sizes(found: dict[str, FrameMap]) -> None:
    for name, one in found.items():
        assert (one.size, one.blob_size) == (EXPECTED[name].size, EXPECTED[name].blob)


@pytest.mark.parametrize("size", range(0, len(ENCODED), 29))
def test_a_cut_map_is_refused(size: int) -> None:
    with pytest.raises(ProaError, match=f"has {size} bytes instead of {len(ENCODED)}"):
        frames.decode_maps(ENCODED[:size], expected=EXPECTED)


def test_a_map_with_more_behind_it_is_refused() -> None:
    with pytest.raises(ProaError, match="bytes instead of"):
        frames.decode_maps(ENCODED + b"\0", expected=EXPECTED)


@pytest.mark.parametrize("name", ["root", "boot"])
@pytest.mark.parametrize("change", [{"size": 10 * SIZE}, {"frame_size": 2 * SIZE}, {"blob": len(BLOB) + 1}])
def test_a_map_that_contradicts_the_document_is_refused(name: str, change: dict[str, int]) -> None:
    with pytest.raises(ProaError) as caught:
        frames.decode_maps(ENCODED, expected=EXPECTED | {name: replace(EXPECTED[name], **change)})
    assert caught.value.code is Code.FRAMES


def test_sections_in_another_order_or_twice_are_refused() -> None:
    head, boot, root = ENCODED[:12], ENCODED[12:36], ENCODED[36:60]
    for wrong in (root + boot, root + root, boot + boot):
        with pytest.raises(ProaError, match="sections"):
            frames.decode_maps(head + wrong + ENCODED[60:], expected=EXPECTED)


@pytest.mark.parametrize("length", [0, 1 << 31, (1 << 32) - 1, SIZE * 2])
def test_an_impossible_length_is_refused(length: int) -> None:
    data = bytearray(ENCODED)
    struct.pack_into("<I", data, 60, length)
    with pytest.raises(ProaError, match="a compressed frame has") as caught:
        frames.decode_maps(bytes(data), expected=EXPECTED)
    assert caught.value.at == "map: boot[0]"


def test_lengths_that_only_swap_are_caught_by_the_digests() -> None:
    first, second = MAP.frames[0], MAP.frames[1]
    lying = Frame(first.offset, first.compressed + 1, first.digest, first.size, first.start)
    with pytest.raises(ProaError) as caught:
        into(BLOB[: lying.compressed], lying)
    assert caught.value.code is Code.DIGEST
    with pytest.raises(ProaError):
        into(BLOB[second.offset : second.offset + second.compressed], first)


def into(data: bytes, frame: Frame) -> bytes:
    """The content of a frame by ``decompress_into``, which must not write beside its room."""
    room = bytearray(b"#" * (frame.size + 2))
    frames.decompress_into(frames.check_frame(data, frame), frame, memoryview(room)[1:-1])
    assert room.startswith(b"#")
    assert room.endswith(b"#")
    return bytes(room[1:-1])


def signed(data: bytes, size: int) -> Frame:
    """A frame as a map would have it that vouches for these very bytes."""
    return Frame(0, len(data), hashlib.sha256(data).digest(), size, 0)


ONE = zstandard.ZstdCompressor(level=3).compress(DATA[:SIZE])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x28", id="one byte"),
        pytest.param(b"\x28\xb5\x2f\xfd", id="magic alone"),
        pytest.param(b"\x28\xb5\x2f\xfd" + bytes(range(200)), id="garbage behind the magic"),
        pytest.param(ONE[:-1], id="cut"),
        pytest.param(ONE + b"\0", id="a byte more"),
        pytest.param(ONE + ONE, id="twice"),
        pytest.param(struct.pack("<II", 0x184D2A50, 4) + b"skip", id="skippable"),
        pytest.param(struct.pack("<II", 0x184D2A50, 4) + b"skip" + ONE, id="skippable before"),
        pytest.param(ONE + struct.pack("<II", 0x184D2A50, 4) + b"skip", id="skippable behind"),
        pytest.param(zstandard.ZstdCompressor().compress(DATA[: SIZE + 1]), id="a byte too much inside"),
        pytest.param(zstandard.ZstdCompressor().compress(bytes(1 << 26)), id="bomb"),
        pytest.param(zstandard.ZstdCompressor(write_content_size=False).compress(DATA[:SIZE]), id="size unsaid"),
        pytest.param(b"\x28\xb5\x2f\xfd\x60\x00\x0f" + bytes(8), id="a frame that lies about its size"),
        # window descriptor 0xA0 is 1 GiB (RFC 8878, 3.1.1.1.2), content size 4096 in 2 bytes
        pytest.param(b"\x28\xb5\x2f\xfd\x40\xa0\x00\x0f" + ONE[7:], id="huge window"),
    ],
)
def test_a_frame_that_is_signed_but_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(ProaError) as caught:
        into(data, signed(data, SIZE))
    assert caught.value.code is Code.FRAMES


def test_a_frame_with_a_dictionary_is_refused() -> None:
    book = zstandard.ZstdCompressionDict(DATA, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    data = zstandard.ZstdCompressor(dict_data=book).compress(DATA[:SIZE])
    with pytest.raises(ProaError):
        into(data, signed(data, SIZE))


@settings(max_examples=120)
@given(
    st.binary(max_size=200).map(lambda tail: b"\x28\xb5\x2f\xfd" + tail)
    | st.tuples(st.integers(0, len(ONE) - 1), st.binary(min_size=1, max_size=8)).map(
        lambda change: ONE[: change[0]] + change[1] + ONE[change[0] + len(change[1]) :]
    )
)
def test_any_signed_bytes_give_the_size_or_an_error(data: bytes) -> None:
    with only(Code.FRAMES):
        assert into(data, signed(data, SIZE)) == zstandard.ZstdDecompressor().decompress(data)


@settings(max_examples=120)
@given(
    data=st.binary(max_size=200).map(lambda tail: b"\x28\xb5\x2f\xfd" + tail)
    | st.binary(max_size=100)
    | st.tuples(st.integers(0, len(BLOB) - 1), st.binary(min_size=1, max_size=8)).map(
        lambda change: BLOB[: change[0]] + change[1] + BLOB[change[0] + len(change[1]) :]
    ),
    chunk=st.integers(1, 5000),
)
def test_any_stream_gives_the_size_or_an_error(data: bytes, chunk: int) -> None:
    done = 0
    with only(Code.FRAMES):
        for piece in frames.decompress_stream(cut(data, chunk), len(DATA)):
            done += len(piece)
            assert done <= len(DATA)
        assert done == len(DATA)


@pytest.mark.parametrize("chunk", [1, 777, 65536, 1 << 20])
def test_a_stream_may_be_cut_anywhere(chunk: int) -> None:
    assert b"".join(frames.decompress_stream(cut(BLOB, chunk), len(DATA))) == DATA


@pytest.mark.parametrize("size", range(0, len(BLOB), 777))
def test_a_stream_that_ends_early_is_refused(size: int) -> None:
    with pytest.raises(ProaError) as caught:
        list(frames.decompress_stream([BLOB[:size]], len(DATA)))
    assert caught.value.code is Code.FRAMES


@pytest.mark.parametrize("size", [0, 1, len(DATA) - 1, len(DATA) + 1])
def test_a_stream_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ProaError):
        list(frames.decompress_stream([BLOB], size))


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"x", id="a byte"),
        pytest.param(b"\x28\xb5\x2f\xfd", id="a magic"),
        pytest.param(struct.pack("<II", 0x184D2A5F, 1 << 31), id="a huge skippable frame"),
        pytest.param(struct.pack("<II", 0x184D2A5F, 9) + b"short", id="a cut skippable frame"),
        pytest.param(zstandard.ZstdCompressor().compress(bytes(1 << 26)), id="a bomb"),
        pytest.param(ONE, id="a frame more"),
    ],
)
def test_a_stream_with_more_behind_it_is_refused(behind: bytes) -> None:
    with pytest.raises(ProaError) as caught:
        list(frames.decompress_stream([BLOB + behind], len(DATA)))
    assert caught.value.code is Code.FRAMES


def test_f6_a_bomb_is_refused_unpacked() -> None:
    """4 GiB that say so, and 1 GiB of run-length blocks that say nothing."""
    says = b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + (1 << 32).to_bytes(8, "little") + bytes(100)
    hides = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x00" * 8192 + b"\x01\x00\x00"
    for bomb in (says, hides):
        with pytest.raises(ProaError, match="frame"):
            list(frames.decompress_stream([bomb], 1 << 40))


def test_f6_a_stream_of_endless_blocks_is_refused_early() -> None:
    def endless() -> Iterator[bytes]:
        yield b"\x28\xb5\x2f\xfd\x60\x00\x0f"
        for _ in range(1 << 16):
            yield b"\x00\x00\x08" + bytes(65536)
        raise AssertionError("all of it was read")

    with pytest.raises(ProaError, match="block"):
        list(frames.decompress_stream(endless(), SIZE))


@pytest.mark.contract
@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 5 * 1024 * 1024 + 7])
def test_plain_zstd_restores_the_blob(tmp_path: Path, size: int) -> None:
    data = payload(size)
    file = tmp_path / "root.zst"
    with file.open("wb") as sink:
        frames.compress(io.BytesIO(data), sink)
    assert process.run(["zstd", "-dc", file]).stdout == data
    process.run(["zstd", "-t", file])


@pytest.mark.contract
def test_what_plain_zstd_wrote_streams_too(tmp_path: Path) -> None:
    """With a checksum, and a window of its own: the stream takes what the format allows within the limits."""
    file = tmp_path / "tree"
    file.write_bytes(DATA)
    blob = process.run(["zstd", "-c", "--check", file]).stdout
    assert b"".join(frames.decompress_stream(cut(blob, 500), len(DATA))) == DATA
