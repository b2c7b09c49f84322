"""``make lines``: the code lines of each folder, and the limits that ``make lint`` keeps them to.

A code line is a line of a Python file below ``FOLDER/proa``, which is what is shipped, that holds part of a token other
than a comment or a docstring. Blank lines are none, and neither is anything below a ``tests`` folder or a ``testing``
room. A string that stands alone as a statement counts as a docstring: it documents the attribute above it. Tests are
counted by function, in ``FOLDER/tests``; one with parameters counts once.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from proa.core.runtime.cli import run_command

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("core", "partition", "builder", "agent", "scheduler", "vm-tests")
_NOT_COUNTED: Final = frozenset({"tests", "testing"})
_NO_CODE: Final = frozenset(
    {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
        *(tokenize.ENCODING, tokenize.ENDMARKER),
    }
)


@dataclass(frozen=True)
class Folder:
    """What one folder holds.

    Attributes:
        name: Its name at the top of the repository.
        files: Python files that are counted.
        lines: Code lines in them.
        limit: Code lines that it may have.
        tests: Test functions.
    """

    name: str
    files: int
    lines: int
    limit: int
    tests: int

    @property
    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.lines <= self.limit:
            return ""
        return (
            f"{self.name} has {self.lines} code lines, {self.lines - self.limit} more than its limit of {self.limit}.\n"
            f"    Make it smaller. If the growth is worth it, set {self.name} = {self.lines} in [tool.proa.lines] of"
            " pyproject.toml,\n    and say in the same commit's message what the lines are for."
        )


def count_lines(source: str) -> int:
    """The code lines of a module.

    Raises:
        SyntaxError: If it is not Python.
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {line for token in tokens if token.type not in _NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    return len(code.difference(*_docstrings(ast.parse(source))))


def _docstrings(tree: ast.Module) -> Iterator[range]:
    """The lines of each string that stands alone as a statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield range(node.lineno, (node.end_lineno or node.lineno) + 1)


def count_tests(source: str) -> int:
    """The test functions of a module.

    Raises:
        SyntaxError: If it is not Python.
    """
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return sum(function.name.startswith("test_") for function in functions)


def read(root: Path, limits: Mapping[str, int]) -> tuple[Folder, ...]:
    """Count every folder.

    Args:
        root: The root of the repository.
        limits: The limit of each folder.
    """
    return tuple(_read(root / name, limits[name]) for name in FOLDERS)


def _read(folder: Path, limit: int) -> Folder:
    shipped = folder / "proa"
    files = [path for path in shipped.rglob("*.py") if _NOT_COUNTED.isdisjoint(path.relative_to(shipped).parts)]
    lines = sum(count_lines(path.read_text()) for path in files)
    tests = sum(count_tests(path.read_text()) for path in (folder / "tests").rglob("test_*.py"))
    return Folder(folder.name, len(files), lines, limit, tests)


def read_limits(pyproject: Path) -> dict[str, int]:
    """The limits as ``[tool.proa.lines]`` states them.

    Raises:
        KeyError: If there are none.
    """
    limits: dict[str, int] = tomllib.loads(pyproject.read_text())["tool"]["proa"]["lines"]
    return limits


def text(folders: tuple[Folder, ...]) -> str:
    """The table that a person reads."""
    rows = [("folder", "files", "lines", "limit", "tests")]
    rows += [(one.name, str(one.files), f"{one.lines:,}", f"{one.limit:,}", f"{one.tests:,}") for one in folders]
    sums = (sum(one.files for one in folders), sum(one.lines for one in folders), sum(one.tests for one in folders))
    rows.append(("all", str(sums[0]), f"{sums[1]:,}", "", f"{sums[2]:,}"))
    return "\n".join(f"  {name:<10}" + "".join(f"{cell:>9}" for cell in cells) for name, *cells in rows)


def document(folders: tuple[Folder, ...]) -> dict[str, object]:
    """The same for programs: ``proa.lines/v1``."""
    rows = [asdict(one) | {"ok": not one.problem} for one in folders]
    return {"schema": "proa.lines/v1", "folders": rows, "ok": all(row["ok"] for row in rows)}


@click.command(epilog="Example: python -m upkeep.lines --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--check", is_flag=True, help="Print nothing but folders beyond their limits.")
def cli(as_json: bool, check: bool) -> int:
    """Count the code lines of each folder. Exits with status 1 if one has grown beyond its limit."""
    folders = read(ROOT, read_limits(ROOT / "pyproject.toml"))
    if as_json:
        click.echo(json.dumps(document(folders), indent=2))
    elif not check:
        click.echo(text(folders))
    problems = [one.problem for one in folders if one.problem]
    for problem in problems:
        click.echo(f"lines: {problem}", err=True)
    return int(bool(problems))


if __name__ == "__main__":
    run_command(cli, "upkeep.lines")
