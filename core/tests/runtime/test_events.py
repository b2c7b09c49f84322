"""Events on their way from what works to what shows."""

from __future__ import annotations

from proa.core.runtime import events
from proa.core.runtime.events import Note, Recorder


def test_one_that_lost_its_reader_takes_nothing_from_the_others() -> None:
    class Broken:
        def emit(self, event: events.Event) -> None:
            raise OSError(5, "Input/output error")

    seen = Recorder()
    events.Tee((Broken(), seen)).emit(Note("told"))
    assert seen.events == [Note("told")]
