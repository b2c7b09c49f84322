"""The one lock of whatever changes something. It ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proa.core.errors import Code, ProaError
from proa.core.files import os_errors


@dataclass(frozen=True)
class Owner:
    """The process that holds the lock: its number, and a handle that means it and no later one of that number."""

    number: int
    handle: int


def owner(path: Path) -> Owner | None:
    """Who holds the lock; none when nobody does.

    The lock itself is not touched, not even for a moment: it is looked up in /proc/locks (proc(5)).
    """
    try:
        number, place = int(path.read_text()), f":{path.stat().st_ino}"
        locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        if any(words[1] == "FLOCK" and int(words[4]) == number and words[5].endswith(place) for words in locks):
            return Owner(number, os.pidfd_open(number))
    except (OSError, ValueError):
        pass
    return None


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock while the block runs; the file says whose it is, for people.

    Raises:
        ProaError: ``BUSY`` if another process, or another thread of this one, holds it.
    """
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise ProaError(Code.BUSY, f"process {holder or 'unknown'} holds the lock", at=path) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
