"""Events and their renderers: what a log, a terminal and a program get to see."""

from __future__ import annotations

import io
import json

import pytest

from proa.core.runtime import events
from proa.core.runtime.events import (
    Bars,
    JsonLines,
    Note,
    Plain,
    Progress,
    Recorder,
    StepFailed,
    StepFinished,
    StepStarted,
)

ALL: tuple[events.Event, ...] = (
    StepStarted("root", "435 MB"),
    Progress("root", 1, 4),
    Progress("root", 3, 0, "blocks"),
    Note("a hint"),
    Note("a danger", "warning"),
    StepFinished("root", 1.26, detail="ok"),
    StepFinished("boot", 0.0, cached=True),
    StepFailed("disk", 2.0),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_writes_a_line_for_what_ends() -> None:
    out = io.StringIO()
    for event in ALL:
        Plain(out).emit(event)
    assert out.getvalue().splitlines() == [
        "      a hint",
        "  !!  a danger",
        "  ok  root                            1.3 s  ok",
        "  ok  boot                             kept",
        "  xx  disk                            2.0 s",
    ]


def test_json_writes_an_object_a_line() -> None:
    out = io.StringIO()
    for event in ALL:
        JsonLines(out).emit(event)
    documents = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [document["event"] for document in documents] == [type(event).__name__ for event in ALL]
    assert documents[1] == {"event": "Progress", "step": "root", "done": 1, "total": 4, "unit": "bytes"}


def test_bars_draw_over_and_end_with_a_line() -> None:
    out = Terminal()
    bars = Bars(out, interval=0, columns=100)
    for event in ALL:
        bars.emit(event)
    shown = [line.split("\x1b[K")[-1] for line in out.getvalue().split("\n")]
    assert shown == [
        "      a hint",
        "  !!  a danger",
        "  ok  root                            1.3 s  ok",
        "  ok  boot                             kept",
        "  xx  disk                            2.0 s",
        "",
    ]
    assert "[#######.......................] 1 B of 4 B" in out.getvalue()
    assert "3 blocks" in out.getvalue()


def test_bars_are_drawn_now_and_then_but_the_last_always() -> None:
    out, now = Terminal(), [0.0]
    bars = Bars(out, interval=0.1, clock=lambda: now[0], columns=100)
    for done in range(101):
        now[0] += 0.01
        bars.emit(Progress("copy", done, 100))
    assert out.getvalue().count("\r") == 11
    assert "100 B of 100 B" in out.getvalue()


def test_a_bar_never_wraps() -> None:
    out = Terminal()
    bars = Bars(out, interval=0, columns=40)
    bars.emit(StepStarted("step", "d" * 100))
    bars.emit(Progress("step", 1 << 30, 1 << 40))
    assert all(len(line) < 40 for line in out.getvalue().split("\r\x1b[K"))


@pytest.mark.parametrize(
    ("kind", "stream", "renderer"),
    [
        ("auto", Terminal(), Bars),
        ("auto", io.StringIO(), Plain),
        ("bar", io.StringIO(), Bars),
        ("plain", Terminal(), Plain),
        ("json", Terminal(), JsonLines),
        ("none", Terminal(), events.Silent),
    ],
)
def test_the_renderer_fits_the_stream(kind: str, stream: io.StringIO, renderer: type) -> None:
    assert type(events.monitor(kind, stream)) is renderer


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    tries = 0

    def write(self, text: str, /) -> int:
        self.tries += 1
        raise BrokenPipeError(32, "Broken pipe")

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["bar", "plain", "json"])
def test_a_reader_that_has_gone_ends_no_work(kind: str) -> None:
    stream = Gone()
    monitor = events.monitor(kind, stream)
    for event in ALL:
        monitor.emit(event)
    assert stream.tries > 0


def test_one_that_lost_its_reader_takes_nothing_from_the_others() -> None:
    class Broken:
        def emit(self, event: events.Event) -> None:
            raise OSError(5, "Input/output error")

    seen = Recorder()
    events.Tee((Broken(), seen)).emit(Note("told"))
    assert seen.events == [Note("told")]


def test_what_is_told_does_nothing_to_a_terminal() -> None:
    out = Terminal()
    for monitor in (Plain(out), Bars(out, columns=100)):
        monitor.emit(Note("\x1b[2J\ud800"))
    assert out.getvalue().count("\\x1b[2J\\ud800") == 2


def test_a_step_tells_its_start_and_end() -> None:
    seen = Recorder()
    with events.step(events.Tee((seen, events.SILENT)), "tree", "bookworm") as step:
        step.outcome = events.StepOutcome.CACHED
        step.detail = "12 packages"
    assert seen.events == [
        StepStarted("tree", "bookworm"),
        StepFinished("tree", step.seconds, cached=True, detail="12 packages"),
    ]


def test_a_step_that_fails_says_so() -> None:
    seen = Recorder()
    with pytest.raises(KeyError), events.step(seen, "tree"):
        raise KeyError
    assert [type(event) for event in seen.events] == [StepStarted, StepFailed]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")],
)
def test_bytes_are_told_in_binary_units(count: int, text: str) -> None:
    assert events.human_bytes(count) == text
