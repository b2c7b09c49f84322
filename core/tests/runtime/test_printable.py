"""Text of strangers: nothing of it acts on a terminal, and all of it can be written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.printable import one_line, printable

NASTY = "\ud800\x1b[2J\x9b\u202e\nproa-agent: all is well\r"


def test_what_a_terminal_acts_on_becomes_an_escape() -> None:
    assert printable(NASTY) == "\\ud800\\x1b[2J\\x9b\\u202e\nproa-agent: all is well\\r"


def test_words_lines_and_tabs_stay() -> None:
    for text in ("", "plain", "größer \N{SNOWMAN}", "one\n\ttwo\n"):
        assert printable(text) == text


def test_one_line_is_one() -> None:
    assert one_line(NASTY) == "[2J proa-agent: all is well"
    assert one_line("word " * 100, 9) == "word word"


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_written(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        shown.encode()
        assert "\x1b" not in shown
