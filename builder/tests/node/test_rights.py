"""Rights that a file lends to whoever runs it reach the release: mode bits, capabilities, extended attributes."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from proa.builder.config.image_settings import File
from proa.builder.engine import namespace
from proa.builder.node import assemble, var
from proa.builder.node.tree import Tree
from proa.core.runtime.process import run

IN_A_ROOM = """
from pathlib import Path
from proa.builder.config.image_settings import File
from proa.builder.node import assemble
from proa.builder.node.tree import Tree
here = Path.cwd()
file = File("/usr/bin/a", content="x", mode="0750", owner="7:8", capabilities="cap_net_raw,cap_net_admin=ep")
assemble.add_file(Tree(here), file, here)
"""
UID, GID = os.geteuid(), os.getegid()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text(f"me:x:{UID}:{GID}::/:/bin/sh\n")
    (root / "etc/group").write_text(f"us:x:{GID}:\n")
    return Tree(root)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6711, 0o1755, 0o755])
def test_b05_a_file_keeps_the_bits_of_its_mode(tree: Tree, tmp_path: Path, bits: int) -> None:
    assemble.add_file(tree, File("/usr/bin/x", content="x", mode=f"{bits:o}", owner="me:us"), tmp_path)
    assert mode(tree.root / "usr/bin/x") == bits


def test_b05_every_file_of_a_folder_keeps_them(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "files/below").mkdir(parents=True)
    (tmp_path / "files/a").touch()
    (tmp_path / "files/below/b").touch()
    assemble.add_file(tree, File("/opt/x", source="files", mode="4750", owner="me:us"), tmp_path)
    assert [mode(tree.root / name) for name in ("opt/x/a", "opt/x/below/b")] == [0o4750, 0o4750]
    assert mode(tree.root / "opt/x/below") == 0o755


@pytest.mark.parametrize("bits", [0o1777, 0o2775, 0o3770])
def test_b05_a_folder_keeps_them(tree: Tree, bits: int) -> None:
    assert mode(tree.folder("/srv/x", bits, (UID, GID))) == bits
    assert mode(tree.folder("/srv/x", bits, (UID, GID))) == bits


def test_b05_extended_attributes_are_there_in_the_end(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    asked = ("user.note=a = b", "user.empty=")
    assemble.add_file(tree, File("/usr/bin/a", content="x", owner="me:us", xattrs=asked), tmp_path)
    assemble.add_file(tree, File("/usr/bin/b", source="program", owner="me:us", xattrs=asked), tmp_path)
    for name in ("a", "b"):
        found = tree.root / "usr/bin" / name
        assert (os.getxattr(found, "user.note"), os.getxattr(found, "user.empty")) == (b"a = b", b"")


@pytest.mark.contract
def test_b05_capabilities_outlive_owner_and_mode(tree: Tree, tmp_path: Path) -> None:
    """In a room, where an ordinary user may give them too; getcap(8) reads them there."""
    for program in (IN_A_ROOM, "getcap /proc/self/cwd/usr/bin/a"):
        words = ("sh", "-c", program) if program.startswith("getcap") else (sys.executable, "-c", program)
        said = run((*namespace.enter(network=False), *words), cwd=tree.root).text
    assert said.split() == ["/proc/self/cwd/usr/bin/a", "cap_net_admin,cap_net_raw=ep"]


def test_b05_the_copy_of_a_file_of_var_lends_nothing(tree: Tree) -> None:
    """It belongs to root, whomever the file in /var belongs to; the node's own copy has the bits."""
    tree.write("/var/lib/app/helper", "x", 0o4755, (UID, GID))
    var.move_out(tree)
    assert f"C /var/lib/app/helper 4755 {UID} {GID} -" in tree.read(var.CONF)
    assert mode(tree.root / "usr/share/factory/var/lib/app/helper") == 0o755
