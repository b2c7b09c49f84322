"""The one layer of the image, as a tar archive that is the same no matter who makes it, and when."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

_DATE: Final = 0
_BLOCK: Final = 512


@dataclass
class Layer:
    """Files that are to be in the image. All belong to root, and nobody but root may write to any.

    Attributes:
        date: The time that every file gets, in seconds since 1970.
    """

    date: int
    _entries: dict[str, tuple[tarfile.TarInfo, bytes]] = field(default_factory=dict)

    def add(self, found: tarfile.TarInfo, content: bytes) -> None:
        """Take an entry of another archive in; a folder that is there already stays as it is.

        Raises:
            ValueError: For what is neither file, folder nor link.
        """
        name = str(PurePosixPath(found.name))
        if name == "." or (found.isdir() and name in self._entries):
            return
        info = tarfile.TarInfo(name)
        if found.isdir():
            info.type, info.mode = tarfile.DIRTYPE, 0o755
        elif found.issym():
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, found.linkname
        elif found.islnk():
            target = str(PurePosixPath(found.linkname))
            info.type, info.mode, info.linkname = tarfile.LNKTYPE, self._entries[target][0].mode, target
        elif found.isreg():
            info.mode = 0o755 if found.mode & stat.S_IXUSR else 0o644
        else:
            raise ValueError(f"{name} is neither a file, a folder nor a link")
        self._put(info, content)

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Put a file there."""
        info = tarfile.TarInfo(name)
        info.mode = mode
        self._put(info, content)

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Put a folder there."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._put(info, b"")

    def tar(self) -> bytes:
        """The archive, sorted by name: a folder comes before what is in it, a file before the links to it."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for info, content in sorted(self._entries.values(), key=lambda entry: (entry[0].islnk(), entry[0].name)):
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()

    @property
    def size(self) -> int:
        """Bytes of all files, as they lie unpacked in whole blocks of 512 bytes."""
        return sum(-(-info.size // _BLOCK) * _BLOCK for info, _ in self._entries.values())

    def _put(self, info: tarfile.TarInfo, content: bytes) -> None:
        for parent in reversed(PurePosixPath(info.name).parents):
            if str(parent) not in (".", *self._entries):
                self.folder(str(parent))
        info.size, info.mtime = len(content), self.date
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        self._entries[info.name] = (info, content)


def compress(data: bytes) -> bytes:
    """Bytes as gzip, without name and time."""
    return gzip.compress(data, compresslevel=9, mtime=_DATE)
