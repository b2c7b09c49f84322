"""``make fuzz``: gives parsers bytes that nobody meant, guided by what these make them run, and says how far that came.

Atheris (libFuzzer for Python) is installed into ``build/fuzz`` with the hash of ``requirements/fuzz.lock``. What ends
in something else than a documented error is kept in ``build/fuzz/found``: put it into the corpus, so that it becomes a
test, and mend it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from proa.core.runtime import process
from proa.core.runtime.cli import end_politely, run_command
from proa.core.runtime.errors import Code, ProaError
from upkeep.fuzz_targets import CORPUS, TARGETS

SCHEMA: Final = "proa.fuzz/v1"
FOLDER: Final = Path("build/fuzz")
LOCK: Final = Path("requirements/fuzz.lock")
SITE: Final = FOLDER / "site"
_MORE_SECONDS: Final = 120.0
"""How long a target may take beyond its time: to load, to run the corpus, and to write down what it found."""
_LARGEST: Final = 1 << 16
"""Bytes of an input."""
_COVERED: Final = re.compile(r"\bcov: ([0-9]+)")
_RUNS: Final = re.compile(r"^(?:stat::number_of_executed_units: *|Done )([0-9]+)", re.MULTILINE)


@dataclass(frozen=True)
class Fuzzed:
    """What came of one target.

    Attributes:
        name: Its name.
        runs: Inputs that it was given.
        corpus: Inputs of the repository, and those found before, that it began with.
        covered: Branches that ran.
        found: Files with inputs that ended in something else than a documented error.
        error: The last line of what one of them ended in; empty if there are none.
    """

    name: str
    runs: int
    corpus: int
    covered: int
    found: tuple[str, ...]
    error: str


def install() -> None:
    """Put Atheris where only fuzzing finds it.

    Raises:
        ProaError: ``TOOL`` when pip does not.
    """
    if not (SITE / "atheris").is_dir():
        click.echo(f"installing Atheris into {SITE}")
        words = ("-q", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--target", SITE, "-r", LOCK)
        process.run([sys.executable, "-m", "pip", "install", *words], timeout=600)


def fuzz(name: str, seconds: int) -> Fuzzed:
    """Fuzz one target, in a process of its own."""
    corpus, found = FOLDER / "corpus" / name, FOLDER / "found" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    began = len(list(corpus.iterdir())) + len(list((CORPUS / name).iterdir()))
    words = [f"-max_total_time={seconds}", f"-max_len={_LARGEST}", "-timeout=20", "-rss_limit_mb=2048"]
    words += ["-print_final_stats=1", f"-artifact_prefix={found}/"]
    environment = {**os.environ, "PYTHONPATH": f"{SITE.resolve()}:{Path(__file__).parents[1]}"}
    argv = [sys.executable, "-m", "upkeep.fuzz_one", name, *words, str(corpus), str(CORPUS / name)]
    done = process.run(argv, check=False, timeout=seconds + _MORE_SECONDS, env=environment)
    said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    covered = [int(one) for one in _COVERED.findall(said)]
    runs = [int(one) for one in _RUNS.findall(said)]
    new = tuple(sorted(str(one) for one in set(found.iterdir()) - before))
    if not runs and not new:
        last = "\n".join(said.strip().splitlines()[-5:])
        raise ProaError(Code.TOOL, f"the target {name} could not be fuzzed: {last}", at=name)
    return Fuzzed(name, max(runs, default=0), began, max(covered, default=0), new, _error(said) if new else "")


def _error(said: str) -> str:
    lines = [line for line in said.splitlines() if re.match(r"[A-Za-z_.]+(?:Error|Exception|Exit)\b", line)]
    return lines[-1][:200] if lines else "it took too long, or too much memory"


def rows(results: Sequence[Fuzzed]) -> Iterator[str]:
    """The table."""
    yield f"{'target':20}  {'inputs':>10}  {'corpus':>7}  {'branches':>8}  found"
    for one in results:
        yield f"{one.name:20}  {one.runs:10,}  {one.corpus:7,}  {one.covered:8,}  {one.error or 'nothing'}"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=10.0, help="For all targets together.")
def main(names: tuple[str, ...], minutes: float) -> None:
    """Fuzz the parsers of foreign bytes, or those that are NAMED."""
    if unknown := [name for name in names if name not in TARGETS]:
        raise click.UsageError(f"there is no target {unknown[0]!r}: {', '.join(TARGETS)}")
    install()
    chosen = names or tuple(TARGETS)
    seconds = max(1, round(60 * minutes / len(chosen)))
    click.echo(f"{len(chosen)} targets, {seconds} s each, one after the other")
    results = []
    for name in chosen:
        results.append(fuzz(name, seconds))
        click.echo(f"{name}: {results[-1].runs:,} inputs, {results[-1].error or 'nothing found'}")
    report = {"schema": SCHEMA, "seconds": seconds, "targets": [asdict(one) for one in results]}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    click.echo("\n".join(rows(results)))
    if any(one.found for one in results):
        raise ProaError(Code.INTERNAL, "inputs were found that end in no documented error", at=FOLDER / "found")


if __name__ == "__main__":
    end_politely()
    run_command(main, "fuzz")
