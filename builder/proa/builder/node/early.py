"""What the initrd takes of a finished tree: how modules are loaded, and the drivers and firmware that were added.

The initrd is made of the packages' tree. A driver that it loads is never loaded again, so the options, blacklists and
firmware that the configuration and hooks bring for it have to be there as well. Everything else that boots early, such
as sysctl settings and udev's rules, is applied again in the root.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from proa.builder.node.tree import Tree

ARCHIVE: Final = "early.tar"
MODPROBE: Final = ("/etc/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d")
"""Folders that the initrd has as the finished tree has them (modprobe.d(5))."""
_FIRMWARE: Final = "/usr/lib/firmware/"
_MODULES: Final = "/usr/lib/modules/"
_MAX_LINKS: Final = 40


def write(tree: Tree, added: Iterable[str], archive: Path) -> None:
    """Write it as an archive of plain files, in order of names.

    Args:
        tree: The tree.
        added: Paths of the files that were added to the packages' own.
        archive: The file to write.
    """
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as file:
        for name in sorted({*_settings(tree), *_drivers(tree, added)}):
            data = _content(tree, name)
            entry = tarfile.TarInfo(f".{name}")
            entry.size, entry.mode = len(data), 0o644
            file.addfile(entry, io.BytesIO(data))


def modules(archive: Path) -> list[str]:
    """The paths of the kernel modules in an archive."""
    with tarfile.open(archive) as file:
        return [name for name in file.getnames() if name.startswith(f".{_MODULES}")]


def _settings(tree: Tree) -> Iterator[str]:
    for folder in MODPROBE:
        yield from (name for name, path in tree.files(folder) if path.name.endswith(".conf"))


def _drivers(tree: Tree, added: Iterable[str]) -> Iterator[str]:
    """Added modules and firmware that are still there, by the names that no link leads to."""
    for name in added:
        path = tree.path(name)
        found = f"/{path.relative_to(tree.root)}"
        module = found.startswith(_MODULES) and ".ko" in path.suffixes
        if (module or found.startswith(_FIRMWARE)) and (path.is_file() or path.is_symlink()):
            yield found


def _content(tree: Tree, inside: str) -> bytes:
    """What a file holds for those who read it; a link to nothing, as one to /dev/null, means an empty file."""
    for _ in range(_MAX_LINKS):
        path = tree.path(inside)
        if not path.is_symlink():
            return path.read_bytes() if path.is_file() else b""
        inside = str(PurePosixPath(inside).parent / path.readlink())
    return b""
