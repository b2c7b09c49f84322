"""The daemon's long work: one job at a time, in a thread of its own, with events that many may follow."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proa.agent.node import reports
from proa.agent.node.cancel import Cancel
from proa.agent.node.reports import StartedJob
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Event, Progress, as_document
from proa.core.schema.model import Report, document

KEPT: Final = 1000
"""Events that are kept for those who follow late."""
_INTERVAL: Final = 0.1
"""Seconds between two reports of mere progress."""
_ALIVE: Final = 15.0
"""Seconds of silence after which a follower gets a sign of life, which shows when it has gone."""


class EventLog:
    """A numbered series of events, the last :data:`KEPT` of them kept; also a monitor.

    Args:
        clock: Seconds, to thin out mere progress by.
        changed: Raised with every event that is not mere progress.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, changed: ChangeSignal | None = None) -> None:
        self._changed = changed or ChangeSignal()
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._condition = threading.Condition()
        self._clock = clock
        self._shown = -1.0
        self._closed = False
        self.next = 1
        """The number of the next event."""
        self.latest: Progress | None = None
        """The last progress that was told."""

    def emit(self, event: Event) -> None:
        """Take an event; of progress, no more than a person can see."""
        if isinstance(event, Progress):
            self.latest = event
            now = self._clock()
            if now - self._shown < _INTERVAL and event.done < event.total:
                return
            self._shown = now
        self.add(as_document(event))

    def add(self, event: Mapping[str, Any]) -> None:
        """Number an event and pass it to all followers."""
        with self._condition:
            self._events.append({"seq": self.next} | dict(event))
            self.next += 1
            self._condition.notify_all()
        if event["event"] != Progress.__name__:
            self._changed.notify()

    def close(self) -> None:
        """End all followers."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def follow(self, since: int) -> Iterator[dict[str, Any]]:
        """Every event from number ``since`` on, as it comes, until the log is closed."""
        while True:
            with self._condition:
                if self.next <= since and not self._closed:
                    self._condition.wait(_ALIVE)
                found = [event for event in self._events if event["seq"] >= since]
                closed = self._closed
            yield from found or [{"seq": since - 1, "event": "Alive"}]
            since = found[-1]["seq"] + 1 if found else since
            if closed:
                return


@dataclass
class Job:
    """One piece of long work.

    Attributes:
        number: Its number.
        verb: What it does.
        since: The number of its first event.
        cancel: How it is asked to stop.
        slot: The slot that it writes; empty if none.
    """

    number: int
    verb: str
    since: int
    cancel: Cancel = field(default_factory=Cancel)
    slot: str = ""
    thread: threading.Thread | None = None

    def report(self) -> StartedJob:
        """The job as reports show it."""
        return StartedJob(self.number, self.verb, self.since)


Work = Callable[[Job], Report]


class Jobs:
    """Starts jobs, one at a time.

    Args:
        log: Where their events go.
    """

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._lock = threading.Lock()
        self._current: Job | None = None
        self._count = 0

    @property
    def current(self) -> Job | None:
        """The job that is running."""
        return self._current

    def progress(self) -> reports.Progress | None:
        """What the current job is doing, for ``status``."""
        job, latest = self._current, self.log.latest
        if job is None:
            return None
        step, done, total = (latest.step, latest.done, latest.total) if latest else ("", 0, 0)
        return reports.Progress(job.verb, job.number, job.slot, step, done, total)

    def start(self, verb: str, work: Work) -> Job:
        """Start a job; its last event is ``Finished`` with the result or the error.

        Raises:
            ProaError: ``BUSY`` while another one runs.
        """
        with self._lock:
            if self._current:
                raise ProaError(Code.BUSY, f"{self._current.verb} is under way")
            self._count += 1
            self.log.latest = None
            job = Job(self._count, verb, self.log.next)
            job.thread = threading.Thread(target=self._run, args=(job, work), name=f"job-{verb}", daemon=True)
            self._current = job
        job.thread.start()
        return job

    def cancel(self, code: Code = Code.CANCELLED, number: int = 0) -> Job:
        """Ask the job under way to stop; if a number is given, only the one that has it.

        Raises:
            ProaError: ``NOTHING_RUNNING``.
        """
        job = self._current
        if job is None or number not in (0, job.number):
            raise ProaError(Code.NOTHING_RUNNING, f"job {number} is not under way" if number else "")
        job.cancel.ask(code)
        return job

    def _run(self, job: Job, work: Work) -> None:
        outcome: dict[str, Any]
        try:
            outcome = {"ok": True, "result": document(work(job))}
        except Exception as error:  # noqa: BLE001 -- the caller that waits for the job must hear of it
            outcome = {"ok": False, "error": told(error).document()}
        self._current = None
        self.log.add({"event": "Finished", "job": job.number, "verb": job.verb} | outcome)
