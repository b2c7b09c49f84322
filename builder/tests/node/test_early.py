"""What the initrd takes of a finished tree: as the node will have it, and no more than drivers need."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from proa.builder.node import early
from proa.builder.node.contents import Additions
from proa.builder.node.tree import Tree

MODULE = "/usr/lib/modules/6.1.0-1-amd64/updates/own.ko.xz"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    return Tree(root, owners=False)


def taken(tree: Tree, added: Additions) -> dict[str, str]:
    archive = tree.root.parent / early.ARCHIVE
    early.write(tree, added.origins, archive)
    with tarfile.open(archive) as file:
        members = file.getmembers()
    folder = tree.root.parent / "extracted"
    folder.mkdir()
    subprocess.run(["tar", "-x", "-f", archive, "-C", folder], check=True)
    assert all(member.isreg() and (member.mode, member.uid, member.mtime) == (0o644, 0, 0) for member in members)
    return {member.name[1:]: (folder / member.name).read_text() for member in members}


def test_b15_the_initrd_has_the_options_that_the_root_has(tree: Tree) -> None:
    """Whoever brought them, a package too; what somebody took out is out, what is masked is empty."""
    tree.write("/usr/lib/modprobe.d/a.conf", "options a b=1\n")
    tree.write("/usr/lib/modprobe.d/README", "x")
    tree.write("/usr/lib/modprobe.d/gone.conf", "blacklist x\n")
    tree.write("/usr/share/real.conf", "blacklist y\n")
    additions = Additions(tree)
    with additions.of("hook a.sh"):
        tree.remove("/usr/lib/modprobe.d/gone.conf")
        tree.write("/etc/modprobe.d/own.conf", "blacklist z\n")
        tree.link("/etc/modprobe.d/masked.conf", "/dev/null")
        tree.link("/etc/modprobe.d/link.conf", "../../usr/share/real.conf")
        tree.link("/etc/modprobe.d/circle.conf", "circle.conf")
        tree.write("/etc/sysctl.d/own.conf", "kernel.panic = 1\n")
    assert taken(tree, additions) == {
        "/etc/modprobe.d/circle.conf": "",
        "/etc/modprobe.d/link.conf": "blacklist y\n",
        "/etc/modprobe.d/masked.conf": "",
        "/etc/modprobe.d/own.conf": "blacklist z\n",
        "/usr/lib/modprobe.d/a.conf": "options a b=1\n",
    }


def test_b15_drivers_and_firmware_that_were_added_are_taken_and_those_of_packages_are_there(tree: Tree) -> None:
    tree.write("/usr/lib/firmware/of-a-package.bin", "x")
    additions = Additions(tree)
    with additions.of("hook a.sh"):
        tree.write("/lib/firmware/own.bin", "firmware")
        tree.write(MODULE, "module")
        tree.write(MODULE.replace("own", "left-out"), "module")
        tree.write("/usr/lib/modules/6.1.0-1-amd64/modules.dep", "x")
    additions.origins["/lib/firmware/own2.bin"] = "file /lib/firmware/own2.bin"
    tree.write("/lib/firmware/own2.bin", "more")
    tree.remove(MODULE.replace("own", "left-out"))
    assert taken(tree, additions) == {
        "/usr/lib/firmware/own.bin": "firmware",
        "/usr/lib/firmware/own2.bin": "more",
        MODULE: "module",
    }
    assert early.modules(tree.root.parent / early.ARCHIVE) == [f".{MODULE}"]


def test_b15_what_else_changes_in_the_root_leaves_it_alone(tree: Tree, tmp_path: Path) -> None:
    tree.write("/etc/modprobe.d/own.conf", "blacklist z\n")
    early.write(tree, (), tmp_path / "first")
    tree.write("/etc/motd", "hello")
    tree.path("/etc/modprobe.d/own.conf").touch()
    early.write(tree, ["/etc/motd"], tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
