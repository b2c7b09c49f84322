"""``make mutate``: small defects put into a copy of the tree, one at a time; the tests must notice each of them.

``mutations.toml`` beside this file lists them: what is replaced where, why it matters, and which tests are to notice. A
mutation is caught when these tests fail, and survives when they pass. Before any, the same tests run on the tree as it
is: a test that fails anyway notices nothing.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from proa.core.runtime.cli import run_command
from proa.core.runtime.errors import Code, ProaError

ROOT: Final = Path(__file__).resolve().parents[2]
TABLE: Final = Path(__file__).with_name("mutations.toml")
SCHEMA: Final = "proa.mutate/v1"
FOLDERS: Final = ("core", "partition", "builder", "agent", "scheduler", "vm-tests", "scripts")
LIMIT: Final = 600.0
"""Seconds for the tests of one mutation; a mutation that makes them hang is caught by that."""
_PASSED, _FAILED = 0, 1
"""Exit statuses of pytest (its documentation, "Exit codes")."""


@dataclass(frozen=True)
class Mutation:
    """A defect.

    Attributes:
        name: Its name, unique.
        reason: What goes wrong on a node or in a cluster that has it.
        file: The file that it is in, from the top of the repository.
        old: Text that stands there exactly once.
        new: What stands there instead.
        tests: What pytest is called with: files, or single tests.
        sample: Whether ``make test`` tries it too.
        contract: Whether contract tests are to notice it; else only unit tests of what is named are run.
    """

    name: str
    reason: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    sample: bool = False
    contract: bool = False

    def apply(self, tree: Path) -> Callable[[], None]:
        """Put it into a tree; what takes it out again comes back.

        Raises:
            ProaError: ``CONFIG_VALUE`` when the old text does not stand there exactly once.
        """
        path = tree / self.file
        text = path.read_text() if path.is_file() else ""
        if (found := text.count(self.old)) != 1 or self.old == self.new:
            what = f"the old text of mutation {self.name} is there {found} times, not once"
            raise ProaError(Code.CONFIG_VALUE, what, at=self.file, hint=f"Bring {TABLE.name} up to date.")
        path.write_text(text.replace(self.old, self.new))
        return lambda: void(path.write_text(text))


def void(_: object) -> None:
    """Nothing, whatever is given."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation: ``caught``, ``survived``, or ``broken`` when the tests could not even be collected."""

    name: str
    outcome: str
    seconds: float
    reason: str
    output: str = ""


