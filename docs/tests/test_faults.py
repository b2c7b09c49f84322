"""The page of faults from the field names a test for each row, and each of these tests is in the tree."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from making.families import FAMILIES, UNTESTED, by_family  # noqa: E402 -- docs is no package that is installed

PAGE = ROOT / "docs/explanation/faults.md"
ROWS = [*(f"n{number:02}" for number in range(1, 23)), *(f"s{number:02}" for number in range(1, 17))]
LINE = re.compile(r"^\| ([ns]\d\d) \| .+ \| .+ \| `(test_\w+)` \|$", re.MULTILINE)
FOLDERS = ("core", "partition", "builder", "agent", "scheduler", "vm-tests")


def test_every_row_names_a_test_of_its_own() -> None:
    found = LINE.findall(PAGE.read_text())
    assert [row for row, _ in found] == ROWS
    assert [name for row, name in found if not name.startswith(f"test_{row}_")] == []


def test_every_test_that_is_named_is_there() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder / "tests").rglob("test_*.py")]
    there = {name for path in files for name in re.findall(r"def (test_[ns]\d\d_\w+)", path.read_text())}
    assert [name for _, name in LINE.findall(PAGE.read_text()) if name not in there] == []


def test_every_family_of_faults_has_a_test_or_a_reason() -> None:
    found = set(by_family())
    assert set(FAMILIES) - found == set(UNTESTED)
    assert found <= set(FAMILIES)
