"""The version is stated once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from upkeep.lines import ROOT
from upkeep.version import read_version

PLACE = Path("core/proa/core/__init__.py")
OTHERS = {"MIN_AGENT", "Requires", "seekable format", "leading numbers of a version"}
"""Lines with a version of something else: the oldest agent that a release can have, zstd's format, an example."""
NOT_WRITTEN = {".git", ".venv", "build", "dist", "tests", "__pycache__", "reference", ".hypothesis", ".cache"}
"""Folders with what is made, with samples of tests, and docs/reference, which is made from the code."""
PINS = {".lock", ".sum", ".mod"}


def written() -> Iterator[Path]:
    """What people write in this repository, without tests and the versions of others."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_WRITTEN and not name.endswith("_cache")]
        yield from (Path(folder) / name for name in names if Path(name).suffix not in PINS | {".pyc"})


def stating(path: Path, text: str) -> list[str]:
    """The lines of a file that state the version, in the form ``PATH: LINE``."""
    pattern = re.compile(rf"(?<![\w.]){re.escape(text)}(?![\w.])")
    lines = path.read_text(errors="replace").splitlines()
    found = [line for line in lines if pattern.search(line) and not any(word in line for word in OTHERS)]
    return [f"{path.relative_to(ROOT)}: {line.strip()}" for line in found]


def test_the_version_is_stated_in_one_line_only() -> None:
    text = read_version(ROOT)
    found = [line for path in written() for line in stating(path, text)]
    assert [line.split(":")[0] for line in found] == [str(PLACE)], found


def test_the_installed_distribution_has_it() -> None:
    assert version("proa") == read_version(ROOT)


@pytest.mark.parametrize("line", ['VERSION = "1.2.3"', 'VERSION: Final = "1.2.3"'])
def test_it_is_read_whatever_its_name(line: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / PLACE).parent.mkdir(parents=True)
    (tmp_path / PLACE).write_text(f'"""Words."""\n\n{line}\n')
    assert read_version(tmp_path) == "1.2.3"


@pytest.mark.parametrize("text", ["", 'VERSION = "1"\nVERSION = "2"\n', 'MY_VERSION = "1"\n'])
def test_a_version_that_is_not_there_once_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / PLACE).parent.mkdir(parents=True)
    (tmp_path / PLACE).write_text(text)
    with pytest.raises(LookupError, match=r"core/__init__\.py states the version"):
        read_version(tmp_path)
