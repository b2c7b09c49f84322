"""Compiled configuration sees the files that hooks and the configuration add."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.builder.node import caches
from proa.builder.node.tree import Tree


@pytest.mark.parametrize(
    ("added", "program"),
    [
        ("/etc/ld.so.conf.d/own.conf", "ldconfig"),
        ("/opt/vendor/lib/libown.so.1", "ldconfig"),
        ("/usr/local/lib/libown.so", "ldconfig"),
        ("/usr/lib/x86_64-linux-gnu/libown.so.2", "ldconfig"),
        ("/etc/udev/hwdb.d/99-own.hwdb", "systemd-hwdb"),
        ("/usr/local/share/ca-certificates/own.crt", "update-ca-certificates"),
        ("/etc/ca-certificates.conf", "update-ca-certificates"),
        ("/usr/share/glib-2.0/schemas/own.xml", "glib-compile-schemas"),
        ("/etc/motd", ""),
    ],
)
def test_b15_what_is_compiled_of_an_added_file_is_made_again(tmp_path: Path, added: str, program: str) -> None:
    tree = Tree(tmp_path / "root", owners=False)
    assert caches.commands(tree, [added]) == []  # the tree has none of the programs
    for name in ("sbin/ldconfig", "bin/systemd-hwdb", "sbin/update-ca-certificates", "bin/glib-compile-schemas"):
        tree.write(f"/usr/{name}", "", 0o755)
    found = [Path(command[0]).name for command in caches.commands(tree, [added, "/etc/other"])]
    assert found == ([program] if program else [])
