"""What is known to be wrong with PERSIST, and who hears of it (faults n10)."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from proa.agent.cli.text import describe_status
from proa.agent.node.boot import BootReport
from proa.agent.node.paths import Paths
from proa.agent.node.persist import persist_problems
from proa.agent.orders.node_status import node_status
from proa.agent.testing.node import Node
from proa.agent.testing.trials import warnings
from proa.agent.verbs.status import status
from proa.partition.boot.bootstate import Slot

CHECK = Path(__file__).parents[2] / "proa/agent/health.d/10-persist"
REPORT = BootReport(Slot.A, "a" * 64, trial=False, left=0, persist_check="clean")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "persist/.proa").mkdir(parents=True)
    return Paths(tmp_path)


def count_errors(root: Path, text: str, place: Path) -> None:
    """Let the kernel count errors of the file system that holds ``place``."""
    device = place.stat().st_dev
    uevent = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}/uevent"
    counter = root / "sys/fs/ext4/vda7/errors_count"
    for path, content in ((uevent, "MAJOR=254\nDEVNAME=vda7\nPARTN=7\n"), (counter, text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_n10_a_whole_persist_is_no_matter(paths: Paths) -> None:
    count_errors(paths.root, "0\n", paths.persist)
    assert persist_problems(paths, REPORT) == ()
    assert persist_problems(paths, None) == ()


@pytest.mark.parametrize(("found", "said"), [("mended", "repaired at this boot"), ("repaired", "files may be lost")])
def test_n10_what_the_check_found_is_told(paths: Paths, found: str, said: str) -> None:
    (problem,) = persist_problems(paths, replace(REPORT, persist_check=found))
    assert said in problem


@pytest.mark.parametrize(("found", "said"), [("mended", "had errors"), ("repaired", "files may be lost")])
def test_n10_what_an_earlier_check_found_is_told_until_somebody_has_dealt_with_it(
    paths: Paths, found: str, said: str
) -> None:
    paths.damaged.write_text(f"{found}\n")
    (problem,) = persist_problems(paths, REPORT)
    assert said in problem
    assert "at an earlier boot" in problem
    assert f"remove {paths.damaged}" in problem
    paths.damaged.unlink()
    assert persist_problems(paths, REPORT) == ()


def test_n10_what_both_checks_found_is_told_once_and_of_this_boot(paths: Paths) -> None:
    paths.damaged.write_text("repaired\n")
    (problem,) = persist_problems(paths, replace(REPORT, persist_check="mended"))
    assert "at this boot" in problem


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"a newer word\n"])
def test_n10_a_note_that_says_nothing_is_none(paths: Paths, text: bytes) -> None:
    paths.damaged.write_bytes(text)
    assert persist_problems(paths, REPORT) == ()


def test_n10_a_lost_identity_is_told_until_somebody_has_dealt_with_it(paths: Paths) -> None:
    paths.lost_identity.write_text("the identity was lost\n")
    (problem,) = persist_problems(paths, REPORT)
    assert "lost the identity" in problem
    assert str(paths.lost_identity) in problem
    paths.lost_identity.unlink()
    assert persist_problems(paths, REPORT) == ()


def test_n10_errors_since_are_told(paths: Paths) -> None:
    count_errors(paths.root, "3\n", paths.persist)
    (problem,) = persist_problems(paths, REPORT)
    assert "3 errors" in problem


@pytest.mark.parametrize("text", ["", "x", "\n"])
def test_n10_a_count_that_says_nothing_is_none(paths: Paths, text: str) -> None:
    count_errors(paths.root, text, paths.persist)
    assert persist_problems(paths, REPORT) == ()


def test_n10_status_condition_and_event_tell_it(node: Node) -> None:
    node.write("persist/.proa/lost", "the identity was lost\n")
    node.reconcile()
    assert any("lost the identity" in warning for warning in status(node.context).warnings)
    (condition,) = (one for one in node_status(node.view).conditions if one.type == "PersistHealthy")
    assert (condition.status, condition.reason) == ("False", "ErrorsFound")
    assert "lost the identity" in condition.message
    assert "lost the identity" in warnings(node)


@pytest.mark.parametrize(("errors", "status"), [("0", 0), ("2", 1), (None, 0)])
def test_n10_the_check_of_a_trial_fails_after_an_error(tmp_path: Path, errors: str | None, status: int) -> None:
    (tmp_path / "254:7").mkdir()
    (tmp_path / "254:7/uevent").write_text("MAJOR=254\nDEVNAME=vda7\n")
    if errors:
        (tmp_path / "vda7").mkdir()
        (tmp_path / "vda7/errors_count").write_text(f"{errors}\n")
    script = CHECK.read_text().replace("/var/lib/proa/", f"{tmp_path}/")
    script = f"mountpoint() {{ echo 254:7; }}\nPROA_DEVICES={tmp_path} PROA_EXT4={tmp_path}\n{script}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert ("2 errors" in done.stdout) is (status == 1)


@pytest.mark.parametrize("encrypted", [False, True])
def test_s16_status_says_whether_persist_is_encrypted(node: Node, encrypted: bool) -> None:
    node.encrypted = encrypted
    told = status(node.context)
    assert told.persist_encrypted is encrypted
    assert ("PERSIST is encrypted" in describe_status(told)) is encrypted
