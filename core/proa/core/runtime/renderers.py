"""How progress is shown: a line for a log, a line that is redrawn on a terminal, an object for a program.

While a step runs, a log gets a line every ten seconds and a terminal a new drawing every second, also when the step
itself reports nothing: a person can tell a slow command from one that hangs. A renderer whose reader has gone shows
nothing: that must not end the work it tells of.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TextIO

from proa.core.runtime import notices
from proa.core.runtime.events import (
    SILENT,
    Event,
    Monitor,
    Note,
    Progress,
    StepFailed,
    StepFinished,
    StepStarted,
    as_document,
    human_bytes,
)
from proa.core.runtime.printable import printable

WIDTH: Final = 28
"""Columns of a step's name, where there is room for them."""
BAR: Final = 30
"""Columns of a bar, where there is room for them."""
_SURE: Final = 3.0
"""Seconds that a step runs before its time left is foretold."""


@dataclass
class Running:
    """A step that has begun and not ended."""

    step: str
    started: float
    detail: str = ""
    progress: Progress | None = None


@dataclass
class JsonLines:
    """One JSON object a line: ``{"event": "Progress", "step": ..., ...}``."""

    stream: TextIO

    def emit(self, event: Event) -> None:
        """Write the event."""
        with suppress(OSError):
            print(json.dumps(as_document(event)), file=self.stream, flush=True)


