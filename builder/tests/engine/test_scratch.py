"""Temporary folders vanish, also after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.builder.engine import scratch
from proa.core.runtime import process


def test_it_vanishes_at_the_end(tmp_path: Path) -> None:
    with scratch.folder(tmp_path / "tmp", "a") as made:
        (made / "file").touch()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_it_vanishes_after_a_failure(tmp_path: Path) -> None:
    def interrupted() -> None:
        with scratch.folder(tmp_path, "a") as made:
            (made / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_is_swept_and_what_is_in_use_stays(tmp_path: Path) -> None:
    left = tmp_path / "step.killed"
    left.mkdir()
    (left / ".in-use").touch()
    (left / "file").touch()
    with scratch.folder(tmp_path, "step") as used:
        scratch.sweep(tmp_path)
        assert used.exists()
        assert not left.exists()
    scratch.sweep(tmp_path / "nowhere")


def test_what_is_made_just_now_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / ".step.k2j4x_9a").mkdir()  # not locked yet
    scratch.sweep(tmp_path)
    assert (tmp_path / ".step.k2j4x_9a").is_dir()


def test_folders_are_spread_where_the_file_system_can(tmp_path: Path) -> None:
    parent = tmp_path / "tmp"
    scratch.spread(parent)
    scratch.spread(parent)
    if process.run(["stat", "--file-system", "--format=%T", parent]).text.strip() == "ext2/ext3":
        assert "T" in process.run(["lsattr", "-d", parent]).text.split()[0]
    with scratch.folder(parent, "step") as made:
        assert made.parent == parent


def test_a_file_system_that_cannot_is_no_error() -> None:
    before = sorted(path.name for path in Path("/proc/self/attr").iterdir())
    scratch.spread(Path("/proc/self/attr"))
    assert sorted(path.name for path in Path("/proc/self/attr").iterdir()) == before
