"""s07: text of strangers does nothing to a person's terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proa.core.runtime.output import say

_MOVING = {"vm-tests/proa/vm/simulated/view.py", "vm-tests/proa/vm/simulated/simulator.py"}
"""A table that moves the cursor, and escapes what it is made of; JSON for another process."""
ROOT = Path(__file__).parents[3]
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\x08\r\u202e\u2066\ud800\x7fend"


@pytest.mark.parametrize("err", [False, True])
def test_s07_what_a_terminal_acts_on_comes_out_as_escapes(capsys: pytest.CaptureFixture[str], err: bool) -> None:
    say(f"a\t{EVIL}\nb \N{GREEK SMALL LETTER ALPHA}", err=err)
    told = capsys.readouterr()
    text = told.err if err else told.out
    assert all(char.isprintable() or char in "\n\t" for char in text)
    assert text.endswith("end\nb \N{GREEK SMALL LETTER ALPHA}\n")


def test_what_is_bold_is_as_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, bold=True)
    assert "\x1b]0" not in capsys.readouterr().out


def test_s07_there_is_no_other_exit() -> None:
    """Every command prints by ``say``; events have monitors of their own, which escape as well."""
    allowed = {"core/proa/core/runtime/output.py", "core/proa/core/runtime/renderers.py", *_MOVING}
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("core", "agent", "builder", "partition", "scheduler", "vm-tests")
        for path in sorted((ROOT / folder / "proa").rglob("*.py"))
        if "testing" not in path.relative_to(ROOT).parts
        if str(path.relative_to(ROOT)) not in allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b(click\.s?echo|echo_via_pager|print|stdout\.write|stdout\.buffer)\(", line)
    ]
    assert found == []
