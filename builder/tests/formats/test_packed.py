"""Files that are compressed once and looked up by what they hold."""

from __future__ import annotations

from pathlib import Path

from proa.builder.formats import packed
from proa.core.runtime.process import run


def test_what_was_packed_is_found_and_what_was_not_is_made(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "two", "three")]
    for path, data in zip(files, (b"1" * 5000, b"2" * 70, b"1" * 5000), strict=True):
        path.write_bytes(data)
    packed.pack(files, tmp_path)
    found = packed.read(tmp_path)
    assert len(found.index) == 2
    assert (tmp_path / "packed.bin").stat().st_size == sum(size for _, size in found.index.values())
    for data in (b"1" * 5000, b"2" * 70, b"never seen" * 9):
        assert found.frame(data) == packed.compress(data)


def test_zstd_itself_reads_them_and_sees_damage(tmp_path: Path) -> None:
    (tmp_path / "frame").write_bytes(packed.compress(bytes(range(256)) * 40))
    assert run(["zstd", "-dc", tmp_path / "frame"]).stdout == bytes(range(256)) * 40
    said = run(["zstd", "-lv", tmp_path / "frame"]).text
    assert "XXH64" in said
    assert "10240 B" in said.replace("10.0 KiB (", "")
