"""The one lock of whatever changes something. It ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proa.agent.node.paths import Paths
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors


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


def stop_owner(path: Path) -> int:
    """Ask the process that holds the lock to stop; its number, 0 where it is this one or nobody does."""
    holder = owner(path)
    if holder is None:
        return 0
    try:
        if holder.number == os.getpid():
            return 0
        signal.pidfd_send_signal(holder.handle, signal.SIGTERM)
    except ProcessLookupError:
        return 0
    finally:
        os.close(holder.handle)
    return holder.number


@contextmanager
def locked(paths: Paths) -> Iterator[None]:
    """Hold the lock, and an image file that is worked on too: others may keep their lock elsewhere.

    A device is not held by this: whoever writes to it holds it (:mod:`proa.agent.slot.region`).

    Raises:
        ProaError: ``BUSY``.
    """
    with held(paths.lock), _held_image(paths.disk):
        yield


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
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
        _flock(handle, path, f"process {holder or 'unknown'} holds the lock")
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Hold another lock for a moment, waiting for whoever holds it for one.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _flock(handle: int, path: Path, busy: str) -> None:
    with os_errors(path):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProaError(Code.BUSY, busy, at=path) from error


@contextmanager
def _held_image(disk: Path | None) -> Iterator[None]:
    if disk is None or not disk.is_file():
        yield
        return
    with os_errors(disk):
        handle = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _flock(handle, disk, "another process works on this image")
        yield
    finally:
        os.close(handle)
