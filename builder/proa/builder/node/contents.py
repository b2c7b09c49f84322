"""What is in a root besides its packages: who put it there, for the bill of materials.

Hooks may do anything in the tree, package managers included. So the package database of the finished tree counts, and
every file that the configuration or a hook left there is listed with its hash.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

from proa.builder.engine import sources
from proa.builder.node.tree import Tree
from proa.builder.node.var import FACTORY

FIELDS: Final = ("Package", "Version", "Architecture", "Source", "Maintainer", "Homepage")
"""What is kept of each package."""
_PYTHON: Final = re.compile(r"\.(?:dist|egg)-info/(?:METADATA|PKG-INFO)$")
_PASSING: Final = ("/proc", "/dev", "/tmp", "/run", "/sys", "/var/lib/dpkg", "/var/cache", "/var/log")  # noqa: S108
_Seen = Mapping[str, tuple[int, int, int]]


@dataclass
class Additions:
    """Files of a tree, and who put each there.

    Attributes:
        tree: The tree.
        origins: The path in the tree to the setting that brought it, such as ``hook[0]`` or ``file[2]``.
    """

    tree: Tree
    origins: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def of(self, origin: str) -> Iterator[None]:
        """Whatever is new or has changed when the block ends came from ``origin``."""
        before = self._seen()
        yield
        for name, state in self._seen().items():
            if before.get(name) != state:
                self.origins[name] = origin

    def files(self) -> list[dict[str, str]]:
        """Path, hashes and origin of each that the finished tree has, in order of paths."""
        found = []
        for name, origin in sorted(self.origins.items()):
            path = next((path for path in self._places(name) if path.is_file() and not path.is_symlink()), None)
            if path is not None:
                found.append({"path": name, "origin": origin, **_hashes(path)})
        return found

    def python(self) -> list[dict[str, str]]:
        """The Python packages among them, by their own metadata."""
        found = []
        for name in sorted(name for name in self.origins if _PYTHON.search(name)):
            path = self.tree.path(name)
            fields = HeaderParser().parsestr(path.read_text(errors="replace") if path.is_file() else "")
            if fields["Name"] and fields["Version"]:
                found.append({"package": str(fields["Name"]), "version": str(fields["Version"])})
        return found

    def _places(self, name: str) -> tuple[Path, ...]:
        return self.tree.path(name), self.tree.path(f"{FACTORY}{name}")

    def _seen(self) -> _Seen:
        """Every file with what changes when somebody writes to it, on a time that nobody sets (inode(7), st_ctime)."""
        found: dict[str, tuple[int, int, int]] = {}
        root = str(self.tree.root)
        for folder, below, names in os.walk(root):
            inside = folder.removeprefix(root)
            below[:] = [name for name in below if f"{inside}/{name}" not in _PASSING]
            for name in names:
                status = os.lstat(f"{folder}/{name}")
                found[f"{inside}/{name}"] = (status.st_ino, status.st_size, status.st_ctime_ns)
        return found


def installed(status: str) -> list[dict[str, str]]:
    """The packages that dpkg's database has as installed."""
    found = sources.stanzas(status)
    return [entry(fields) for fields in found if fields.get("Status", "").endswith(" installed")]


def entry(fields: Mapping[str, str]) -> dict[str, str]:
    """What is kept of a package, from its paragraph of a control file."""
    return {name.lower(): fields[name] for name in FIELDS if name in fields}


def document(tree: Tree, additions: Additions) -> dict[str, Any]:
    """``contents.json`` of a tree to be sealed: the distribution, packages, files that the user and hooks brought."""
    database = tree.read("/usr/lib/sysimage/dpkg/status")
    release = dict(line.split("=", 1) for line in tree.read("/usr/lib/os-release").splitlines() if "=" in line)
    return {
        "system": {"name": release.get("ID", "").strip('"'), "version": release.get("VERSION_ID", "").strip('"')},
        "installed": installed(database),
        "python": additions.python(),
        "files": additions.files(),
    }


def _hashes(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    # SPDX 2.3, section 8.4, wants SHA-1 of every file; nothing is proved by it.
    return {"sha1": hashlib.sha1(data, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
