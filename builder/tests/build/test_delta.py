"""What a delta between two roots holds: what mkfs.erofs and zstd's own program make of it is the newer root."""

from __future__ import annotations

import io
import random
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from proa.builder.build.delta import Prefixes, Side, make_units, rows
from proa.core.release.delta import PREFIX, UNIT, encode_index
from proa.core.release.document import BLOCK_SIZE
from proa.core.testing.erofs import make_root

SALT = bytes.fromhex("5a" * 32)
FRAME = 128 << 10
NOISE = random.Random(1)
LARGE = NOISE.randbytes(3 << 20)
OLD = {
    "usr/lib/large": LARGE,
    "usr/lib/same": NOISE.randbytes(900_000),
    "usr/lib/modules/6.1.0-50/driver.ko": NOISE.randbytes(70_000),
    "etc/small": b"a few words",
    "usr/lib/gone": NOISE.randbytes(200_000),
}
NEW = {
    **OLD,
    "usr/lib/large": LARGE[:1_000_000] + b"new" + LARGE[1_000_000:],
    "usr/lib/modules/6.1.0-57/driver.ko": OLD["usr/lib/modules/6.1.0-50/driver.ko"][:-9] + b"version57",
    "usr/lib/added": NOISE.randbytes(50_000),
    "etc/small": b"other words",
}
del NEW["usr/lib/modules/6.1.0-50/driver.ko"], NEW["usr/lib/gone"]


def image(folder: Path, files: dict[str, bytes]) -> Side:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Side.of(make_root(folder, folder.with_suffix(".erofs")).read_bytes(), SALT)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    folder = tmp_path_factory.mktemp("pair")
    return image(folder / "old", OLD), image(folder / "new", NEW)


def test_files_lie_where_their_content_is(pair: tuple[Side, Side]) -> None:
    side = pair[1]
    for name, content in NEW.items():
        found = side.content(range(block, block + 1) for block in side.files["/" + name])
        assert found[: len(content)] == content, name
    assert sorted(block for blocks in side.files.values() for block in blocks) == list(range(len(side.names)))


def blocks_of(side: Side) -> list[bytes]:
    data = bytes(side.data)
    return [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]


def test_it_holds_just_the_frames_that_the_older_root_cannot_give(pair: tuple[Side, Side]) -> None:
    old, new = set(blocks_of(pair[0])), blocks_of(pair[1])
    step = FRAME // BLOCK_SIZE
    wanted = [n for n in range(-(-len(new) // step)) if any(one not in old for one in new[n * step : (n + 1) * step])]
    found = list(rows(*pair, FRAME))
    assert [number for row in found for number in row] == wanted
    assert all(len(row) * FRAME <= UNIT for row in found)
    assert any(len(row) * FRAME == UNIT for row in found)


def test_zstd_restores_the_newer_root_out_of_the_older_one(pair: tuple[Side, Side], tmp_path: Path) -> None:
    old, new = pair
    sink = io.BytesIO()
    units = make_units(old, new, FRAME, sink)
    known = dict(zip(old.names, blocks_of(old), strict=True))
    restored = [known.get(name, b"?") for name in new.names]
    step = FRAME // BLOCK_SIZE
    for unit in units:
        (tmp_path / "prefix").write_bytes(old.content(unit.prefix))
        (tmp_path / "unit.zst").write_bytes(sink.getvalue()[unit.offset : unit.offset + unit.compressed])
        words = ["zstd", "-q", "-d", "-f", f"--patch-from={tmp_path / 'prefix'}", "unit.zst", "-o", "out"]
        subprocess.run(words, check=True, cwd=tmp_path)
        content = (tmp_path / "out").read_bytes()
        first = unit.frames.start * step
        restored[first : first + len(content) // BLOCK_SIZE] = [
            content[at : at + BLOCK_SIZE] for at in range(0, len(content), BLOCK_SIZE)
        ]
    assert b"".join(restored) == bytes(new.data)
    assert len(sink.getvalue()) < 150_000  # what was added, and not what had been there


def test_equal_roots_give_equal_bytes(pair: tuple[Side, Side]) -> None:
    made = []
    for threads in (1, 3):
        sink = io.BytesIO()
        units = make_units(*pair, FRAME, sink, level=3, threads=threads)
        made.append((sink.getvalue(), encode_index(units)))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("path", "before"),
    [
        ("/usr/lib/large", "/usr/lib/large"),
        ("/usr/lib/modules/6.1.0-57/driver.ko", "/usr/lib/modules/6.1.0-50/driver.ko"),
        ("/etc/small", "/etc/small"),
    ],
)
def test_a_file_is_packed_against_what_it_was(pair: tuple[Side, Side], path: str, before: str) -> None:
    old, new = pair
    blocks = new.files[path][:200]
    found = {block for part in Prefixes(old, new).of(range(blocks[0], blocks[-1] + 1)) for block in part}
    assert set(old.files[before][:200]) <= found


def test_no_prefix_is_larger_than_a_node_has_room_for(pair: tuple[Side, Side]) -> None:
    prefixes = Prefixes(*pair)
    for row in rows(*pair, FRAME):
        parts = prefixes.of(range(row.start * 32, min(row.stop * 32, len(pair[1].names))))
        assert sum(map(len, parts)) * BLOCK_SIZE <= PREFIX
        assert all(one.stop < two.start for one, two in pairwise(parts))
