"""The last release is the newest tag before this commit, and its code can be unpacked beside the tree's."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.core.runtime.errors import ProaError
from proa.core.runtime.process import run
from upkeep.last_release import UNTAGGED, last_release, unpack


def git(tree: Path, *words: str) -> None:
    run(["git", "-C", tree, "-c", "user.name=A", "-c", "user.email=a@example.org", *words])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of three commits."""
    folder = tmp_path / "tree"
    (folder / "hull/proa").mkdir(parents=True)
    git(folder, "init", "--quiet")
    for number in range(3):
        (folder / "hull/proa/boat.py").write_text(f"VERSION = {number}\n")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", f"--message=boat: {number}")
    return folder


def test_the_newest_tag_before_this_commit(tree: Path) -> None:
    assert last_release(tree) == UNTAGGED
    git(tree, "tag", "v1", "HEAD~2")
    git(tree, "tag", "other", "HEAD~1")
    assert last_release(tree) == "v1"
    git(tree, "tag", "v2", "HEAD~1")
    assert last_release(tree) == "v2"
    git(tree, "tag", "v3")
    assert last_release(tree) == "v2", "a release is compared with the one before it"


def test_its_code_is_unpacked_beside_this(tree: Path, tmp_path: Path) -> None:
    git(tree, "tag", "v1", "HEAD~1")
    (tmp_path / "old").mkdir()
    assert unpack(tmp_path / "old", "hull", tree=tree) == (tmp_path / "old/hull",)
    assert (tmp_path / "old/hull/proa/boat.py").read_text() == "VERSION = 1\n"


def test_a_history_that_ends_before_it_is_an_error(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ProaError, match=UNTAGGED):
        unpack(tmp_path, "hull", tree=tree)