@dataclass
class Live:
    """What renderers for people share: it knows what runs, and calls :meth:`tick` now and then while something does."""

    stream: TextIO
    interval: float = 10.0
    """Seconds between two lines, or two drawings, of a step that runs."""
    clock: Callable[[], float] = time.monotonic
    every: float = 0.0
    """Seconds between two calls of :meth:`tick` by a thread; 0 for none."""
    _running: dict[str, Running] = field(default_factory=dict)
    _shown: float = -math.inf
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ticking: bool = False

    def emit(self, event: Event) -> None:
        """Take note of the event and show it."""
        with self._lock, suppress(OSError):
            self._note(event)
            self._show(event)

    def tick(self) -> None:
        """Say how far the step is that began last, if nothing was said for a while."""
        with self._lock, suppress(OSError):
            if self._running and self.clock() - self._shown >= self.interval:
                self._shown = self.clock()
                self._pulse(next(reversed(self._running.values())))

    def _note(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._running[event.step] = Running(event.step, self.clock(), event.detail)
                self._start_ticking()
            case Progress() if event.step in self._running:
                self._running[event.step].progress = event
            case StepFinished() | StepFailed():
                self._running.pop(event.step, None)

    def _show(self, event: Event) -> None:
        """Write what the event comes to."""
        raise NotImplementedError

    def _pulse(self, running: Running) -> None:
        """Write how far a step is."""
        raise NotImplementedError

    def _start_ticking(self) -> None:
        if self.every and not self._ticking:
            self._ticking = True
            threading.Thread(target=self._keep_ticking, daemon=True, name="progress").start()

    def _keep_ticking(self) -> None:
        pause = threading.Event()
        while not pause.wait(self.every):
            with self._lock:
                if not self._running:
                    self._ticking = False
                    return
                self.tick()


class Plain(Live):
    """Lines for logs: one when a step begins, one every ten seconds while it runs, one when it ends."""

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.tick()
            return
        self._shown = self.clock()
        line = (
            f"  ..  {event.step:<{WIDTH}}           {event.detail}" if isinstance(event, StepStarted) else _told(event)
        )
        self._print(line)

    def _pulse(self, running: Running) -> None:
        passed = self.clock() - running.started
        words = [f"  ..  {running.step:<{WIDTH}} {passed:6.0f} s"]
        if running.progress is not None:
            words.append(_far(running.progress))
            words.append(_left(running.progress, passed))
        self._print(", ".join(word for word in words if word))

    def _print(self, line: str) -> None:
        print(printable(line.rstrip()), file=self.stream, flush=True)


@dataclass
class Bars(Live):
    """A line that is redrawn while a step runs, for terminals."""

    interval: float = 0.1
    columns: int = 0
    """Width of the terminal; asked of it if 0."""

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            if self.clock() - self._shown < self.interval and event.done < event.total:
                return
            self._shown = self.clock()
            self._draw(self._running.get(event.step) or Running(event.step, self.clock(), progress=event))
        elif isinstance(event, StepStarted):
            self._shown = self.clock()
            self._draw(self._running[event.step])
        else:
            self._erase()
            self.stream.write(printable(_told(event)) + "\n")
        self.stream.flush()

    def _pulse(self, running: Running) -> None:
        self._draw(running)
        self.stream.flush()

    def _erase(self) -> None:
        self.stream.write("\r\x1b[K")

    def _draw(self, running: Running) -> None:
        """Draw over the line; one that is too long would wrap and could not be drawn over again."""
        columns = (self.columns or shutil.get_terminal_size().columns) - 1
        self._erase()
        self.stream.write(printable(bar(running, self.clock() - running.started, columns))[:columns])


def bar(running: Running, passed: float, columns: int) -> str:
    """A step as one line: its name, a bar where there is room for one, how far it is, seconds passed and left.

    Args:
        running: The step.
        passed: Seconds since it began.
        columns: The most that the line may take.
    """
    head, time_passed = f"  ..  {running.step}", f"{passed:.0f} s" if passed >= 1 else ""
    progress = running.progress
    if progress is None:
        tail = ", ".join(word for word in (running.detail, time_passed) if word)
        return f"{head} {tail}".rstrip()
    tail = ", ".join(word for word in (_far(progress), time_passed, _left(progress, passed)) if word)
    head = head.ljust(min(WIDTH + 6, max(len(head), columns - len(tail) - BAR - 4)))
    room = min(BAR, columns - len(head) - len(tail) - 4)
    if progress.total <= 0 or room < 5:
        return f"{head} {tail}"
    full = min(room, room * progress.done // progress.total)
    return f"{head} [{'#' * full}{'.' * (room - full)}] {tail}"


def monitor(kind: str, stream: TextIO | None = None) -> Monitor:
    """The renderer for ``--progress auto|bar|plain|json|none``; it also shows :mod:`notices <.notices>`."""
    out = sys.stderr if stream is None else stream
    if kind == "auto":
        kind = "bar" if out.isatty() else "plain"
    makers: dict[str, Callable[[], Monitor]] = {
        "bar": lambda: Bars(out, every=1.0),
        "plain": lambda: Plain(out, every=1.0),
        "json": lambda: JsonLines(out),
        "none": lambda: SILENT,
    }
    made = makers[kind]()
    notices.show_with(lambda text: made.emit(Note(text, "warning")))
    return made


def _told(event: Event) -> str:
    match event:
        case StepStarted():
            return f"  ..  {event.step:<{WIDTH}} {'':>8}  {event.detail}".rstrip()
        case StepFinished():
            how = "kept" if event.cached else f"{event.seconds:6.1f} s"
            return f"  ok  {event.step:<{WIDTH}} {how:>8}  {event.detail}".rstrip()
        case StepFailed():
            return f"  xx  {event.step:<{WIDTH}} {event.seconds:6.1f} s"
        case Note():
            return f"  !!  {event.text}" if event.level == "warning" else f"      {event.text}"
        case _:
            return ""


def _far(event: Progress) -> str:
    def show(count: int) -> str:
        return human_bytes(count) if event.unit == "bytes" else f"{count} {event.unit}"

    return f"{show(event.done)} of {show(event.total)}" if event.total > 0 else show(event.done)


def _left(event: Progress, passed: float) -> str:
    """The time left, if what was done so far allows to tell."""
    if not 0 < event.done < event.total or passed < _SURE:
        return ""
    left = passed * (event.total - event.done) / event.done
    return f"about {left:.0f} s left" if left < 100 else f"about {left / 60:.0f} min left"
