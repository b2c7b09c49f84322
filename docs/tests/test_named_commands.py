"""Every command of ours that a page names is there, with the options that the page gives it."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from making.commands import COMMANDS  # noqa: E402 -- docs is no package that is installed

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
DRAWN = ("mermaid", "text")
SPAN = re.compile(r"`([^`\n]+)`")
PROGRAM = re.compile(
    r"(?:^|(?<=[\s|(]))(proa-(?:build|disk|agent|scheduler|vm)|kubectl[ -]proa)(?=\s)([^\n|;>#&)]*)", re.MULTILINE
)


def named(page: str) -> Iterator[tuple[str, list[str]]]:
    """Commands in blocks, and in the text between them: the program and its words."""
    said = [block for language, block in FENCE.findall(page) if language not in DRAWN] + SPAN.findall(
        FENCE.sub("", page)
    )
    for text in said:
        for program, words in PROGRAM.findall(text.replace("\\\n", " ")):
            yield program.replace(" ", "-"), words.replace("[", " ").replace("]", " ").replace(",", " ").split()


def wrong(program: str, words: list[str]) -> str:
    """What of it is not there; empty if all is."""
    module, variable = COMMANDS[program]
    command: click.Command = getattr(importlib.import_module(module), variable)
    known = {"--help", "--version"}
    for word in words:
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            if word not in command.commands:
                return f"{program} has no {word}"
            command = command.commands[word]
        elif re.match(r"--?[a-z]", word):
            options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
            if word.partition("=")[0] not in options | known:
                return f"{program} {command.name} has no {word}"
    return ""


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_commands_and_their_options_are_there(page: Path) -> None:
    problems = [problem for command in named(page.read_text()) if (problem := wrong(*command))]
    assert problems == []


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_targets_of_make_are_there(page: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert [name for name in re.findall(r"`make ([a-z0-9-]+)[` ]", page.read_text()) if name not in targets] == []


def test_what_is_not_there_is_found() -> None:
    block = "```console\n$ proa-scheduler paint\n$ proa-scheduler plan w --all\n```\n"
    page = f"`kubectl proa start A B --canaries 1`\n{block}"
    assert [wrong(*command) for command in named(page)] == [
        "proa-scheduler has no paint",
        "",
        "kubectl-proa start has no --canaries",
    ]
