"""A stream of bytes into a partition: verified, written once, read back, in memory that does not grow.

Three things happen at once: the caller fetches and decompresses into a buffer, one thread checks full ones, two
write them and read them back. A fixed set of aligned buffers goes round between them.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from proa.agent.slot.region import Region
from proa.core.runtime.files import ALIGNMENT, DirectFile

BUFFER: Final = 1 << 20
"""Bytes of one buffer, which is one write; more where a single frame is larger."""
BUFFERS: Final = 16
"""Buffers that go round; fewer where they are larger."""
WRITERS: Final = 2
"""Threads that write and read back: while one waits for the device to write, another one reads."""

Check = Callable[[int, memoryview], None]
"""Looks at bytes before they are written: their place in the stream, and the bytes. Raises if they are wrong."""


class SlotWriter:
    """Carries a stream to a partition; used in a ``with``, at whose end all is written and flushed.

    Whatever ``check`` or the device raise comes out of the method that is called next, or of the ``with``. No byte
    that ``check`` did not accept is written.

    Args:
        region: The partition.
        start: Where in it the stream begins, a multiple of 4096.
        largest: The most that :meth:`room` is asked for, in bytes.
        check: What must accept the bytes before they are written; called in order, in one other thread.
        progress: Called with the bytes that are written and read back so far.
    """

    def __init__(
        self,
        region: Region,
        start: int = 0,
        *,
        largest: int = 0,
        check: Check | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        size = -(-max(BUFFER, largest) // ALIGNMENT) * ALIGNMENT
        self._region = region
        self._start = start
        self._check = check or _accept
        self._progress = progress
        self._free = [DirectFile.buffer(size) for _ in range(max(2, min(BUFFERS, BUFFERS * BUFFER // size)))]
        self._buffer = self._free.pop()
        self._used = 0
        self._waiting: deque[tuple[Future[int], mmap.mmap]] = deque()
        self._checker = ThreadPoolExecutor(1, "check")
        self._writer = ThreadPoolExecutor(WRITERS, "write")
        self.size = 0
        """Bytes that were handed on to be checked and written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._send()
                while self._waiting:
                    self._settle()
                self._region.flush()
        finally:
            self._checker.shutdown(cancel_futures=True)
            self._writer.shutdown(cancel_futures=True)

    def room(self, size: int) -> memoryview:
        """The place of the stream's next ``size`` bytes, to be filled before the next call."""
        if self._used + size > len(self._buffer):
            self._send()
        view = memoryview(self._buffer)[self._used : self._used + size]
        self._used += size
        return view

    def put(self, data: bytes) -> None:
        """The stream's next bytes, of any length."""
        done = 0
        while done < len(data):
            count = min(len(data) - done, len(self._buffer) - self._used) or min(len(data) - done, len(self._buffer))
            self.room(count)[:] = data[done : done + count]
            done += count

    def _send(self) -> None:
        """Hand the buffer on and take a free one, waiting for it if need be."""
        if self._used == 0:
            return
        if self._used % ALIGNMENT:
            raise ValueError(f"a stream of {self.size + self._used} bytes does not end at a block boundary")
        data = memoryview(self._buffer)[: self._used]
        checked = self._checker.submit(self._check, self.size, data)
        self._waiting.append((self._writer.submit(self._write, checked, self.size, data), self._buffer))
        self.size += self._used
        while not self._free or self._waiting[0][0].done():
            self._settle()
            if not self._waiting:
                break
        self._buffer, self._used = self._free.pop(), 0

    def _write(self, checked: Future[None], place: int, data: memoryview) -> int:
        checked.result()
        self._region.write(self._start + place, data)
        return place + len(data)

    def _settle(self) -> None:
        """Wait for the oldest buffer; it is free then."""
        done, buffer = self._waiting.popleft()
        written = done.result()
        self._free.append(buffer)
        if self._progress:
            self._progress(written)


def _accept(place: int, data: memoryview) -> None:
    """The check of a stream that was checked on its way."""
