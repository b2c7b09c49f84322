"""A lock that ends with the process that holds it, however that ends: flock(2) on a file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors


@contextmanager
def locked(path: Path, *, busy: str = "", shared: bool = False, create: bool = True) -> Iterator[int]:
    """Hold a lock while the block runs; yields the file's descriptor.

    A file that its last holder took away or replaced meanwhile does not count: the lock is taken anew.

    Args:
        path: The file.
        busy: What the error says when another process, or another thread, holds it; empty to wait for them.
        shared: Whether others may hold it too, as long as nobody wants it alone.
        create: Whether the file, and its folder, are made where they are not there; else it is only read.

    Raises:
        ProaError: ``BUSY``; ``FILE_MISSING``, ``DISK_FULL`` or ``DEVICE`` for a file that cannot be opened.
    """
    handle = _taken(path, busy, shared, create)
    try:
        yield handle
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether anybody holds a lock, shared or not; a file that cannot be opened is held by nobody.

    The lock is taken for a moment, so a process that wants it at that very time may find it held.
    """
    try:
        with locked(path, busy="held", create=False):
            return False
    except ProaError as error:
        return error.code is Code.BUSY


def _taken(path: Path, busy: str, shared: bool, create: bool) -> int:
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (fcntl.LOCK_NB if busy else 0)
    while True:
        with os_errors(path):
            handle = _opened(path, create)
            try:
                fcntl.flock(handle, kind)
                if _is_same(handle, path):
                    return handle
            except BlockingIOError as error:
                os.close(handle)
                raise ProaError(Code.BUSY, busy, at=path) from error
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)


def _opened(path: Path, create: bool) -> int:
    if not create:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
