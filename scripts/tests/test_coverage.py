"""What the reports of coverage say of each folder, and what happens below a floor."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from upkeep import coverage
from upkeep.lines import FOLDERS, ROOT


def summary(lines: int, run: int, branches: int = 0, taken: int = 0) -> dict[str, dict[str, int]]:
    numbers = {"num_statements": lines, "covered_lines": run, "num_branches": branches, "covered_branches": taken}
    return {"summary": numbers}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    files = {
        "scheduler/proa/scheduler/planning/planner.py": summary(80, 78, 20, 20),
        "scheduler/proa/scheduler/planning_aids.py": summary(100, 0),
        "scheduler/proa/scheduler/cli/main.py": summary(200, 52),
    }
    (tmp_path / coverage.REPORTS).mkdir(parents=True)
    (tmp_path / coverage.REPORTS / "scheduler.json").write_text(json.dumps({"files": files}))
    return tmp_path


def test_lines_and_branches_count_alike_and_a_room_by_itself(measured: Path) -> None:
    whole, room = coverage.read(measured, {"scheduler": 30, "scheduler/planning": 98.5})
    assert (whole.lines, whole.branches, whole.percent, whole.problem) == (380, 20, 37.5, "")
    assert (room.lines, room.branches, room.percent) == (80, 20, 98.0)
    assert room.problem == "unit tests run 98.0 % of scheduler/planning, less than its floor of 98.5 %"
    assert coverage.document((whole,))["ok"] is True
    assert coverage.document((whole, room))["ok"] is False
    assert "  scheduler/planning          80        20    98.0 %    98.5 %" in coverage.text((whole, room))


def test_a_folder_that_was_not_measured_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ProaError, match="core was not measured") as caught:
        coverage.read(tmp_path, {"core": 90})
    assert caught.value.code is Code.FILE_MISSING


def test_a_room_that_is_gone_is_below_its_floor(measured: Path) -> None:
    (found,) = coverage.read(measured, {"scheduler/gone": 90})
    assert found.percent == 0
    assert found.problem


def test_every_folder_has_a_floor_and_the_most_important_ones_a_high_one() -> None:
    floors = coverage.read_floors(ROOT / "pyproject.toml")
    assert set(FOLDERS) <= set(floors)
    assert all(floors[name] >= 90 for name in ("core", "partition", "agent", "scheduler/planning"))
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["run"]["branch"] is True
