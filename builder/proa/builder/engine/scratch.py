"""Temporary folders that vanish: at the end of a step, or, if the build was killed, at the start of the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from proa.builder.engine import namespace
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.lock import locked

_LOCK: Final = ".in-use"
_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_TOP: Final = 0x00020000
"""ioctl_iflags(2): ``FS_IOC_GETFLAGS``, ``FS_IOC_SETFLAGS``, ``FS_TOPDIR_FL``."""


@contextmanager
def folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder below ``parent``, taken away at the end with all in it, no matter whose files they are.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    with os_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        # Nothing is swept that has a dot first: it is renamed once it is locked.
        hidden = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}."))
        hidden.chmod(0o755)
    with locked(hidden / _LOCK):
        with os_errors(parent):
            made = hidden.rename(parent / hidden.name.removeprefix("."))
        try:
            yield made
        finally:
            remove(made)


def spread(parent: Path) -> None:
    """Have an ext4 file system put each new folder below ``parent`` into a part of the disk of its own, if it can.

    Else all are put near one another, where ext4 searches past every file that was deleted in the last seconds: the
    tree of a second build takes eight times as long to unpack (chattr(1), attribute T; ext4's ``recently_deleted``).
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # of another file system, or of another user
            flags = struct.unpack("=l", fcntl.ioctl(folder, _GET_FLAGS, bytes(struct.calcsize("=l"))))[0]
            fcntl.ioctl(folder, _SET_FLAGS, struct.pack("=l", flags | _TOP))
    finally:
        os.close(folder)


def sweep(parent: Path) -> None:
    """Take away what killed builds left: folders that nobody holds any more."""
    for left in sorted(parent.glob("[!.]*.*")) if parent.is_dir() else ():
        with suppress(ProaError), locked(left / _LOCK, busy="in use", create=False):
            remove(left)


def remove(path: Path) -> None:
    """Take a folder away; what belongs to subordinate ids is taken away in a namespace."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        process.run(namespace.remove(path), check=False)
