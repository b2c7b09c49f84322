"""What a code line is, and what happens beyond a limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from upkeep import lines

MODULE = '''"""A module."""

import os  # said beside code: the line counts

# A comment.
LIMIT = 3
"""What the constant means,
in two lines."""


def name(
    path: str,
) -> str:
    """A docstring."""
    text = """a string
    that is code"""

    return text + path
'''


def test_blank_lines_comments_and_docstrings_are_no_code() -> None:
    assert lines.count_lines(MODULE) == 8


@pytest.mark.parametrize("source", ["", "\n\n", "# nothing\n", '"""Nothing."""\n'])
def test_what_has_no_code(source: str) -> None:
    assert lines.count_lines(source) == 0


def test_a_line_with_two_statements_is_one() -> None:
    assert lines.count_lines("a = 1; b = 2\n") == 1


def test_tests_are_counted_by_function() -> None:
    source = "class A:\n    def test_one(self): ...\ndef test_two(): ...\ndef helper(): ...\n"
    assert lines.count_tests(source) == 2


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name in lines.FOLDERS:
        package = tmp_path / name / "proa" / "package"
        for folder in (package, package / "testing", package / "tests", tmp_path / name / "tests"):
            folder.mkdir(parents=True)
            (folder / "module.py").write_text("a = 1\n")
        (tmp_path / name / "setup.py").write_text("not = counted\n")
        (tmp_path / name / "tests" / "test_it.py").write_text("def test_it(): ...\n")
    return tmp_path


def test_only_what_is_shipped_counts(house: Path) -> None:
    found = lines.read(house, dict.fromkeys(lines.FOLDERS, 1))
    assert [(one.name, one.files, one.lines, one.tests) for one in found] == [(name, 1, 1, 1) for name in lines.FOLDERS]
    assert lines.document(found)["ok"] is True


def test_a_folder_beyond_its_limit_is_told_with_the_way_out(house: Path) -> None:
    found = lines.read(house, dict.fromkeys(lines.FOLDERS, 1) | {"agent": 0})
    problems = [one.problem for one in found if one.problem]
    assert len(problems) == 1
    assert problems[0].startswith("agent has 1 code lines, 1 more than its limit of 0.")
    assert "set agent = 1 in [tool.proa.lines]" in problems[0]
    document = json.loads(json.dumps(lines.document(found)))
    assert document["ok"] is False
    assert [row["name"] for row in document["folders"] if not row["ok"]] == ["agent"]


def test_every_folder_has_a_limit() -> None:
    assert set(lines.read_limits(lines.ROOT / "pyproject.toml")) == set(lines.FOLDERS)


def test_the_table_has_a_row_for_each_folder(house: Path) -> None:
    rows = lines.text(lines.read(house, dict.fromkeys(lines.FOLDERS, 1000))).splitlines()
    assert [row.split()[0] for row in rows] == ["folder", *lines.FOLDERS, "all"]
    assert rows[1].split() == ["core", "1", "1", "1,000", "1"]
