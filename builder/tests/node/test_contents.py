"""What the bill of materials is told of a finished tree: nothing that a hook brought is missing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from proa.builder.config.image_settings import File
from proa.builder.node import assemble, contents, var
from proa.builder.node.contents import Additions
from proa.builder.node.tree import Tree

STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2
Architecture: amd64
Conffiles:
 /etc/bash.bashrc 3e

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: amd64

Package: brought
Status: hold ok installed
Version: 1:2.0-1
Architecture: all
Source: brought-src (2.0)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    for name in ("etc", "usr/lib/tmpfiles.d", "usr/share", "var/lib/dpkg"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/kept").write_text("kept")
    (root / "etc/changed").write_text("before")
    (root / "var/lib/dpkg/status").write_text(STATUS)
    return Tree(root, owners=False)


def listed(additions: Additions) -> dict[str, str]:
    return {file["path"]: file["origin"] for file in additions.files()}


def test_b06_what_a_hook_writes_changes_or_links_is_known(tree: Tree) -> None:
    additions = Additions(tree)
    with additions.of("hook a.sh"):
        tree.write("/opt/tool/bin/x", "new")
        with tree.path("/etc/changed").open("r+") as file:
            file.write("BEFORE")  # of the same size
        tree.link("/opt/link", "tool/bin/x")
        tree.write("/run/passing", "x")
        tree.write("/opt/taken-away", "x")
    tree.remove("/opt/taken-away")
    assert listed(additions) == {"/etc/changed": "hook a.sh", "/opt/tool/bin/x": "hook a.sh"}
    found = {file["path"]: file["sha256"] for file in additions.files()}
    assert found["/opt/tool/bin/x"] == hashlib.sha256(b"new").hexdigest()


def test_b06_the_last_one_who_wrote_a_file_brought_it(tree: Tree) -> None:
    additions = Additions(tree)
    for origin in ("hook a.sh", "hook b.sh"):
        with additions.of(origin):
            tree.write("/etc/changed", origin)
    assert listed(additions) == {"/etc/changed": "hook b.sh"}


def test_b06_files_of_var_are_known_by_their_copies(tree: Tree) -> None:
    additions = Additions(tree)
    with additions.of("hook a.sh"):
        tree.write("/var/lib/app/data", "x")
    var.move_out(tree)
    assert listed(additions) == {"/var/lib/app/data": "hook a.sh"}


def test_b06_every_file_of_the_configuration_is_told(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "files/below").mkdir(parents=True)
    (tmp_path / "files/a").touch()
    (tmp_path / "files/below/b").touch()
    (tmp_path / "files/link").symlink_to("a")
    assert assemble.add_file(tree, File("/opt/x", source="files"), tmp_path) == ["/opt/x/a", "/opt/x/below/b"]
    assert assemble.add_file(tree, File("/etc/y", content="y"), tmp_path) == ["/etc/y"]


def test_b06_packages_are_those_of_the_finished_tree(tree: Tree) -> None:
    additions = Additions(tree)
    with additions.of("hook pip.sh"):
        folder = "/usr/local/lib/python3.11/dist-packages"
        tree.write(
            f"{folder}/Some_Tool-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: Some_Tool\nVersion: 1.2\n"
        )
        tree.write(f"{folder}/broken.dist-info/METADATA", "Name: broken\n")
        tree.write(f"{folder}/old.egg-info/PKG-INFO", "Name: old\nVersion: 3\n\nA description.\n")
    var.move_out(tree)
    found = contents.document(tree, additions)
    assert [(one["package"], one["version"]) for one in found["installed"]] == [("bash", "5.2"), ("brought", "1:2.0-1")]
    assert found["python"] == [{"package": "Some_Tool", "version": "1.2"}, {"package": "old", "version": "3"}]
