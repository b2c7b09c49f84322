"""Progress as typed events. The core emits; only a renderer (:mod:`proa.core.runtime.renderers`) prints."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol


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
