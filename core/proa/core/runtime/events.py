"""Progress as typed events with three renderers. The core emits; only a renderer prints.

A renderer whose reader has gone shows nothing: that must not end the work it tells of.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TextIO

from proa.core.runtime.printable import printable


@dataclass(frozen=True)
class StepStarted:
    """A named piece of work begins."""

    step: str
    detail: str = ""


@dataclass(frozen=True)
class StepFinished:
    """A named piece of work is done."""

    step: str
    seconds: float
    cached: bool = False
    detail: str = ""


@dataclass(frozen=True)
class StepFailed:
    """A named piece of work ended with an error, which is reported separately."""

    step: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a step is. ``unit`` is ``bytes`` or what is counted; ``total`` 0 means unknown."""

    step: str
    done: int
    total: int
    unit: str = "bytes"


@dataclass(frozen=True)
class Note:
    """Something a person should read."""

    text: str
    level: str = "info"
    """``info`` or ``warning``."""


Event = StepStarted | StepFinished | StepFailed | Progress | Note


class Monitor(Protocol):
    """Where events go."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...


class Silent:
    """The renderer that shows nothing."""

    def emit(self, event: Event) -> None:
        """Drop the event."""


SILENT = Silent()


@dataclass
class Recorder:
    """Keeps events in a list: for reports and tests."""

    events: list[Event] = dataclasses.field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)


@dataclass
class Tee:
    """Passes every event to several monitors, even if one of them has lost its reader."""

    monitors: tuple[Monitor, ...]

    def emit(self, event: Event) -> None:
        """Pass the event on."""
        for monitor in self.monitors:
            with suppress(OSError):
                monitor.emit(event)


@dataclass
class JsonLines:
    """One JSON object a line: ``{"event": "Progress", "step": ..., ...}``."""

    stream: TextIO

    def emit(self, event: Event) -> None:
        """Write the event."""
        with suppress(OSError):
            print(json.dumps(as_document(event)), file=self.stream, flush=True)


@dataclass
class Plain:
    """One line per step, for logs."""

    stream: TextIO

    def emit(self, event: Event) -> None:
        """Write the event, unless it only reports progress."""
        line = _line(event)
        if line:
            with suppress(OSError):
                print(line, file=self.stream, flush=True)


@dataclass
class Bars:
    """A line that is redrawn while a step runs, for terminals."""

    stream: TextIO
    interval: float = 0.1
    """Seconds between two drawings."""
    clock: Callable[[], float] = time.monotonic
    columns: int = 0
    """Width of the terminal; asked of it if 0."""
    _drawn: float = -1.0

    def emit(self, event: Event) -> None:
        """Draw the event."""
        with suppress(OSError):
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            now = self.clock()
            if now - self._drawn < self.interval and event.done < event.total:
                return
            self._drawn = now
            self._draw(_bar(event))
        elif isinstance(event, StepStarted):
            self._draw(f"  ..  {event.step} {event.detail}".rstrip())
        else:
            self.stream.write("\r\x1b[K" + _line(event) + "\n")
        self.stream.flush()

    def _draw(self, line: str) -> None:
        """Draw over the line; one that is too long would wrap and could not be drawn over again."""
        self.stream.write("\r\x1b[K" + printable(line)[: (self.columns or shutil.get_terminal_size().columns) - 1])


def monitor(kind: str, stream: TextIO | None = None) -> Monitor:
    """The renderer for ``--progress auto|bar|plain|json|none``."""
    out = sys.stderr if stream is None else stream
    if kind == "auto":
        kind = "bar" if out.isatty() else "plain"
    return {"bar": Bars, "plain": Plain, "json": JsonLines}[kind](out) if kind != "none" else SILENT


def as_document(event: Event) -> dict[str, object]:
    """The event as JSON keys and values."""
    return {"event": type(event).__name__} | dataclasses.asdict(event)


class StepOutcome(enum.Enum):
    """How a step came to its result."""

    DONE = "done"
    CACHED = "cached"


@dataclass
class Step:
    """The handle that :func:`step` yields: set the step's outcome here."""

    outcome: StepOutcome = StepOutcome.DONE
    detail: str = ""
    seconds: float = 0.0


@contextmanager
def step(to: Monitor, name: str, detail: str = "") -> Iterator[Step]:
    """Emit the start of a step, and its end or failure with the seconds it took."""
    to.emit(StepStarted(name, detail))
    handle = Step()
    started = time.monotonic()
    try:
        yield handle
    except BaseException:
        to.emit(StepFailed(name, time.monotonic() - started))
        raise
    handle.seconds = time.monotonic() - started
    to.emit(StepFinished(name, handle.seconds, handle.outcome is StepOutcome.CACHED, handle.detail))


def human_bytes(count: float) -> str:
    """A number of bytes as a person reads it, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def _line(event: Event) -> str:
    return printable(_told(event))


def _told(event: Event) -> str:
    match event:
        case StepFinished():
            how = "kept" if event.cached else f"{event.seconds:6.1f} s"
            return f"  ok  {event.step:<28} {how:>8}  {event.detail}".rstrip()
        case StepFailed():
            return f"  xx  {event.step:<28} {event.seconds:6.1f} s"
        case Note():
            return f"  !!  {event.text}" if event.level == "warning" else f"      {event.text}"
        case _:
            return ""


def _bar(event: Progress) -> str:
    def show(count: int) -> str:
        return human_bytes(count) if event.unit == "bytes" else f"{count} {event.unit}"

    if event.total <= 0:
        return f"  ..  {event.step:<28} {show(event.done)}"
    width = 30
    full = min(width, width * event.done // event.total)
    return f"  ..  {event.step:<28} [{'#' * full}{'.' * (width - full)}] {show(event.done)} of {show(event.total)}"
