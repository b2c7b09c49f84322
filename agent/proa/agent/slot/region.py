"""The one way to write to a slot: its partition, opened past the cache, never beyond its end."""

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proa.agent.node.policy import choose_target
from proa.agent.node.view import Context, View, look
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import DirectFile
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.slots import Extent

_READ_BACK: Final = 1 << 20
_GRAIN: Final = 1 << 16
"""Bytes within which a zero block beside others is written like them."""
Opener = Callable[[Path, bool], DirectFile]
"""How a device is opened: its path, and whether it is written. Tests give devices that fail."""


def open_direct(path: Path, writable: bool) -> DirectFile:
    """The normal opener. A partition opened for writing is held exclusively until it is closed, as by a mount."""
    return DirectFile(path, writable=writable, exclusive=writable)


class Region:
    """A partition as bytes from 0 to its size.

    Args:
        file: The open device or image.
        extent: Where in it the partition lies.
    """

    def __init__(self, file: DirectFile, extent: Extent) -> None:
        self._file = file
        self.extent = extent
        self._local = threading.local()
        self._lock = threading.Lock()
        self.avoided = 0
        """Bytes of zeros that were not sent to the device, which made them itself."""

    def write(self, offset: int, data: memoryview) -> None:
        """Write an aligned buffer at an aligned offset and read it back past the cache; from any thread.

        Raises:
            ProaError: ``READ_BACK`` if the device gives other bytes, ``DEVICE``, ``DISK_FULL``.
        """
        self._within(offset, len(data))
        for start, end, empty in _runs(data):
            place = self.extent.offset + offset + start
            if empty and self._file.zero(place, end - start):
                with self._lock:
                    self.avoided += end - start
            else:
                self._file.write(place, data[start:end])
        for start in range(0, len(data), _READ_BACK):
            self._compare(offset + start, data[start : start + _READ_BACK])

    def _compare(self, offset: int, data: memoryview) -> None:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = DirectFile.buffer(_READ_BACK)
        view = memoryview(self._local.buffer)[: len(data)]
        self._file.read_into(self.extent.offset + offset, view)
        if _differ(view, data):
            raise ProaError(Code.READ_BACK, at=f"{self.extent.path} at byte {self.extent.offset + offset}")

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the partition, from the medium."""
        self._within(offset, size)
        return self._file.read(self.extent.offset + offset, size)

    def flush(self) -> None:
        """Wait until all is on the medium."""
        self._file.flush()

    def close(self) -> None:
        """Close it; closing twice is harmless."""
        self._file.close()

    def _within(self, offset: int, size: int) -> None:
        if not 0 <= offset <= offset + size <= self.extent.size:
            what = f"bytes {offset} to {offset + size} are outside a partition of {self.extent.size} bytes"
            raise ProaError(Code.TOO_LARGE, what, at=self.extent.path)


def _runs(data: memoryview) -> Iterator[tuple[int, int, bool]]:
    """The stretches of a buffer that are zero throughout and those that are not: start, end, whether it is zero."""
    start, kind = 0, False
    for place in range(0, len(data), _GRAIN):
        empty = _is_zero(data[place : place + _GRAIN])
        if empty is not kind and place > start:
            yield start, place, kind
            start = place
        kind = empty
    if len(data) > start:
        yield start, len(data), kind


def _is_zero(data: memoryview) -> bool:
    """Whether it is zero throughout: the first byte is, and each is like the one before it."""
    return data[0] == 0 and not _differ(data[:-1], data[1:])


def _differ(one: memoryview, two: memoryview) -> bool:
    """Whether two writable buffers of one length differ. Python's own comparison goes item by item, lock held."""
    first, second = (ctypes.byref(ctypes.c_char.from_buffer(view)) for view in (one, two))
    return bool(_memcmp(first, second, len(one)))


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Half(enum.Enum):
    """The two partitions of a slot."""

    ROOT = 0
    BOOT = 1


@contextmanager
def open_for_writing(context: Context, target: Slot, half: Half, opener: Opener = open_direct) -> Iterator[Region]:
    """Open a partition of a slot for writing, after looking once more at what is booted and good.

    Raises:
        ProaError: ``SLOT_IN_USE`` when the slot is good or booted, ``DEVICE_BUSY`` when its partition is mounted or
            held by something else, ``AMBIGUOUS`` when its file is another device meanwhile; as
            :func:`proa.agent.node.view.look`.
    """
    view = look(context, anew=True)
    check_target(view, target)
    with _opened(view.extents(target)[half.value], opener, writable=True) as region:
        yield region


@contextmanager
def open_for_reading(extent: Extent, opener: Opener = open_direct) -> Iterator[Region]:
    """Open a partition for reading, bypassing the cache."""
    with _opened(extent, opener, writable=False) as region:
        yield region


@contextmanager
def _opened(extent: Extent, opener: Opener, *, writable: bool) -> Iterator[Region]:
    """A partition whose file is still the device that was looked up."""
    file = opener(extent.path, writable)
    try:
        if file.number and extent.number and file.number != extent.number:
            what = f"it is now device {file.number}, but the partition is {extent.number}"
            raise ProaError(
                Code.AMBIGUOUS, what, at=extent.path, hint=("Check the kernel log, and start the install again.")
            )
        yield Region(file, extent)
    finally:
        file.close()


def check_target(view: View, target: Slot) -> None:
    """Refuse a slot that is good, booted, on trial or armed: its extents must be none of theirs either.

    Raises:
        ProaError: ``SLOT_IN_USE``; the view's own problem.
    """
    view.check()
    if choose_target(view.state, view.booted) is not target or view.state.on_trial or view.state.alt:
        raise ProaError(Code.SLOT_IN_USE, f"slot {target.value} is good, booted or armed")
    sacred = view.extents(target.other)
    for extent in view.extents(target):
        for other in sacred:
            same = extent.path == other.path
            if same and extent.offset < other.offset + other.size and other.offset < extent.offset + extent.size:
                raise ProaError(Code.SLOT_IN_USE, "two slots overlap", at=extent.path)
