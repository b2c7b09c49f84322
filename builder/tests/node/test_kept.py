"""A release has nothing below what the node keeps, whatever brought it (n15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.builder.config.loading import load
from proa.builder.node import kept, var
from proa.builder.node.tree import Tree
from proa.builder.steps.root import copied_once
from proa.core.runtime.errors import Code, ProaError, ProaErrors


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name in ("root", "home", "opt/cni", "srv", "usr/share", "usr/lib"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    return Tree(tmp_path / "tree", owners=False)


@pytest.mark.parametrize(
    "name",
    [
        "/srv/www/index.html",
        "/srv/www",
        "/home/bob/.ssh/authorized_keys",
        "/home/bob",
        "/root/.ssh/config",
        "/root/.hidden",
        "/opt/cni/bin/bridge",
        "/data/deep/down/file",
    ],
)
def test_n15_content_below_a_kept_folder_is_refused(tree: Tree, name: str) -> None:
    place = tree.root / name.lstrip("/")
    if "." in place.name or place.name in ("bridge", "file", "config"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x")
    else:
        place.mkdir(parents=True)
    with pytest.raises(ProaError) as caught:
        kept.check(tree, ("/srv", "/data"))
    assert caught.value.code is Code.CONFIG_VALUE
    assert name in caught.value.message or Path(name).parts[2] in caught.value.message
    assert "tmpfiles.d" in caught.value.hint


def test_n15_a_link_is_content_too(tree: Tree) -> None:
    (tree.root / "srv/www").symlink_to("/usr/share/www")
    with pytest.raises(ProaError):
        kept.check(tree, ("/srv",))


def test_n15_many_names_are_counted(tree: Tree) -> None:
    for number in range(9):
        (tree.root / f"srv/{number}").touch()
    with pytest.raises(ProaError, match="and 4 more"):
        kept.check(tree, ("/srv",))


def test_n15_empty_places_are_taken(tree: Tree) -> None:
    (tree.root / "usr/share/www").mkdir()
    kept.check(tree, ("/srv", "/not/there"))


def test_n15_what_the_base_system_brings_for_root_is_copied_where_it_is_missing(tree: Tree) -> None:
    (tree.root / "root/.bashrc").write_text("alias l=ls\n")
    (tree.root / "root/.profile").write_text("umask 022\n")
    kept.check(tree, ())
    assert list((tree.root / "root").iterdir()) == []
    assert tree.read("/usr/share/factory/root/.bashrc") == "alias l=ls\n"
    assert "C /root/.profile 0644 0 0 -\n" in tree.read(kept.CONF)


HEAD = '[release]\nname = "n"\nversion = "1.0.0"\n[persist]\nkeep = ["/srv"]\n'


@pytest.mark.parametrize(
    ("path", "item"),
    [
        ("/srv/www/index.html", ""),
        ("/opt", "cni/bin/bridge"),
        ("/srv", "deep/down"),
    ],
)
def test_n15_a_file_below_a_kept_folder_is_refused_by_check(tmp_path: Path, path: str, item: str) -> None:
    (tmp_path / "files" / item).parent.mkdir(parents=True, exist_ok=True)
    what = 'content = "x"'
    if item:
        (tmp_path / "files" / item).write_text("x")
        what = 'source = "files"'
    (tmp_path / "proa.toml").write_text(f'{HEAD}[[file]]\npath = "{path}"\n{what}\n')
    with pytest.raises(ProaErrors) as caught:
        load(tmp_path / "proa.toml")
    assert any("is on the node's own file systems" in error.message for error in caught.value.errors)


def test_n15_an_empty_folder_of_the_base_system_is_made_on_the_node(tree: Tree) -> None:
    """Debian's base system has it, so nothing else could be built."""
    tree.folder("/root/.ssh", 0o700)
    kept.check(tree, ())
    assert not tree.exists("/root/.ssh")
    assert "d /root/.ssh 0700 0 0 -\n" in tree.read(kept.CONF)
    tree.write("/root/.ssh/authorized_keys", "key\n")
    with pytest.raises(ProaError, match=r"/root/\.ssh"):
        kept.check(tree, ())


def test_n15_what_a_hook_leaves_in_var_is_told(tree: Tree) -> None:
    """A package's scripts may run in a hook, so it is not refused; a later release never changes it on a node."""
    tree.write("/var/lib/app/schema.sql", "create")
    tree.write("/var/cache/app/made", "x")
    tree.write("/var/lib/app/empty", "")
    tree.link("/var/lib/app/link", "schema.sql")
    assert var.move_out(tree) == ["/var/lib/app/schema.sql"]
    ((origin, text),) = copied_once({"/var/lib/b": "hook b.sh", "/var/lib/a": "hook b.sh"})
    assert origin == "hook b.sh"
    assert text.startswith("/var/lib/a and 1 more: a node copies it where it is missing")
    assert list(copied_once({})) == []