def load(path: Path = TABLE) -> tuple[Mutation, ...]:
    """The table.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a row that is incomplete, and for a name that stands twice.
    """
    rows: list[dict[str, Any]] = tomllib.loads(path.read_text())["mutation"]
    try:
        found = tuple(Mutation(**{**row, "tests": tuple(row["tests"])}) for row in rows)
    except (KeyError, TypeError) as error:
        raise ProaError(Code.CONFIG_VALUE, f"a mutation is incomplete: {error}", at=path) from error
    names = [one.name for one in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ProaError(Code.CONFIG_VALUE, f"two mutations are called {min(twice)}", at=path)
    return found


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of what git tracks, as it is in the work tree."""
    with tempfile.TemporaryDirectory(prefix="proa-mutate-") as name:
        tree = Path(name)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for file in filter(None, listed.split("\0")):
            if (ROOT / file).is_file():
                (tree / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, tree / file)
        yield tree


def run_tests(tree: Path, tests: Iterable[str], *, contract: bool, limit: float = LIMIT) -> tuple[int, str]:
    """Pytest's exit status on a tree, and what it printed; a run that does not end within the limit has failed."""
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--no-header", *tests]
    argv += ["-m", "contract" if contract else "not contract and not vm"]
    # The packages of the copy come before those that the environment has from the work tree.
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / folder) for folder in FOLDERS),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(argv, cwd=tree, env=env, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return _FAILED, f"did not finish within {limit:g} s"
    return done.returncode, done.stdout + done.stderr


def judge(tree: Path, mutation: Mutation, limit: float = LIMIT) -> Outcome:
    """Put a mutation into a tree, run its tests, and take it out again."""
    began = time.monotonic()
    undo = mutation.apply(tree)
    try:
        status, output = run_tests(tree, mutation.tests, contract=mutation.contract, limit=limit)
    finally:
        undo()
    outcome = {_PASSED: "survived", _FAILED: "caught"}.get(status, "broken")
    told = "" if outcome == "caught" else output[-4000:]
    return Outcome(mutation.name, outcome, round(time.monotonic() - began, 1), mutation.reason, told)


def check_unmutated(tree: Path, chosen: Iterable[Mutation]) -> None:
    """Run every test that is to notice something on the tree as it is.

    Raises:
        ProaError: ``TOOL`` when one fails: it would "notice" every mutation.
    """
    for contract in (False, True):
        tests = sorted({test for one in chosen if one.contract is contract for test in one.tests})
        limit = LIMIT * max(1, len(tests))
        status, output = run_tests(tree, tests, contract=contract, limit=limit) if tests else (_PASSED, "")
        if status != _PASSED:
            raise ProaError(Code.TOOL, f"the tests fail without any mutation:\n{output[-4000:]}", at=ROOT)


def judge_all(chosen: tuple[Mutation, ...], workers: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Judge mutations, as many at once as there are workers, each in a copy of its own.

    Raises:
        ProaError: As :func:`check_unmutated` and :meth:`Mutation.apply`.
    """
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def one(mutation: Mutation) -> Outcome:
        tree = trees.get()
        try:
            found = judge(tree, mutation)
        finally:
            trees.put(tree)
        tell(found)
        return found

    with copied() as first:
        check_unmutated(first, chosen)
        copies = [first, *(first.with_name(f"{first.name}-{number}") for number in range(1, workers))]
        try:
            for copy in copies[1:]:
                shutil.copytree(first, copy)
            for copy in copies:
                trees.put(copy)
            with ThreadPoolExecutor(workers) as pool:
                return list(pool.map(one, chosen))
        finally:
            for copy in copies[1:]:
                shutil.rmtree(copy, ignore_errors=True)


def document(found: Iterable[Outcome]) -> dict[str, object]:
    """The report: ``proa.mutate/v1``."""
    rows = [asdict(one) for one in found]
    return {"schema": SCHEMA, "mutations": rows, "ok": all(row["outcome"] == "caught" for row in rows)}


@click.command(epilog="Example: python -m upkeep.mutate --sample")
@click.argument("names", nargs=-1)
@click.option("--sample", is_flag=True, help="Only the fixed sample that make test tries.")
@click.option("--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="How many to run at once.")
@click.option(
    "--report", type=click.Path(path_type=Path), default=ROOT / "build/mutate/report.json", show_default=False
)
def cli(names: tuple[str, ...], *, sample: bool, workers: int, report: Path) -> None:
    """Put small defects into a copy of the tree; the tests must catch each. NAMES: only these."""
    table = load()
    if unknown := set(names) - {one.name for one in table}:
        raise ProaError(Code.USAGE, f"there is no mutation {min(unknown)}", at="NAMES")
    chosen = tuple(one for one in table if (not names or one.name in names) and (one.sample or not sample))
    click.echo(f"{len(chosen)} of {len(table)} mutations, {workers} at once; first their tests on the tree as it is")
    found = judge_all(chosen, workers, lambda one: click.echo(f"  {one.outcome:<8} {one.seconds:6.1f} s  {one.name}"))
    bad = [one for one in found if one.outcome != "caught"]
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(document(found), indent=1) + "\n")
    click.echo(f"{len(found) - len(bad)} passed, {len(bad)} failed")
    if bad:
        told = "\n".join(f"{one.outcome}: {one.name}: {one.reason}\n{one.output}" for one in bad)
        raise ProaError(Code.TOOL, f"{len(bad)} mutations were not caught\n{told}", at=report)


if __name__ == "__main__":
    run_command(cli, "upkeep.mutate")
