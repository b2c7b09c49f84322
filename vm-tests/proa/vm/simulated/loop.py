"""One thread in which all that is simulated happens, so that nothing in there needs a lock; and threads that write."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Final, TypeVar

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError

T = TypeVar("T")
Work = Callable[[], None]
_ANSWER_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.2
"""How long after a write that failed for want of a network it is tried again."""


class Loop:
    """Runs work one after the other, now or later.

    Args:
        name: Of the thread.
        clock: Whose time counts.
    """

    def __init__(self, name: str, clock: Clock = SYSTEM) -> None:
        self.problems: list[str] = []
        """What should not have happened."""
        self._clock = clock
        self._posted: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Work]] = []
        self._number = itertools.count()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with what was posted before done."""
        self._posted.put(self._end)
        if self._thread.is_alive():
            self._thread.join()

    def post(self, work: Work) -> None:
        """Do something soon. Any thread may ask for it."""
        self._posted.put(work)

    def at(self, seconds: float, work: Work) -> None:
        """Do something in ``seconds``. Any thread may ask for it."""
        due = self._clock.monotonic() + seconds
        self.post(lambda: heapq.heappush(self._later, (due, next(self._number), work)))

    def call(self, ask: Callable[[], T]) -> T:
        """Do something, and wait for what comes of it. For other threads."""
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:  # noqa: BLE001 -- it belongs to who asked
                answer.set_exception(error)

        self.post(work)
        return answer.result(_ANSWER_SECONDS)

    def _run(self) -> None:
        while not self._ends:
            wait = max(0.0, self._later[0][0] - self._clock.monotonic()) if self._later else None
            try:
                self._do(self._posted.get(timeout=wait))
            except queue.Empty:
                while self._later and self._later[0][0] <= self._clock.monotonic():
                    self._do(heapq.heappop(self._later)[2])

    def _do(self, work: Work) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- the others go on; a test looks at the list
            self.problems.append(f"{type(error).__name__}: {error}")

    def _end(self) -> None:
        self._ends = True


class Writers:
    """Threads that write: the newest wish for a thing only, and never two for one thing at once.

    Args:
        loop: Where a wish waits that could not be fulfilled.
        count: How many threads.
    """

    def __init__(self, loop: Loop, count: int = 8) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._wanted: dict[Hashable, Work] = {}
        self._busy: set[Hashable] = set()
        self._delayed: set[Hashable] = set()
        self._queue: queue.SimpleQueue[Hashable | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=f"writer-{n}", daemon=True) for n in range(count)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what was not written by now never is."""
        with self._lock:
            self._wanted.clear()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def want(self, key: Hashable, write: Work) -> None:
        """Let something be written. Where the network fails, it is tried until it works or another wish comes.

        Args:
            key: What it is about.
            write: Writes it, in a thread of its own.
        """
        with self._lock:
            queued = key in self._wanted or key in self._busy
            self._wanted[key] = write
        if not queued:
            self._queue.put(key)

    @property
    def idle(self) -> bool:
        """Whether all that was wished for has been written."""
        with self._lock:
            return not self._wanted and not self._busy and not self._delayed

    def _run(self) -> None:
        while (key := self._queue.get()) is not None:
            with self._lock:
                write = self._wanted.pop(key, None)
                self._busy.add(key)
            if write is not None:
                self._try(key, write)
            with self._lock:
                self._busy.discard(key)
                again = key in self._wanted
            if again:
                self._queue.put(key)

    def _try(self, key: Hashable, write: Work) -> None:
        try:
            write()
        except ProaError as error:
            if error.code is Code.NETWORK:
                with self._lock:
                    self._delayed.add(key)
                self._loop.at(_AGAIN_SECONDS, lambda: self._want_again(key, write))
            else:
                self._loop.problems.append(f"{error.at}: {error.message}")
        except Exception as error:  # noqa: BLE001 -- the others go on; a test looks at the list
            self._loop.problems.append(f"{key}: {type(error).__name__}: {error}")

    def _want_again(self, key: Hashable, write: Work) -> None:
        with self._lock:
            self._delayed.discard(key)
            newer = key in self._wanted
        if not newer:
            self.want(key, write)
