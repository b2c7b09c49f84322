"""/var is the node's own: a release ships it empty, and tmpfiles.d(5) lines that make on the node what packages need.

What the packages left in /var becomes lines of ``/usr/lib/tmpfiles.d/proa-var.conf``, unless another file there makes
the path already: folders are made, files copied once from ``/usr/share/factory``. The package database, which must
follow the release, moves to ``/usr/lib/sysimage`` and stays readable at its old place.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.builder.node.tree import Tree

CONF: Final = "/usr/lib/tmpfiles.d/proa-var.conf"
_DATABASE: Final = "/usr/lib/sysimage/dpkg"
FACTORY: Final = "/usr/share/factory"
"""Where the copies of files of /var lie, as systemd has it (file-hierarchy(7))."""
_DROPPED: Final = (
    "/var/backups",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/ldconfig",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/deb-systemd-*",
    "/var/lib/systemd/random-seed",
    "/var/lib/ucf",
    "/var/log/*.log",
    "/var/log/apt",
    "/var/log/btmp",
    "/var/log/faillog",
    "/var/log/lastlog",
    "/var/log/wtmp",
    "/var/tmp/*",  # noqa: S108
)
"""What is left over from installing packages, is made by itself, or is an identity that each node makes by itself."""


def move_out(tree: Tree) -> list[str]:
    """Empty /var and write down how it is made again.

    Returns:
        The files that a node copies once: it keeps what it has, whatever a later release brings.
    """
    database = tree.path("/var/lib/dpkg")
    if database.is_dir():
        tree.folder("/usr/lib/sysimage")
        for name in ("*-old", "lock*", "triggers/Lock", "updates"):
            tree.remove(f"/var/lib/dpkg/{name}")
        database.rename(tree.path(_DATABASE))
    for pattern in _DROPPED:
        tree.remove(pattern)
    known = _known(tree)
    lines = [f"L+ /var/lib/dpkg - - - - ../..{_DATABASE}"]
    lines += [
        line
        for inside, path in tree.files("/var")
        if inside not in known and not _is_cached(inside, path) and (line := _line(tree, inside, path))
    ]
    once = [inside for inside, path in tree.files("/var") if tree.exists(f"{FACTORY}{inside}") and path.is_file()]
    tree.write(CONF, "# What packages need in /var; written by proa-build.\n" + "".join(f"{line}\n" for line in lines))
    tree.empty("/var")
    return once


def _line(tree: Tree, inside: str, path: Path) -> str:
    """The tmpfiles.d line that makes a file or folder again; empty for what is neither."""
    status = path.lstat()
    name = _quote(inside)
    owner = f"{stat.S_IMODE(status.st_mode):04o} {status.st_uid} {status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"L {name} - - - - {_quote(str(path.readlink()))}"
    if stat.S_ISDIR(status.st_mode):
        return f"d {name} {owner} -"
    if not stat.S_ISREG(status.st_mode):
        return ""
    if status.st_size == 0:
        return f"f {name} {owner} -"
    # The copy is root's: with the bits that lend an owner's rights it would lend root's.
    tree.write(f"{FACTORY}{inside}", path.read_bytes(), status.st_mode & 0o777)
    return f"C {name} {owner} -"


def _is_cached(inside: str, path: Path) -> bool:
    """Whether it is a file of a cache, which is made again by itself; its folder has an owner, and is not."""
    return inside.startswith("/var/cache/") and not (path.is_dir() and not path.is_symlink())


_CREATING: Final = re.compile(r"[fFdDvqQpLcbC][+!\-=~?$]*")
"""Types of lines that make a path which is not there; the others adjust, write to, clean or remove what is there.

With ``w+`` a line writes to what is there, and with ``^`` it counts only on a node that has the credential it names."""
_WORD: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def _known(tree: Tree) -> set[str]:
    """Paths that some tmpfiles.d file makes."""
    known = set()
    for path in _files(tree):
        for line in path.read_text().splitlines():
            kind, *rest = line.split(maxsplit=1)[:2] or [""]
            if _CREATING.fullmatch(kind) and rest and (word := _WORD.match(rest[0])):
                known.add((word[1] or word[2]).rstrip("/"))
    return known


def _files(tree: Tree) -> Iterator[Path]:
    """The files that count: one in /etc stands in the place of one in /usr of the same name, and may be empty."""
    found: dict[str, Path] = {}
    for folder in ("/usr/lib/tmpfiles.d", "/etc/tmpfiles.d"):
        found |= {path.name: path for inside, path in tree.files(folder) if inside.count("/") == folder.count("/") + 1}
    for _, path in sorted(found.items()):
        if path.suffix == ".conf" and path.is_file() and not path.is_symlink():
            yield path


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{escaped}"' if any(character.isspace() for character in text) or escaped != text else text
