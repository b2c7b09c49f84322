"""The one lock of whatever changes something. It ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from proa.agent.node.paths import Paths
from proa.core.runtime import lock


@dataclass(frozen=True)
class Owner:
    """The process that holds the lock: its number, and a handle that means it and no later one of that number."""

    number: int
    handle: int


def owner(path: Path) -> Owner | None:
    """The holder of the lock; none if it is free.

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

    This does not hold a device: the code that writes to it does (:mod:`proa.agent.slot.region`).

    Raises:
        ProaError: ``BUSY``.
    """
    disk = paths.disk
    with ExitStack() as stack:
        stack.enter_context(held(paths.lock))
        if disk is not None and disk.is_file():
            stack.enter_context(lock.locked(disk, busy="another process is working on this image", create=False))
        yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock while the block runs; the file says whose it is, for people.

    Raises:
        ProaError: ``BUSY`` if another process, or another thread of this one, holds it.
    """
    try:
        holder = path.read_text(errors="replace")[:32].strip()
    except OSError:
        holder = ""
    with lock.locked(path, busy=f"process {holder or 'unknown'} holds the lock") as handle:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
