"""The corpus of what is fuzzed: every input of it ends as documented, whatever was found once."""

from __future__ import annotations

from pathlib import Path

import pytest

from upkeep.fuzz import Fuzzed, rows
from upkeep.fuzz_targets import CORPUS, TARGETS


def ends(name: str, data: bytes) -> bool:
    """Give a target an input; whatever is not documented is raised."""
    TARGETS[name](data)
    return True


INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert {path.parent.name for path in INPUTS} == set(TARGETS)


@pytest.mark.parametrize("path", [pytest.param(one, id=f"{one.parent.name}-{one.name}") for one in INPUTS])
def test_an_input_ends_as_documented(path: Path) -> None:
    assert ends(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_cut_off_or_damaged_ends_as_documented(name: str) -> None:
    """Without Atheris: each input cut at some places, and with some bytes changed."""
    for path in (one for one in INPUTS if one.parent.name == name):
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 40)):
            assert ends(name, data[:at])
            assert ends(name, data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


def test_the_table_says_what_was_found() -> None:
    told = list(rows([Fuzzed("a", 1234567, 3, 99, (), ""), Fuzzed("b", 5, 1, 2, ("x",), "ValueError: no")]))
    assert [line.split()[-1] for line in told] == ["found", "nothing", "no"]
    assert "1,234,567" in told[1]
