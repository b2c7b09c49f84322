"""s07: what a node says of itself does nothing to the terminal of whoever asks."""

from __future__ import annotations

import pytest

from proa.scheduler.cli.options import remark, show
from proa.scheduler.report.reports import Changed

EVIL = "\x1b[2J\x1b]8;;https://evil.test\x07\nn2  Good  all is well\r\x9b"


def test_s07_a_line_about_a_node_stays_one_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    show(Changed("workers", False, "", (EVIL,), None, None), False, ["NODE  STATE", f"n1  {EVIL}"])
    remark([EVIL])
    told = capsys.readouterr()
    assert told.out.count("\n") == 2
    assert told.err.count("\n") == 2
    assert all(char.isprintable() or char == "\n" for char in told.out + told.err)


def test_s07_json_is_harmless_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    show(Changed("workers", False, EVIL, (), None, None), True, ())
    assert all(char.isprintable() or char == "\n" for char in capsys.readouterr().out)
