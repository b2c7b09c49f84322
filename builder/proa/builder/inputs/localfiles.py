"""Files of the user's that go into the root: one walk, from which both the key and the copy are made.

What counts is what the copy keeps: names, links, content, and whether the owner may execute it. Other bits of the
mode depend on the umask of the user who made the checkout.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proa.builder.inputs import fingerprint
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors

_LEFT_OUT = "__pycache__"


class FileKind(enum.Enum):
    """What an item is."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True)
class Item:
    """A file, folder or link.

    Attributes:
        name: Its path below the source; empty for the source itself.
        path: Where it lies.
        kind: What it is.
    """

    name: str
    path: Path
    kind: FileKind

    @property
    def mode(self) -> int:
        """0755 for a folder and for what its owner may execute, else 0644."""
        return 0o755 if self.kind is FileKind.FOLDER or self.path.stat().st_mode & 0o100 else 0o644

    @property
    def identity(self) -> str:
        """All that the copy has of it."""
        match self.kind:
            case FileKind.FOLDER:
                return "folder"
            case FileKind.LINK:
                return f"link {self.path.readlink()}"
            case FileKind.FILE:
                return f"{self.mode:o} {fingerprint.file(self.path)}"


def walk(source: Path) -> Iterator[Item]:
    """The source and all below it, a folder before what is in it, in order of names.

    A source that is a link stands for what it leads to; links below it stay links. Python's ``__pycache__`` is left
    out: it changes when nothing else does.

    Raises:
        ProaError: ``FILE_MISSING``, ``FILE_DENIED`` or ``DEVICE``; ``CONFIG_VALUE`` for a pipe, a socket or a device.
    """
    with os_errors(source):
        yield from _walk(Path(os.path.realpath(source, strict=True)), "")


def key(source: Path) -> dict[str, str]:
    """What stands in a step's key for the source: names and identities."""
    return {item.name: item.identity for item in walk(source)}


def _walk(path: Path, name: str) -> Iterator[Item]:
    if path.is_symlink():
        yield Item(name, path, FileKind.LINK)
    elif path.is_dir():
        yield Item(name, path, FileKind.FOLDER)
        for below in sorted(path.iterdir()):
            if below.name != _LEFT_OUT:
                yield from _walk(below, f"{name}/{below.name}".lstrip("/"))
    elif path.is_file():
        yield Item(name, path, FileKind.FILE)
    else:
        raise ProaError(Code.CONFIG_VALUE, "it is neither a file, a folder nor a link", at=path, hint="Remove it.")
