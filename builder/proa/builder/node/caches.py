"""What programs compile of files that lie in a tree: made again last, when hooks and ``[[file]]`` have added theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from proa.builder.node.tree import Tree

_LIBRARIES: Final = ("/opt/", "/usr/lib/", "/usr/local/lib/", "/lib/")
_REFRESH: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("/usr/sbin/ldconfig",): (
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d/",
        "/opt/",
        "/usr/lib/",
        "/usr/local/lib/",
        "/lib/",
    ),
    ("/usr/bin/systemd-hwdb", "--usr", "update"): ("/etc/udev/hwdb.d/", "/usr/lib/udev/hwdb.d/", "/lib/udev/hwdb.d/"),
    ("/usr/sbin/update-ca-certificates",): ("/usr/local/share/ca-certificates/", "/etc/ca-certificates.conf"),
    ("/usr/bin/glib-compile-schemas", "/usr/share/glib-2.0/schemas"): ("/usr/share/glib-2.0/schemas/",),
}
"""Programs, and where the files lie that they compile."""


def commands(tree: Tree, added: Iterable[str]) -> list[tuple[str, ...]]:
    """The programs to run, of those that the tree has.

    Args:
        tree: The tree.
        added: Paths of the files that were added to the packages' own.
    """
    names = tuple(added)
    return [
        command
        for command, places in _REFRESH.items()
        if any(name.startswith(places) for name in names) and tree.exists(command[0])
    ]


def refresh(tree: Tree, added: Iterable[str]) -> None:
    """Run them, in a tree that is prepared for it.

    Raises:
        ProaError: ``TOOL``.
    """
    for command in commands(tree, added):
        tree.run(command)
