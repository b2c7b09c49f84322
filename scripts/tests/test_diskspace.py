"""The check of disk space before tiers run."""

from __future__ import annotations

from pathlib import Path

import pytest

from upkeep import diskspace, tiers
from upkeep.diskspace import GIB, NEEDED, lacking

MOST = max(NEEDED.values())
TEMPORARY, CACHE = Path("/temporary"), Path("/cache")


def test_a_full_disk_is_named_with_what_is_missing() -> None:
    free = {TEMPORARY: 100 * GIB, CACHE: GIB // 2}
    assert f"need {MOST} GiB in /cache, and 0.5 are free" in lacking(["unit", "vm"], free, free.__getitem__)


@pytest.mark.parametrize(("names", "free"), [(["unit", "lint"], 0), (["vm", "contract"], MOST * GIB), ([], 0)])
def test_where_there_is_enough_nothing_is_said(names: list[str], free: int) -> None:
    assert lacking(names, [TEMPORARY], lambda _: free) == ""


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above_it(tmp_path: Path) -> None:
    assert diskspace.free_bytes(tmp_path / "not" / "yet") > 0


def test_every_tier_that_needs_space_is_one() -> None:
    assert NEEDED.keys() <= tiers.TIERS.keys()


def test_nothing_runs_on_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    assert tiers.main(["vm"], lambda _: 0) == 2
    assert "GiB" in capsys.readouterr().err
