"""What a log, a terminal and a program get to see of progress."""

from __future__ import annotations

import io
import json
import threading

import pytest

from proa.core.runtime import events, notices, renderers
from proa.core.runtime.events import Note, Progress, Recorder, StepFailed, StepFinished, StepStarted
from proa.core.runtime.renderers import Bars, JsonLines, Plain, Running, bar

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


def test_p01_plain_writes_a_line_for_what_begins_and_for_what_ends() -> None:
    out = io.StringIO()
    for event in ALL:
        Plain(out).emit(event)
    assert out.getvalue().splitlines() == [
        "  ..  root                                   435 MB",
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
    assert type(renderers.monitor(kind, stream)) is renderer


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
    monitor = renderers.monitor(kind, stream)
    for event in ALL:
        monitor.emit(event)
    assert stream.tries > 0


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


def test_p01_a_log_gets_a_line_every_ten_seconds_of_a_step() -> None:
    out, now = io.StringIO(), [100.0]
    plain = Plain(out, clock=lambda: now[0])
    plain.emit(StepStarted("packages"))
    for _ in range(25):
        now[0] += 1
        plain.tick()
    assert [line.split() for line in out.getvalue().splitlines()[1:]] == [
        ["..", "packages", "10", "s"],
        ["..", "packages", "20", "s"],
    ]


def test_p01_a_log_gets_how_far_a_step_is_and_the_time_left() -> None:
    out, now = io.StringIO(), [0.0]
    plain = Plain(out, clock=lambda: now[0])
    plain.emit(StepStarted("root"))
    for second in range(1, 41):
        now[0] = float(second)
        plain.emit(Progress("root", second << 20, 400 << 20))
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[1].endswith("    10 s, 10.0 MiB of 400.0 MiB, about 6 min left")
    plain.emit(Progress("root", 1, 0, "blocks"))
    now[0] = 60.0
    plain.tick()
    assert out.getvalue().splitlines()[-1].endswith("60 s, 1 blocks")


def test_p01_of_steps_in_one_another_the_last_that_runs_is_told() -> None:
    out, now = io.StringIO(), [0.0]
    plain = Plain(out, clock=lambda: now[0])
    plain.emit(StepStarted("outer"))
    plain.emit(StepStarted("inner"))
    now[0] = 10.0
    plain.tick()
    plain.emit(StepFinished("inner", 10.0))
    now[0] = 20.0
    plain.tick()
    plain.emit(StepFinished("outer", 20.0))
    now[0] = 99.0
    plain.tick()
    assert [line.split()[:2] for line in out.getvalue().splitlines()] == [
        ["..", "outer"],
        ["..", "inner"],
        ["..", "inner"],
        ["ok", "inner"],
        ["..", "outer"],
        ["ok", "outer"],
    ]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 200])
def test_p01_a_bar_keeps_how_far_it_is_and_the_time_left_on_a_narrow_terminal(columns: int) -> None:
    running = Running("download packages", 0.0, progress=Progress("download packages", 100 << 20, 400 << 20))
    line = bar(running, 30.0, columns)
    assert "100.0 MiB of 400.0 MiB, 30 s, about 90 s left" in line
    assert len(line) <= max(columns, 75)
    assert ("[#" in line) is (columns >= 80)


def test_p01_a_terminal_shows_the_seconds_of_a_step_that_reports_nothing() -> None:
    out, now = Terminal(), [0.0]
    bars = Bars(out, clock=lambda: now[0], columns=80)
    bars.emit(StepStarted("packages", "from the archive"))
    now[0] = 34.0
    bars.tick()
    assert out.getvalue().split("\r\x1b[K")[1:] == [
        "  ..  packages from the archive",
        "  ..  packages from the archive, 34 s",
    ]


@pytest.mark.parametrize("kind", ["bar", "plain"])
def test_p01_the_renderer_of_a_command_ticks_by_itself_while_a_step_runs(kind: str) -> None:
    ticked = threading.Event()

    class Heard(io.StringIO):
        def write(self, text: str, /) -> int:
            if "slow" in self.getvalue() and "slow" in text:
                ticked.set()
            return super().write(text)

    made = {"bar": Bars, "plain": Plain}[kind](Heard(), interval=0.0, every=0.001)
    made.emit(StepStarted("slow"))
    assert ticked.wait(60)
    made.emit(StepFinished("slow", 0.1))


def test_p01_notices_are_shown_by_the_renderer_of_the_command() -> None:
    out = io.StringIO()
    renderers.monitor("plain", out)
    notices.notice("registry.example.net does not answer: next attempt in 5 s")
    assert out.getvalue() == "  !!  registry.example.net does not answer: next attempt in 5 s\n"
    renderers.monitor("none", out)
    notices.notice("unheard")
    notices.show_with(None)
    notices.notice("unheard")
    assert "unheard" not in out.getvalue()
