"""The proof, as short as it can be: of two real nodes one goes to a good release, and comes back from a bad one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proa.vm.cluster import images as proofimages
from proa.vm.cluster.cast import Cast, ProofRelease
from proa.vm.cluster.proof import ClusterProof

pytestmark = [pytest.mark.vm, pytest.mark.timeout(5400)]
WANTED = ("v1", "v2", "mute")
FOLLOWS, STAYS = "node-1", "node-2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proof")


@pytest.fixture(scope="module")
def report(pytestconfig: pytest.Config, folder: Path, keys: Path) -> dict[str, Any]:
    """What ``make proof SHORT=1`` leaves."""
    built = proofimages.build(pytestconfig.rootpath / "build/test/cluster", WANTED, keys=keys)
    first, good, broken = (ProofRelease.of(name, built[name], proofimages.RECIPES[name].says) for name in WANTED)
    names = (FOLLOWS, STAYS)
    ClusterProof(folder, Cast(first, good, (broken,), keys, names, followers=(FOLLOWS,), returns=False)).run()
    return dict(json.loads((folder / "report.json").read_bytes()))


def step(report: dict[str, Any], version: str) -> dict[str, Any]:
    return next(one for one in report["steps"] if one["name"].startswith(f"to {version}"))


def test_all_came_out_as_promised(report: dict[str, Any]) -> None:
    assert report["schema"] == "proa.proof/v1"
    assert report["ok"]
    assert report["nodes"] == 2


def test_the_node_went_through_every_part_of_its_turn(report: dict[str, Any]) -> None:
    turns = step(report, "2.0.0")["turns"]
    assert set(turns[FOLLOWS]) == {"stage", "drain", "reboot", "ready", "commit", "uncordon"}
    assert "reboot" not in turns.get(STAYS, {})


def test_the_service_answered_all_the_time(report: dict[str, Any]) -> None:
    good = step(report, "2.0.0")["probes"]
    assert good["answers"] > 100
    assert good["failures"] == 0, good["why"]


def test_the_bad_release_was_tried_on_one_node_which_says_why_it_came_back(report: dict[str, Any]) -> None:
    bad = step(report, "3.0.0")
    assert bad["canary"] == FOLLOWS
    assert FOLLOWS in bad["halted"]
    assert bad["node_says"].startswith("NO_COMMIT_ORDER")


def test_what_was_fetched_is_told(report: dict[str, Any]) -> None:
    """The releases differ in little: a node fetches that, and no whole image of over 100 MiB."""
    fetched = step(report, "2.0.0")["bytes_fetched"]
    assert 128 << 10 < fetched[FOLLOWS] < 4 << 20
    assert fetched[STAYS] == 0


def test_memory_is_measured(report: dict[str, Any]) -> None:
    for name in (FOLLOWS, STAYS):
        assert 100 < report["memory_used"][name] < report["memory_of_kernel"][name] < report["memory"]


def test_consoles_are_kept(report: dict[str, Any], folder: Path) -> None:
    assert report["ok"]
    assert (folder / "report.html").exists()
    consoles = [(folder / f"console-{name}.log").read_text() for name in (FOLLOWS, STAYS)]
    assert [text.count("Linux version") >= 1 for text in consoles] == [True, True]
