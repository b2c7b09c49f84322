"""Every folder and file that packages have in /var is made on the node, with its owner (n03)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proa.builder.node import var
from proa.builder.node.tree import Tree
from proa.core.runtime.process import run

UID, GID = os.geteuid(), os.getegid()


def put(tree: Tree, inside: str, mode: int = 0o755, text: str | None = None) -> None:
    path = tree.root / inside.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.mkdir(exist_ok=True)
    else:
        path.write_text(text)
    path.chmod(mode)


def conf(tree: Tree, text: str, name: str = "x.conf", folder: str = "usr/lib") -> None:
    put(tree, str(Path(folder, "tmpfiles.d", name)), 0o644, text)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, owners=False)
    for name in ("usr/lib/tmpfiles.d", "usr/share", "var/lib/dpkg", "etc"):
        put(tree, name)
    return tree


def lines(tree: Tree) -> str:
    var.move_out(tree)
    return tree.read(var.CONF)


ADJUSTING = "z Z a a+ A+ h H t T+ x X r R! e w w+ m z- #d f^ d^"


@pytest.mark.parametrize("kind", ADJUSTING.split())
def test_n03_a_line_that_adjusts_makes_nothing(tree: Tree, kind: str) -> None:
    put(tree, "/var/log/journal", 0o2755)
    conf(tree, f"{kind} /var/log/journal 2755 root systemd-journal - -\n")
    assert f"d /var/log/journal 2755 {UID} {GID} -\n" in lines(tree)


@pytest.mark.parametrize("kind", ["d", "D", "D!", "d-", "d=", "v", "q", "Q", "C", "C+", "L", "L+", "L?", "d$", "D!-~"])
@pytest.mark.parametrize("path", ["/var/log/app", '"/var/log/app"', "/var/log/app/"])
def test_n03_a_line_that_creates_is_enough(tree: Tree, kind: str, path: str) -> None:
    put(tree, "/var/log/app", 0o750)
    conf(tree, f"{kind}\t{path} 0750 - - -\n")
    assert "/var/log/app" not in lines(tree)


def test_n03_a_path_with_a_blank_is_read_whole(tree: Tree) -> None:
    put(tree, "/var/lib/my app")
    put(tree, "/var/lib/my")
    conf(tree, 'd "/var/lib/my app" 0755 - - -\n')
    assert f"d /var/lib/my 0755 {UID} {GID} -\n" in (found := lines(tree))
    assert "my app" not in found


def test_n03_a_file_that_the_owner_replaced_makes_nothing(tree: Tree) -> None:
    put(tree, "/var/lib/one")
    put(tree, "/var/lib/two")
    conf(tree, "d /var/lib/one - - - -\n")
    conf(tree, "d /var/lib/two - - - -\n", folder="etc")
    conf(tree, "d /var/lib/three - - - -\n", name="README")
    found = lines(tree)
    assert "d /var/lib/one " in found
    assert "d /var/lib/two " not in found


def test_n03_folders_of_caches_stay_with_their_owners_and_their_files_go(tree: Tree) -> None:
    put(tree, "/var/cache/bind", 0o775)
    put(tree, "/var/cache/bind/zone.jnl", 0o644, "made again")
    put(tree, "/var/cache/man/de", 0o2755)
    for name in ("apt/archives", "debconf", "ldconfig"):
        put(tree, f"/var/cache/{name}")
    found = lines(tree)
    assert f"d /var/cache/bind 0775 {UID} {GID} -\n" in found
    assert f"d /var/cache/man/de 2755 {UID} {GID} -\n" in found
    for gone in ("zone.jnl", "apt", "debconf", "ldconfig"):
        assert gone not in found


def seen(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Kind and mode, owner and group of all that is below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        mode = stat.S_IFMT(status.st_mode) if path.is_symlink() else status.st_mode
        found[str(path.relative_to(folder))] = (mode, status.st_uid, status.st_gid)
    return found


@pytest.mark.contract
def test_n03_what_packages_have_in_var_is_what_the_node_makes(tmp_path: Path) -> None:
    """A real root with daemons that need folders of their own, and the real systemd-tmpfiles."""
    root, packages = tmp_path / "root", "systemd,bind9,man-db,openssh-server,cron,dbus"
    options = ("--variant=minbase", "--mode=root", "--format=directory", f"--include={packages}")
    run(["mmdebstrap", *options, "bookworm", str(root)], timeout=900)
    tree = Tree(root)
    for pattern in (*var._DROPPED, "/var/lib/dpkg"):
        tree.remove(pattern)
    before = {
        name: one for name, one in seen(root / "var").items() if not var._is_cached(f"/var/{name}", root / "var" / name)
    }
    put(tree, "/var/lib/dpkg")
    var.move_out(tree)
    run(["systemd-tmpfiles", "--create", f"--root={root}", "--prefix=/var"], check=False, timeout=60)
    made = seen(root / "var")
    adjusted = {"log/journal"}  # a line of systemd's gives it another mode than its package
    lost = {
        name: (one, made.get(name)) for name, one in before.items() if name not in adjusted and made.get(name) != one
    }
    assert lost == {}
    assert "log/journal" in made
    assert "cache/bind" in made
