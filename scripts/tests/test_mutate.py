"""The mutations fit the tree, and the runner tells what is caught from what is not.

What has pytest run the tests of a tree is in the contract tier: each of its starts takes a second.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from upkeep import mutate
from upkeep.mutate import Mutation, Outcome

TABLE = mutate.load()
ADD = "def add(a: int, b: int) -> int:\n    return a + b\n"
TESTS = """\
from proa.toy.add import add


def test_a_sum() -> None:
    assert add(2, 2) == 4
"""
DEFECTS: Mapping[str, tuple[str, str]] = {
    "caught": ("return a + b", "return a - b"),
    "survived": ("return a + b", "return a * b"),
    "broken": ("def add", "def plus"),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("toy")
    for name, text in (("core/proa/toy/add.py", ADD), ("core/tests/test_add.py", TESTS)):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(text)
    (tree / "core/tests/test_wrong.py").write_text("def test_it() -> None:\n    assert False\n")
    return tree


def defect(name: str, old: str, new: str, tests: str = "core/tests/test_add.py") -> Mutation:
    return Mutation(name, f"It is {name}.", "core/proa/toy/add.py", old, new, (tests,))


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.name)
def test_each_fits_the_tree(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / mutation.file
    copy.parent.mkdir(parents=True)
    shutil.copy(mutate.ROOT / mutation.file, copy)
    before = copy.read_text()
    undo = mutation.apply(tmp_path)
    assert copy.read_text() != before
    undo()
    assert copy.read_text() == before


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.name)
def test_each_says_why_it_matters_and_names_tests_that_are_there(mutation: Mutation) -> None:
    assert mutation.reason.endswith(".")
    for named in mutation.tests:
        path, *names = named.split("::")
        assert (mutate.ROOT / path).exists(), named
        assert all(f"def {name}(" in (mutate.ROOT / path).read_text() for name in names), named


def test_every_folder_has_some_in_the_table_and_in_the_sample() -> None:
    assert len(TABLE) >= 40
    assert {one.file.split("/")[0] for one in TABLE} == set(mutate.FOLDERS)
    assert {one.file.split("/")[0] for one in TABLE if one.sample} == set(mutate.FOLDERS)
    assert len([one for one in TABLE if one.sample]) <= 14


ROW = 'name = "{name}"\nreason = "It is wrong."\nfile = "f"\nold = "a"\nnew = "b"\ntests = ["t"]\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"[[mutation]]\n{ROW.format(name='x')}[[mutation]]\n{ROW.format(name='x')}", "two mutations are called x"),
        (f"[[mutation]]\n{ROW.format(name='x')}colour = 1\n", "colour"),
        ('[[mutation]]\nname = "x"\n', "tests"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "table.toml").write_text(text)
    with pytest.raises(ProaError, match=told) as caught:
        mutate.load(tmp_path / "table.toml")
    assert caught.value.code is Code.CONFIG_VALUE


@pytest.mark.parametrize("old", ["return b + a", "a"])
def test_a_text_that_does_not_stand_there_once_is_told_of(toy: Path, old: str) -> None:
    with pytest.raises(ProaError, match="not once") as caught:
        defect("misplaced", old, "c").apply(toy)
    assert caught.value.code is Code.CONFIG_VALUE
    assert (toy / "core/proa/toy/add.py").read_text() == ADD


@pytest.mark.contract
@pytest.mark.parametrize("outcome", DEFECTS)
def test_what_becomes_of_a_mutation(toy: Path, outcome: str) -> None:
    found = mutate.judge(toy, defect(outcome, *DEFECTS[outcome]))
    assert (found.name, found.outcome) == (outcome, outcome)
    assert bool(found.output) is (outcome != "caught")
    assert (toy / "core/proa/toy/add.py").read_text() == ADD


@pytest.mark.contract
def test_tests_that_hang_have_noticed_it(toy: Path) -> None:
    hangs = defect("hangs", "return a + b", "return add(a, b) if __import__('signal').pause() else 0")
    found = mutate.judge(toy, hangs, limit=3.0)
    assert found.outcome == "caught"
    assert found.seconds >= 3


@pytest.mark.contract
def test_tests_that_fail_anyway_notice_nothing(toy: Path) -> None:
    wrong = defect("wrong", *DEFECTS["caught"], tests="core/tests/test_wrong.py")
    with pytest.raises(ProaError, match="without any mutation") as caught:
        mutate.check_unmutated(toy, [wrong])
    assert caught.value.code is Code.TOOL


def test_the_report() -> None:
    caught = Outcome("a", "caught", 1.0, "It is wrong.")
    survived = Outcome("b", "survived", 2.0, "It is worse.", "1 passed")
    assert json.loads(json.dumps(mutate.document([caught, survived]))) == {
        "schema": "proa.mutate/v1",
        "mutations": [
            {"name": "a", "outcome": "caught", "seconds": 1.0, "reason": "It is wrong.", "output": ""},
            {"name": "b", "outcome": "survived", "seconds": 2.0, "reason": "It is worse.", "output": "1 passed"},
        ],
        "ok": False,
    }
    assert mutate.document([caught])["ok"] is True


@pytest.mark.contract
def test_every_mutation_of_the_sample_is_caught(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    argv = [sys.executable, "-m", "upkeep.mutate", "--sample", "--report", str(report)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["name"]: row["outcome"] for row in json.loads(report.read_bytes())["mutations"]}
    assert found == {one.name: "caught" for one in TABLE if one.sample}
