"""Kubernetes Events (``events.k8s.io/v1``): what happens, told beside the object that it happens to.

Telling never holds up work and never fails. What is told again is counted in the event that is there ("Series").
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from proa.core.runtime.backoff import Backoff
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import ProaError
from proa.core.runtime.printable import one_line
from proa.scheduler.kube import paths, times
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, unless
from proa.scheduler.kube.worker import Worker

CONTROLLER: Final = "proa.dev/scheduler"
QUEUE: Final = 1000
"""Events that wait to be written; more are dropped."""
KNOWN: Final = 4096
"""How many events are remembered if nothing else is said."""
RATE: Final = 5.0
"""Events a second that are written in the long run, and at once:"""
BURST: Final = 50.0
TRIES: Final = 5
SERIES_SECONDS: Final = 60.0
"""How often the count of one event is written."""
_NOTE_BYTES: Final = 1024
_NAMESPACE: Final = "default"
"""Where events are about what is in no namespace."""
_TICK: Final = 0.001
"""No wait is shorter: rounding may not make one that never ends."""


@dataclass(frozen=True)
class About:
    """The object that something happens to; it is in no namespace, as Nodes and rollouts are."""

    kind: str
    name: str
    uid: str
    api_version: str = "v1"


@dataclass(frozen=True)
class Told:
    """One event, as it is told."""

    about: About
    reason: str
    note: str
    action: str
    warning: bool = False


@dataclass
class _Known:
    """An event that was written: how often it was told, and how often it says so."""

    name: str
    count: int = 1
    written: int = 1
    wrote: float = 0.0


@dataclass(eq=False)
class Events(Worker):
    """Writes events in a thread of its own.

    Attributes:
        api: The API server.
        instance: Who tells, such as the name of the pod.
        clock: The clock.
        remembered: Events that may be told again and are only counted then.
        dropped: Events that were given up: too many at once, or the API server did not take them.
    """

    api: Server
    instance: str
    clock: Clock = SYSTEM
    remembered: int = KNOWN
    dropped: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__("events", self._step_and_wait, ChangeSignal())
        self._heard = 0
        self._lock = threading.Lock()
        self._queue: deque[Told] = deque()
        self._known: OrderedDict[Told, _Known] = OrderedDict()
        self._backoff = Backoff(first=1.0)
        self._tokens, self._filled = BURST, self.clock.monotonic()
        self._closing = False

    def tell(self, about: About, reason: str, note: str, *, action: str = "Update", warning: bool = False) -> None:
        """Tell that something has happened. It returns at once and never fails.

        Args:
            about: To what.
            reason: In one word, which is always the same for the same.
            note: In a sentence.
            action: What was being done, in one word.
            warning: Whether somebody should look.
        """
        told = Told(about, one_line(reason, 128), _short(note), one_line(action, 128), warning)
        with self._lock:
            if len(self._queue) >= QUEUE:
                self.dropped += 1
                return
            self._queue.append(told)
        self._changed.notify()

    # life

    def stop(self, seconds: float = 3.0) -> bool:
        """Write what waits, if that is soon done, and end; whether all has ended."""
        self._closing = True
        self._changed.notify()
        return self.join(seconds)

    def _step_and_wait(self) -> float:
        if not self._is_over() and (pause := self.step()) != 0.0 and not self._is_over():
            self._heard = self._changed.wait(self._heard, pause)
        if self._is_over():
            self._stop.set()
        return 0.0

    def _is_over(self) -> bool:
        return self._closing and (not self._queue or self._backoff.failures > 0)

    def step(self) -> float | None:
        """Write one event, or the count of one; how long to wait before the next step, none if until there is news."""
        wait = self._wait()
        told = self._queue[0] if self._queue else None
        if told is None:
            return self._count_due(wait)
        known = self._known.get(told)
        if known is not None:
            known.count += 1
            self._known.move_to_end(told)
            self._queue.popleft()
            return 0.0
        if wait:
            return wait
        failed = self._try(lambda: self._create(told))
        if failed is not None and self._backoff.failures < TRIES:
            return failed
        self._queue.popleft()
        if failed is None:
            return 0.0
        self.dropped += 1
        self._backoff.reset()
        return failed

    # inside

    def _count_due(self, wait: float) -> float | None:
        """Write the count that has waited for longest, once it is time to."""
        due = [(one.wrote, told) for told, one in self._known.items() if one.count > one.written]
        if not due:
            return None
        wrote, told = min(due, key=lambda pair: pair[0])
        pause = max(wait, wrote + SERIES_SECONDS - self.clock.monotonic())
        if pause > 0:
            return max(_TICK, pause)
        return self._try(lambda: self._series(told, self._known[told])) or 0.0

    def _create(self, told: Told) -> None:
        about = told.about
        name = f"{about.name[:200]}.{uuid4().hex[:16]}"
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": _NAMESPACE},
            "eventTime": self._now(),
            "reportingController": CONTROLLER,
            "reportingInstance": self.instance[:128],
            "action": told.action,
            "reason": told.reason,
            "note": told.note,
            "type": "Warning" if told.warning else "Normal",
            "regarding": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": about.name,
                "uid": about.uid,
            },
        }
        self.api.create(paths.events(_NAMESPACE), body)
        self._known[told] = _Known(name, wrote=self.clock.monotonic())
        if len(self._known) > self.remembered:
            self._known.popitem(last=False)

    def _series(self, told: Told, known: _Known) -> None:
        path = paths.named(paths.events(_NAMESPACE), known.name)
        count, known.wrote = known.count, self.clock.monotonic()
        series = {"series": {"count": count, "lastObservedTime": self._now()}}
        if unless(lambda: self.api.merge(path, series), 404) is None:  # the API server keeps events for an hour
            del self._known[told]
            with self._lock:
                self._queue.appendleft(told)
            return
        known.written = count

    def _try(self, write: Callable[[], None]) -> float | None:
        """Write; how long to wait after a failure, none if there was none."""
        self._tokens -= 1
        try:
            write()
        except ProaError as error:
            return self._backoff.next(error.retry_after if isinstance(error, ApiError) else None)
        self._backoff.reset()
        return None

    def _wait(self) -> float:
        """How long until there is a token."""
        now = self.clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        return 0.0 if self._tokens >= 1 else max(_TICK, (1 - self._tokens) / RATE)

    def _now(self) -> str:
        return times.micro(self.clock.now())


def _short(note: str) -> str:
    return one_line(note, _NOTE_BYTES).encode(errors="replace")[:_NOTE_BYTES].decode(errors="ignore")
