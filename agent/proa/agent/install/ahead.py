"""Parts of a blob that are fetched before they are asked for: several requests under way, results in order.

A registry that is far away answers each request after a while; an update of many small parts would be made of such
waits. Each request has a thread and a buffer of its own, and waits when that is full: memory has a bound whatever the
size of a part.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

AT_ONCE: Final = 4
"""Requests under way."""
BUFFER: Final = 1 << 20
"""Bytes that one of them may be ahead."""

Piece = TypeVar("Piece")
"""What comes of a part, frame by frame."""


class Ahead(Generic[Piece]):
    """Fetches the parts of a plan; used in a ``with``, at whose end whatever is still under way is given up.

    Only the first part is fetched until something of it has come, which tells whether several may be.

    Args:
        parts: The parts, in the order in which :meth:`take` gives them.
        read: How one is read; called in a thread of its own.
        several: Whether more than one request may be under way.
        largest: Bytes of the largest frame.
    """

    def __init__(
        self,
        parts: Sequence[range],
        read: Callable[[range], Generator[Piece, None, None]],
        several: Callable[[], bool],
        largest: int,
    ) -> None:
        self._parts = deque(parts)
        self._read = read
        self._several = several
        self._room = max(1, BUFFER // largest)
        self._lock = threading.Lock()
        self._under_way: deque[_Part[Piece]] = deque()
        self._ended = False

    def __enter__(self) -> Self:
        self._begin(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._lock:
            self._ended = True
            for part in self._under_way:
                part.give_up()

    def take(self) -> Iterator[Piece]:
        """The frames of the next part.

        Raises:
            ProaError: As reading them does.
        """
        self._begin(1)
        yield from self._under_way[0].frames()
        with self._lock:
            self._under_way.popleft()
        self._more()

    def _more(self) -> None:
        if self._several():
            self._begin(AT_ONCE)

    def _begin(self, count: int) -> None:
        with self._lock:
            while self._parts and len(self._under_way) < count and not self._ended:
                part = _Part(self._parts.popleft(), self._read, self._room, self._more)
                self._under_way.append(part)
                part.start()


class _Part(threading.Thread, Generic[Piece]):
    """One part on its way. A daemon's thread: what waits for the network when it is given up keeps nobody waiting."""

    def __init__(
        self, part: range, read: Callable[[range], Generator[Piece, None, None]], room: int, begun: Callable[[], None]
    ) -> None:
        super().__init__(name="fetch", daemon=True)
        self._part = part
        self._read = read
        self._room = room
        self._begun = begun
        self._changed = threading.Condition()
        self._frames: deque[Piece] = deque()
        self._over = self._given_up = False
        self._failure: BaseException | None = None

    def run(self) -> None:
        failure: BaseException | None = None
        try:
            with closing(self._read(self._part)) as frames:
                for number, frame in enumerate(frames):
                    if number == 0:
                        self._begun()
                    if not self._put(frame):
                        break
        except BaseException as error:  # noqa: BLE001 -- raised where the frames are taken
            failure = error
        with self._changed:
            self._over, self._failure = True, failure
            self._changed.notify_all()

    def frames(self) -> Iterator[Piece]:
        """What has come, as it comes."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._over)
                if not self._frames:
                    break
                frame = self._frames.popleft()
                self._changed.notify_all()
            yield frame
        if self._failure:
            raise self._failure

    def give_up(self) -> None:
        """Fetch no more."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def _put(self, frame: Piece) -> bool:
        """Keep a frame until it is taken, once there is room; whether anybody still wants it."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._frames) < self._room or self._given_up)
            self._frames.append(frame)
            self._changed.notify_all()
            return not self._given_up
