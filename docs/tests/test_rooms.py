"""The page about the architecture shows the rooms as import-linter's contracts have them, and names what is there."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
FOLDERS = {"proa.core": "core", "proa.partition": "partition", "proa.builder": "builder", "proa.agent": "agent"} | {
    "proa.scheduler": "scheduler",
    "proa.vm": "vm-tests",
}
TESTING = re.compile(r"\(?testing\)?")


def contracts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return found


def orders() -> dict[str, str]:
    """The order of each folder's rooms, as the contracts have it, without the rooms for tests."""
    return {
        FOLDERS[contract["containers"][0]]: " > ".join(
            layer for layer in contract["layers"] if not TESTING.fullmatch(layer)
        )
        for contract in contracts()
        if "containers" in contract
    }


def packages(folder: str) -> Iterator[Path]:
    """Every package in a folder, however deep."""
    yield from (path.parent for path in sorted((ROOT / folder / "proa").rglob("__init__.py")))


def test_every_folder_has_a_contract_about_all_its_rooms() -> None:
    assert set(orders()) == set(FOLDERS.values())
    assert all(contract["exhaustive"] for contract in contracts() if "containers" in contract)
    assert [contract["ancestors"] for contract in contracts() if contract["type"] == "acyclic_siblings"] == [
        list(FOLDERS)
    ]


def test_the_page_shows_the_order_that_the_contracts_have() -> None:
    block = PAGE.partition("## The rooms")[2].partition("```text\n")[2].partition("```")[0]
    shown = dict(line.split(maxsplit=1) for line in block.splitlines())
    assert shown == orders()


def test_the_page_says_of_each_room_what_the_room_says_of_itself() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+/\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    wanted = {}
    for folder, order in orders().items():
        package = FOLDERS_BACK[folder].replace(".", "/")
        for room in re.split(r" [>|] ", order):
            text = ast.get_docstring(ast.parse((ROOT / folder / package / room / "__init__.py").read_text())) or ""
            wanted[f"{folder}/{room}"] = text.splitlines()[0].replace("``", "`")
    assert rows == wanted


FOLDERS_BACK = {folder: package for package, folder in FOLDERS.items()}


@pytest.mark.parametrize(
    "place", sorted(set(re.findall(r"`((?:core|partition|builder|agent|scheduler|vm-tests)/[\w/.-]+\w)`", PAGE)))
)
def test_what_the_page_names_is_there(place: str) -> None:
    folder, _, rest = place.partition("/")
    inside = ROOT / folder / FOLDERS_BACK[folder].replace(".", "/") / rest
    assert any(path.exists() for path in (inside, inside.with_suffix(".py"), ROOT / place)), place


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_rooms_hold_no_logic_of_their_own(folder: str) -> None:
    """A room's ``__init__`` is its description; only the package at the top of core knows its version."""
    for package in packages(folder):
        body = ast.parse((package / "__init__.py").read_text()).body
        assert ast.get_docstring(ast.Module(body, [])), package
        assert len(body) == 1 or package == ROOT / "core/proa/core", package


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_tests_lie_in_the_rooms_that_they_test(folder: str) -> None:
    rooms = {package.name for package in packages(folder)}
    for test in (ROOT / folder / "tests").rglob("test_*.py"):
        assert test.parent.name in rooms, test
