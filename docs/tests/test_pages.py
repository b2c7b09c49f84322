"""Every code block of the documentation is executed, page by page, from top to bottom.

A page says in a comment at its top in which tier its blocks run (``<!-- test: unit -->``, ``contract`` or ``vm``;
``unit`` if it says nothing), and in another whether there is a cluster to try things on. Within a page all blocks share
one folder:

- ``sh``: run by bash, stopping at the first command that fails.
- a language and ``file=NAME``: the block is written to that file.
- ``python``: run by the interpreter.
- ``text``, ``json``, ``toml`` and others without ``file=`` are shown, not run; they must parse where they can.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from proa.core.runtime.process import run
from proa.vm.node.faults import Break
from proa.vm.simulated.play import playing

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLAY = "<!-- play-cluster -->"
TIER = re.compile(r"<!-- test: (unit|contract|vm) -->")


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced code blocks of a page."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence":
            words = token.info.split()
            named = [word.removeprefix("file=") for word in words[1:] if word.startswith("file=")]
            line = (token.map or [0])[0] + 1
            found.append(Block(line, words[0] if words else "", named[0] if named else "", token.content))
    return found


def parameters() -> list[object]:
    """One test per page that has something to run, marked with the page's tier."""
    cases: list[object] = []
    for page in PAGES:
        tier = TIER.search(page.read_text())
        marks = [pytest.mark.contract] if tier and tier[1] == "contract" else []
        marks += [pytest.mark.vm] if tier and tier[1] == "vm" else []
        cases.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return cases


def execute(block: Block, page: Path, folder: Path, cluster: Mapping[str, str]) -> None:
    """Run, write or parse one block."""
    at = f"{page.relative_to(ROOT)}:{block.line}"
    path = cluster.get("PATH", str(Path(sys.executable).parent))
    env = {**cluster, "PATH": f"{path}:{os.environ['PATH']}", "PROA_SOURCE": str(ROOT)}
    if block.file:
        target = folder / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text)
        target.chmod(0o755 if block.text.startswith("#!") else 0o644)
    elif block.language in ("sh", "python"):
        program = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
        result = run([*program, block.text], cwd=folder, env=env, check=False, timeout=1800)
        output = (result.stdout + result.stderr).decode(errors="replace")
        assert result.status == 0, f"{at} ended with status {result.status}:\n{output[-4000:]}"
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    else:
        assert block.language in ("text", "console", "dockerfile", "yaml", "ini"), f"{at}: say what language it is"


@pytest.mark.parametrize("page", parameters())
def test_code_blocks(page: Path, tmp_path: Path) -> None:
    with playing(tmp_path / "cluster") if PLAY in page.read_text() else nullcontext({}) as cluster:
        for block in blocks(page):
            execute(block, page, tmp_path, cluster)


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "``", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_no_section_is_there_twice(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^## .*$", prose, flags=re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_the_readme_has_no_command_that_is_not_tested() -> None:
    """What the README shows is what tutorials and how-tos do; make's targets are there."""
    pages = [page for kind in ("tutorials", "how-to") for page in sorted((ROOT / "docs" / kind).glob("*.md"))]
    done_there = "".join(block.text for page in pages for block in blocks(page))
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    shown = [block.text for block in blocks(ROOT / "README.md") if block.language == "console"]
    for line in "".join(shown).splitlines():
        command = line.removeprefix("$ ")
        if command.startswith("make "):
            assert command.split()[1] in targets, command
        else:
            assert " ".join(command.split()[:2]) in done_there, command


@pytest.mark.parametrize("page", ["docs/explanation/peers.md", "docs/explanation/architecture.md"])
def test_named_modules_and_tests_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for test in re.findall(r"\b[a-z-]+/tests/test_\w+", text):
        assert (ROOT / f"{test}.py").is_file(), test
    for package, module in re.findall(r"`(core|partition|builder|agent|scheduler)/([a-z]+)`", text):
        folder = ROOT / package / "proa" / package
        beside = ROOT / package / module  # what is not shipped with the package
        found = (folder / f"{module}.py").is_file() or (folder / module).is_dir() or beside.is_dir()
        assert found, f"{package}/{module}"


def test_every_break_is_listed() -> None:
    page = (ROOT / "docs/how-to/rehearse-in-ci.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.MULTILINE) == [fault.option for fault in Break]


def test_every_alert_is_listed() -> None:
    page = (ROOT / "docs/how-to/read-the-metrics.md").read_text()
    rules = (ROOT / "scheduler/monitoring/alerts.yaml").read_text()
    assert re.findall(r"^\| `(Proa\w+)` \|", page, flags=re.MULTILINE) == re.findall(r"- alert: (\w+)", rules)
