"""Pages, messages and helps avoid the words of ``docs/making/words.py``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from making.words import ALLOW, complaints  # noqa: E402 -- docs is no package that is installed

STYLE = ROOT / "docs/how-to/write-for-proa.md"
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page != STYLE
]
FOLDERS = ("core", "partition", "builder", "agent", "scheduler", "vm-tests")
MODULES = [module for folder in FOLDERS for module in sorted((ROOT / folder / "proa").rglob("*.py"))]
RULES = ROOT / "scheduler/monitoring/alerts.yaml"
FENCE = re.compile(r"^\s*```.*?^\s*```", re.DOTALL | re.MULTILINE)
ALLOWED = re.compile(rf"^<!-- {ALLOW} -->\n.*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
WORDS = 3
"""Shorter strings are names, keys and patterns."""


def paragraphs(page: str) -> Iterator[str]:
    """The prose of a page: paragraphs, items of lists, rows of tables."""
    for block in re.split(r"\n\s*\n", ALLOWED.sub("", FENCE.sub("", page))):
        yield from block.split("\n") if block.startswith("|") else [block]


def texts(source: str) -> Iterator[tuple[int, str]]:
    """The strings of a module that somebody may read, with their lines; what is docstring or code is none of them."""
    tree, lines = ast.parse(source), source.splitlines()
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "``" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | parts:
            text = node.value
        else:
            continue
        here = lines[node.lineno - 1 : node.end_lineno]
        if len(text.split()) >= WORDS and not any(line.endswith(f"# {ALLOW}") for line in here):
            yield node.lineno, text


def helps(source: str) -> Iterator[tuple[int, str]]:
    """The docstrings of a module's commands, which are their helps."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            decorators = {ast.unparse(one).partition("(")[0].rpartition(".")[2] for one in node.decorator_list}
            if decorators & {"command", "group"}:
                yield node.lineno, text


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_pages_are_plain(page: Path) -> None:
    found = [(text[:80], told) for text in paragraphs(page.read_text()) for told in complaints(text)]
    assert found == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_people_read_of_the_code_is_plain(folder: str) -> None:
    found = []
    for module in (one for one in MODULES if one.is_relative_to(ROOT / folder)):
        source = module.read_text()
        for line, text in (*texts(source), *helps(source)):
            found += [f"{module.relative_to(ROOT)}:{line}: {told}" for told in complaints(text)]
    assert found == []


def test_alerts_are_plain() -> None:
    said = re.findall(r"(?:summary|description): (.*)", RULES.read_text())
    assert said
    assert [told for text in said for told in complaints(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "'soon' is no time such as '90s'",
        "As many nodes are away as may be.",
        "Tells every error of a configuration at once.",
        "Health checks of one's own",
        "The file is not as it must be.",
        "A node whose order was taken back goes on.",
        "It stands in the record for ever.",
        "'root' belongs into [disk].",
        "ssh.service was restarted 3 times since it is watched",
        "the root is no EROFS image",
        "Packages that are needed no more.",
    ],
)
def test_what_stumbles_is_found(text: str) -> None:
    assert list(complaints(text))


def test_good_prose_and_code_are_left_alone() -> None:
    text = "The node is unavailable: run `kubectl proa tells every way back` and [read on](for-ever.md)."
    assert list(complaints(text)) == []


def test_an_allowed_line_is_left_out() -> None:
    assert not list(texts(f'print("what becomes of it")  # {ALLOW}\n'))
    assert list(texts('print("what becomes of it")\n'))
    assert "for ever" not in "".join(paragraphs(f"<!-- {ALLOW} -->\nIt stays for ever.\n\nGood.\n"))
