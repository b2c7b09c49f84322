"""A stream that comes in chunks of any size, read in the sizes that its format has."""

from __future__ import annotations

from collections.abc import Iterable


class ChunkReader:
    """Bytes from chunks, with a look ahead.

    Args:
        chunks: The stream, cut anywhere.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.buffer = bytearray()
        """What was fetched and not yet taken."""

    def fill(self, size: int) -> bool:
        """Fetch until the buffer has ``size`` bytes; whether there were that many."""
        while len(self.buffer) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self.buffer += chunk
        return True

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the end of the stream."""
        self.fill(size)
        with memoryview(self.buffer) as view:
            data = bytes(view[:size])
        del self.buffer[:size]
        return data
