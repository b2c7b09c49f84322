"""Every test asserts something: in its own lines, or through a helper that asserts and is named in them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from upkeep.lines import ROOT

FOLDERS = ("core", "partition", "builder", "agent", "scheduler", "vm-tests", "docs", "scripts")
EXPECTS = ("raises", "warns", "assert_", "check", "refuse", "refusal")
"""How the names of calls begin that say that something is expected."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[Path]:
    """The modules of tests, and the rooms of what several of them use."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if {"tests", "testing"} & set(path.relative_to(ROOT).parts):
                yield path


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def called(function: Function) -> Iterator[tuple[str, str]]:
    """What a function calls: the name before the last dot, and the last name."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            before, _, last = ast.unparse(node.func).rpartition(".")
            yield before, last


def asserts(function: Function, helpers: Iterable[str]) -> bool:
    """Whether a function has an ``assert``, or calls a helper that has one or that says so by its name."""
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
        last.startswith(EXPECTS) or (before in ("", "self") and last in helpers) or f"{before}.{last}" in helpers
        for before, last in called(function)
    )


def helpers_of(found: Iterable[Function]) -> set[str]:
    """The names of helpers that assert, and of those that call one."""
    known: set[str] = set()
    others = [one for one in found if not one.name.startswith("test_")]
    while more := {one.name for one in others if asserts(one, known)} - known:
        known |= more
    return known


def imported(tree: ast.AST, shared: Mapping[str, set[str]]) -> Iterator[str]:
    """What a module may call of the helpers in rooms for tests that it imports, each as it is called there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for name in (alias.name for alias in node.names):
                yield from {name} & shared.get(str(node.module), set())
                yield from (f"{name}.{helper}" for helper in shared.get(f"{node.module}.{name}", ()))


def silent(source: str, shared: Mapping[str, set[str]]) -> list[str]:
    """The tests of a module that assert nothing."""
    tree = ast.parse(source)
    found = functions(tree)
    helpers = helpers_of(found) | set(imported(tree, shared))
    return [one.name for one in found if one.name.startswith("test_") and not asserts(one, helpers)]


def test_every_test_asserts_something() -> None:
    texts = {path: path.read_text() for path in modules()}
    rooms = {path: functions(ast.parse(text)) for path, text in texts.items() if "testing" in path.parts}
    shared = {".".join(path.relative_to(ROOT).with_suffix("").parts[1:]): helpers_of(rooms[path]) for path in rooms}
    assert len(texts) > 300
    found = {str(path.relative_to(ROOT)): silent(text, shared) for path, text in texts.items()}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("work()", ["test_it"]),
        ("until(lambda: True)", ["test_it"]),
        ("assert work()", []),
        ("with pytest.raises(OSError): work()", []),
        ("well(work())", []),
        ("very_well(work())", []),
        ("tool.very_well()", ["test_it"]),
        ("tool.check_it()", []),
        ("knock()", []),
        ("wood.knock()", []),
        ("look()", ["test_it"]),
    ],
)
def test_a_silent_test_is_found(body: str, told: list[str]) -> None:
    helpers = "def well(one):\n    assert one\n\ndef very_well(one):\n    well(one)\n\n"
    imports = "from house.testing import wood\nfrom house.testing.wood import knock, look\n"
    shared = {"house.testing.wood": {"knock"}}
    assert silent(f"{imports}{helpers}def test_it():\n    {body}\n", shared) == told
