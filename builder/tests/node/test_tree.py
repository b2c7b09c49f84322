"""A root in a folder: nothing that is done to it reaches outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "absolute").symlink_to("/usr/lib")
    (root / "outside").symlink_to("../../../../../etc")
    (root / "circle").symlink_to("circle")
    return Tree(root, owners=False)


@pytest.mark.parametrize(
    ("inside", "place"),
    [
        ("/usr/lib/x", "usr/lib/x"),
        ("/lib/x", "usr/lib/x"),
        ("/absolute/x", "usr/lib/x"),
        ("/outside/passwd", "etc/passwd"),
        ("/../../etc/passwd", "etc/passwd"),
        ("/lib", "lib"),
        ("/", ""),
    ],
)
def test_paths_stay_inside(tree: Tree, inside: str, place: str) -> None:
    assert tree.path(inside) == tree.root / place


def test_a_circle_of_links_is_told(tree: Tree) -> None:
    with pytest.raises(ProaError) as raised:
        tree.path("/circle/x")
    assert raised.value.code is Code.CONFIG_VALUE


def test_a_written_file_has_its_mode_and_replaces_a_link(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tree.root / "usr" / "file").symlink_to(tmp_path / "victim")
    before = os.umask(0o077)
    try:
        tree.write("/usr/file", "new", 0o755)
        tree.write("/a/b/file", b"x", 0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "victim").read_text() == "untouched"
    assert (tree.root / "usr" / "file").stat().st_mode & 0o7777 == 0o755
    assert (tree.root / "a").stat().st_mode & 0o7777 == 0o755
    assert (tree.root / "a" / "b" / "file").stat().st_mode & 0o7777 == 0o640


def test_a_folder_is_not_written_over(tree: Tree) -> None:
    with pytest.raises(ProaError):
        tree.write("/usr/lib", "x")


def test_removing_and_emptying(tree: Tree) -> None:
    for name in ("a.log", "b.log", "c.txt", ".hidden", "folder/inner"):
        tree.write(f"/var/{name}", "x")
    tree.remove("/var/*.log")
    assert sorted(path.name for path in tree.path("/var").iterdir()) == [".hidden", "c.txt", "folder"]
    tree.empty("/var")
    assert list(tree.path("/var").iterdir()) == []
    tree.remove("/nowhere/*")


def test_files_come_in_order(tree: Tree) -> None:
    tree.write("/b/x", "")
    tree.write("/b/a", "")
    assert [inside for inside, _ in tree.files("/b")] == ["/b/a", "/b/x"]
    assert list(tree.files("/nowhere")) == []
