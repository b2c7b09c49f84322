"""What texts name of our modules is there: programs within strings, and modules that are run or loaded by name.

No checker reads them. Such a text would fail where it runs at last: in a slow test, or on a node.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {name: ROOT / name / "proa" / name for name in ("core", "partition", "builder", "agent", "scheduler")} | {
    "vm": ROOT / "vm-tests/proa/vm"
}
FOLDERS = ("core", "partition", "builder", "agent", "scheduler", "vm-tests", "scripts", "docs", "benchmarks")
BESIDE = ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "scheduler/container/Containerfile")

OURS = rf"proa\.(?:{'|'.join(PACKAGES)})\b(?:\.\w+)*"
FROM = re.compile(rf"\bfrom ({OURS}) import (\([^)]*\)|[\w, ]+)")
IMPORT = re.compile(rf"\bimport ({OURS}(?:, ?{OURS})*)")
RUN = re.compile(rf"(?:-m |\"|^)({OURS})(?::(\w+))?(?=[\s\"]|$)", re.MULTILINE)
ABSENT = {"proa.core.nothing"}
"""What tests name because it is not there."""


def named(text: str) -> Iterator[tuple[str, str]]:
    """Every module of ours that a text imports or runs, with the name that it wants of it, if any."""
    for module, names in FROM.findall(text):
        for name in names.strip("()").split(","):
            if name.strip():
                yield module, name.split()[0]
    for modules in IMPORT.findall(text):
        yield from ((module.strip(), "") for module in modules.split(","))
    yield from RUN.findall(text)


def texts(file: Path) -> list[str]:
    """The strings of a module; all of another file."""
    if file.suffix != ".py":
        return [file.read_text()]
    nodes = ast.walk(ast.parse(file.read_text()))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def place(module: str) -> Path | None:
    """The file of a module."""
    package, *rest = module.split(".")[1:]
    path = PACKAGES[package].joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@cache
def defined(file: Path) -> frozenset[str]:
    """The names that a module binds at its top, however they come about."""
    names: set[str] = set()
    todo: list[ast.AST] = [ast.parse(file.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        todo += ast.iter_child_nodes(node)
    return frozenset(names)


def wrong(module: str, name: str = "") -> str:
    """What of it is not there; empty if all is. Settings name a function as ``module.function``."""
    if module in ABSENT:
        return ""
    file = place(module)
    if file is None:
        above, _, last = module.rpartition(".")
        return f"no {module}" if name or above == "proa" or wrong(above, last) else ""
    return "" if not name or name in defined(file) or place(f"{module}.{name}") else f"{module} has no {name}"


def problems(text: str) -> list[str]:
    """All that is not there of what a text names."""
    return [problem for pair in named(text) if (problem := wrong(*pair))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_programs_in_strings_and_pages_name_is_there(folder: str) -> None:
    files = {*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.md")} - {Path(__file__)}
    found = [(file, problem) for file in sorted(files) for text in texts(file) for problem in problems(text)]
    assert found == []


@pytest.mark.parametrize("name", BESIDE)
def test_what_files_at_the_top_name_is_there(name: str) -> None:
    assert problems((ROOT / name).read_text()) == []


def test_what_is_not_there_is_found() -> None:
    program = """
import proa.core.oci.reference, proa.core.oci.nowhere; from proa.builder.config.settings import BuildSettings, Cluster
from proa.partition.boot import (
    bootstate,
    nonsense as other,
)
from proa.vm.gone import it
"""
    assert problems(program) == [
        "proa.builder.config.settings has no BuildSettings",
        "proa.builder.config.settings has no Cluster",
        "proa.partition.boot has no nonsense",
        "no proa.vm.gone",
        "no proa.core.oci.nowhere",
    ]
    assert problems("python -m proa.vm.node.demos") == ["no proa.vm.node.demos"]
    assert problems("proa.agent.cli.main:mane") == ["proa.agent.cli.main has no mane"]
