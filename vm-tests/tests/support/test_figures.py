"""The figures of a benchmark, and which of them miss their goals."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from proa.core.schema.json_schema import closed, json_schema
from proa.vm.support.figures import BenchReport, Figure, lines, missed, write


@pytest.mark.parametrize(
    ("figure", "goal", "met"),
    [
        (Figure("a", 7.0), "", True),
        (Figure("a", 5.0, "s", most=5), "<= 5 s", True),
        (Figure("a", 5.004, "s", most=5), "<= 5 s", False),
        (Figure("a", 0, most=0), "0", True),
        (Figure("a", 1, most=0), "0", False),
        (Figure("a", 7.2, most=8), "<= 8", True),
        (Figure("a", 3.0, "s", most=60, whole=False), "<= 60 s", False),
        (Figure("a", 3.0, "s", whole=False), "all done", False),
    ],
)
def test_a_goal_is_met_by_what_is_not_more_and_whole(figure: Figure, goal: str, met: bool) -> None:
    assert (figure.goal, figure.met) == (goal, met)
    assert figure.row.ok is met
    assert bool(missed([figure])) is not met


def test_the_table_says_of_each_goal_whether_it_is_met() -> None:
    figures = [Figure("quick", 1.5, "s", floor=3.0, most=5), Figure("slow", 61, "s", most=60), Figure("  some", 2)]
    heading, *rows = lines(figures)
    assert heading.split() == ["value", "floor", "ratio", "goal", "met"]
    assert [row.split() for row in rows] == [
        ["quick", "1.50", "s", "3.00", "0.50", "<=", "5", "s", "yes"],
        ["slow", "61.00", "s", "<=", "60", "s", "NO"],
        ["some", "2.00"],
    ]
    assert missed(figures) == ["slow: 61.00 s, goal <= 60 s"]
    assert missed([Figure("a", 1, most=2, whole=False)]) == ["a: 1.00, goal <= 2, and not all was done"]


def test_rows_are_what_the_schema_says(tmp_path: Path) -> None:
    write(tmp_path / "deep/bench.json", (Figure("a", 1.234, "s", floor=2.0, most=5).row, Figure("b", 1).row))
    told = json.loads((tmp_path / "deep/bench.json").read_text())
    jsonschema.validate(told, closed(json_schema(BenchReport)))
    rows = told["rows"]
    assert (rows[0]["value"], rows[0]["ratio"], rows[1]["floor"]) == (1.23, 0.62, None)
