"""``make coverage``: how much of each folder its own unit tests run, lines and branches, and the floors they keep.

The floors stand in ``[tool.proa.coverage]`` of pyproject.toml, in percent, for folders and for parts of them. pytest
leaves a report for each folder (:func:`options`); ``--check`` only reads the reports that are there, as ``make test``
does once its unit tests have run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from proa.core.runtime.cli import run_command
from proa.core.runtime.errors import Code, ProaError
from upkeep.lines import FOLDERS, ROOT

REPORTS: Final = Path("build/coverage")
SCHEMA: Final = "proa.coverage/v1"


@dataclass(frozen=True)
class Part:
    """A folder, or a part of one, and how much of it unit tests run.

    Attributes:
        name: As ``[tool.proa.coverage]`` has it: ``core``, ``scheduler/planning``.
        lines: Statements that there are.
        branches: Ways out of statements that have several.
        percent: Of both together, what was run.
        floor: Percent below which it must not fall.
    """

    name: str
    lines: int
    branches: int
    percent: float
    floor: float

    @property
    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.percent >= self.floor:
            return ""
        return f"unit tests run {self.percent:.1f} % of {self.name}, less than its floor of {self.floor:g} %"


def options(folder: str) -> tuple[str, ...]:
    """What pytest is called with, so that it measures a folder."""
    return f"--cov={folder}/proa", f"--cov-report=json:{REPORTS / folder}.json", "--cov-config=pyproject.toml"


def variables(folder: str) -> Mapping[str, str]:
    """What stands in its environment, so that several runs do not write the same data."""
    return {"COVERAGE_FILE": f"{REPORTS / folder}.data"}


def read(root: Path, floors: Mapping[str, float]) -> tuple[Part, ...]:
    """What the reports say.

    Args:
        root: The root of the repository.
        floors: By name of the part.

    Raises:
        ProaError: ``FILE_MISSING`` where a folder was not measured.
    """
    return tuple(_read(root, name, floor) for name, floor in floors.items())


def _read(root: Path, name: str, floor: float) -> Part:
    folder, _, room = name.partition("/")
    path = root / REPORTS / f"{folder}.json"
    if not path.is_file():
        raise ProaError(Code.FILE_MISSING, f"{folder} was not measured", at=path, hint="Run `make coverage`.")
    package = folder.removesuffix("-tests")
    files = json.loads(path.read_bytes())["files"]
    below = f"{folder}/proa/{package}/{room}".rstrip("/") + "/"
    return _sum(name, floor, (one["summary"] for file, one in files.items() if file.startswith(below)))


def _sum(name: str, floor: float, summaries: Iterable[Mapping[str, Any]]) -> Part:
    rows = list(summaries)
    lines, run = (sum(row[key] for row in rows) for key in ("num_statements", "covered_lines"))
    branches, taken = (sum(row[key] for row in rows) for key in ("num_branches", "covered_branches"))
    percent = 100 * (run + taken) / (lines + branches) if lines else 0.0
    return Part(name, lines, branches, round(percent, 1), floor)


def read_floors(pyproject: Path) -> dict[str, float]:
    """The floors as ``[tool.proa.coverage]`` states them.

    Raises:
        KeyError: If there are none.
    """
    floors: dict[str, float] = tomllib.loads(pyproject.read_text())["tool"]["proa"]["coverage"]
    return floors


def text(parts: tuple[Part, ...]) -> str:
    """The table that a person reads."""
    rows = [("folder", "lines", "branches", "covered", "floor")]
    rows += [
        (one.name, f"{one.lines:,}", f"{one.branches:,}", f"{one.percent:.1f} %", f"{one.floor:g} %") for one in parts
    ]
    return "\n".join(f"  {name:<20}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in rows)


def document(parts: tuple[Part, ...]) -> dict[str, object]:
    """The same for programs: ``proa.coverage/v1``."""
    rows = [asdict(one) | {"ok": not one.problem} for one in parts]
    return {"schema": SCHEMA, "parts": rows, "ok": all(row["ok"] for row in rows)}


def measure(root: Path, folder: str) -> None:
    """Run the unit tests of a folder, measured.

    Raises:
        ProaError: ``TOOL`` if they fail.
    """
    words = ["-m", "pytest", "-q", "-n", "0", "-m", "not contract and not vm", *options(folder), f"{folder}/tests"]
    env = os.environ | variables(folder)
    if subprocess.run([sys.executable, *words], cwd=root, env=env, check=False).returncode != 0:
        raise ProaError(Code.TOOL, "the unit tests fail", at=folder)


@click.command(epilog="Example: python -m upkeep.coverage core")
@click.argument("folders", nargs=-1, type=click.Choice(FOLDERS))
@click.option("--check", is_flag=True, help="Run nothing: read what a run has left.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def cli(folders: tuple[str, ...], *, check: bool, as_json: bool) -> int:
    """Measure the unit tests of FOLDERS, all if none is named. Exits with status 1 if one is below its floor."""
    chosen = folders or FOLDERS
    if not check:
        for folder in chosen:
            measure(ROOT, folder)
    floors = {
        name: floor for name, floor in read_floors(ROOT / "pyproject.toml").items() if name.split("/")[0] in chosen
    }
    parts = read(ROOT, floors)
    click.echo(json.dumps(document(parts), indent=2) if as_json else text(parts))
    problems = [one.problem for one in parts if one.problem]
    for problem in problems:
        click.echo(f"coverage: {problem}", err=True)
    return int(bool(problems))


if __name__ == "__main__":
    run_command(cli, "upkeep.coverage")
