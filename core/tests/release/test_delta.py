"""The format of deltas: written and read again, within bounds whatever is written, unpacked by zstd's own program."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.release.delta import (
    MAX_INDEX,
    PREFIX,
    UNIT,
    Delta,
    Unit,
    content_size,
    decode,
    encode_index,
    pack,
    read_index,
    unpack,
)
from proa.core.release.document import BLOCK_SIZE, Blob
from proa.core.runtime.errors import Code, ProaError

FRAME = 128 << 10
BLOCKS, FRAMES = 4096, 100
PACKED = 1000


def delta(units: int, **changes: Any) -> Delta:
    blobs = {"index": Blob("sha256:" + "1" * 64, 1), "units": Blob("sha256:" + "2" * 64, max(1, units * PACKED))}
    made = Delta("a" * 64, BLOCKS * BLOCK_SIZE, "b" * 64, FRAMES * FRAME, FRAME, blobs)
    return dataclasses.replace(made, **changes)


@st.composite
def units(draw: st.DrawFn) -> list[Unit]:
    """Units that are as they must be."""
    found = list[Unit]()
    for first in sorted(draw(st.sets(st.integers(0, FRAMES // 8 - 1)))):
        frames = range(first * 8, first * 8 + draw(st.integers(1, 8)))
        parts = tuple(
            range(at, at + draw(st.integers(1, 100))) for at in draw(st.lists(st.integers(0, BLOCKS - 100), max_size=5))
        )
        found.append(Unit(frames, parts, len(found) * PACKED, PACKED, draw(st.binary(min_size=32, max_size=32))))
    return found


def refused(data: bytes, about: Delta) -> ProaError:
    with pytest.raises(ProaError) as caught:
        list(read_index(data, about))
    assert caught.value.code is Code.DELTA
    return caught.value


@given(units())
def test_what_is_written_is_read(made: list[Unit]) -> None:
    about = delta(len(made)) if made else delta(0, blobs={"units": Blob("sha256:" + "2" * 64, 0)})
    assert list(read_index(encode_index(made), about)) == made


@given(units(), st.randoms(use_true_random=False))
def test_whatever_an_index_says_it_is_within_bounds(made: list[Unit], noise: random.Random) -> None:
    data = bytearray(encode_index(made))
    for _ in range(noise.randint(1, 4)):
        data[noise.randrange(len(data))] = noise.randrange(256)
    try:
        found = list(read_index(bytes(data[: noise.randint(0, 2 * len(data))]), delta(len(made))))
    except ProaError as error:
        assert error.code is Code.DELTA  # noqa: PT017 -- most of them are refused, and some are not
        return
    at = 0
    for unit in found:
        assert at <= unit.frames.start < unit.frames.stop <= FRAMES
        assert len(unit.frames) * FRAME <= UNIT
        assert sum(map(len, unit.prefix)) * BLOCK_SIZE <= PREFIX
        assert all(0 <= part.start < part.stop <= BLOCKS for part in unit.prefix)
        at = unit.frames.stop


GOOD = Unit(range(8), (range(10),), 0, PACKED, bytes(32))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frames": range(0)}, "out of order"),
        ({"frames": range(9)}, f"a unit has more than {UNIT} bytes"),
        ({"frames": range(FRAMES, FRAMES + 1)}, "a unit is outside the root"),
        ({"compressed": 0}, "a unit is empty"),
        ({"compressed": 2 * UNIT}, "a unit is larger than what it holds"),
        ({"compressed": PACKED + 1}, "its units do not have the size that is signed"),
        ({"prefix": (range(0),)}, "a part of a prefix is empty"),
        ({"prefix": (range(BLOCKS - 1, BLOCKS + 1),)}, "a prefix is outside the older root"),
        ({"prefix": (range(400), range(400))}, f"a prefix has more than {PREFIX} bytes"),
    ],
)
def test_bounds(fields: dict[str, Any], said: str) -> None:
    assert list(read_index(encode_index([GOOD]), delta(1))) == [GOOD]
    assert said in refused(encode_index([dataclasses.replace(GOOD, **fields)]), delta(1)).message


def test_an_index_of_its_exact_length() -> None:
    whole = encode_index([GOOD])
    assert refused(whole[:-1], delta(1)).message == "it ends too early"
    assert refused(whole[:11], delta(1)).message == "the index ends too early"
    assert refused(whole + b"\0", delta(1)).message == "it is longer than it says"
    assert refused(b"PROAMAP1" + whole[8:], delta(1)).message == "it is no index of a delta"


def test_a_document_is_read_as_it_was_written() -> None:
    assert decode(delta(3).encode()) == delta(3)
    assert len(encode_index([GOOD] * 8192)) <= MAX_INDEX  # 8 GiB in units of 1 MiB


@pytest.mark.parametrize("fields", [{"old": "x"}, {"old_size": 1}, {"frame_size": 1 << 23}, {"blobs": {}}])
def test_a_document_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ProaError) as caught:
        decode(delta(1, **fields).encode())
    assert caught.value.code is Code.DELTA


def test_the_last_frame_may_be_shorter() -> None:
    about = delta(1, new_size=FRAMES * FRAME - 3 * BLOCK_SIZE)
    last = dataclasses.replace(GOOD, frames=range(FRAMES - 2, FRAMES))
    assert content_size(last, about) == 2 * FRAME - 3 * BLOCK_SIZE


CONTENT = random.Random(1).randbytes(1 << 20)
OLDER = CONTENT[:300_000] + b"older" + CONTENT[300_000:]


def unit_of(packed: bytes) -> Unit:
    return dataclasses.replace(GOOD, compressed=len(packed), digest=hashlib.sha256(packed).digest())


def test_the_prefix_counts_and_plain_zstd_restores_it(tmp_path: Path) -> None:
    packed = pack(CONTENT, OLDER, 19)
    assert len(packed) < 1000 < len(pack(CONTENT, b"", 19))
    assert unpack(packed, unit_of(packed), OLDER, len(CONTENT)) == CONTENT
    (tmp_path / "prefix").write_bytes(OLDER)
    (tmp_path / "unit.zst").write_bytes(packed)
    words = ["zstd", "-q", "-d", "--patch-from=prefix", "unit.zst", "-o", "out"]
    subprocess.run(words, check=True, cwd=tmp_path)
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize("level", [1, 12, 19, 22])
def test_every_level_stays_within_the_decoders_limits(level: int) -> None:
    packed = pack(CONTENT, OLDER, level)
    assert unpack(packed, unit_of(packed), OLDER, len(CONTENT)) == CONTENT


def test_f46_no_unsigned_byte_is_decompressed() -> None:
    packed = pack(CONTENT, OLDER, 3)
    with pytest.raises(ProaError) as caught:
        unpack(packed[:-1] + b"x", unit_of(packed), OLDER, len(CONTENT))
    assert caught.value.code is Code.DIGEST


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-1], bytes(64 << 20)])
def test_f46_a_unit_that_holds_something_else_is_refused(content: bytes) -> None:
    packed = pack(content, OLDER, 3)
    with pytest.raises(ProaError) as caught:
        unpack(packed, unit_of(packed), OLDER, len(CONTENT))
    assert caught.value.code is Code.DELTA
