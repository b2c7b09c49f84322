"""One node, two versions of the agent: both read what the other wrote.

Slot a runs the last release, slot b a release of this tree. The disk is as old as the last release, whose GRUB decides
about every boot.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from proa.agent.testing import life
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import fail_unit, healthy
from proa.agent.testing.world import fast_folder
from proa.core.runtime.process import run
from proa.partition.boot import bootstate, envblock
from proa.partition.boot.statefile import ENV_OFFSETS
from upkeep.last_release import ROOT, unpack

pytestmark = pytest.mark.contract

PACKAGES: Final = ("core", "partition", "agent")
DATA: Final = ROOT / "agent/tests/node/data"


@dataclass(frozen=True)
class Version:
    """A version of the code: processes of its own take the steps of the node's life."""

    path: tuple[Path, ...]
    folder: Path

    def __call__(self, step: Callable[..., object], *words: str) -> Any:
        """Take a step of :mod:`proa.agent.testing.life`; what it says."""
        argv = [sys.executable, life.__file__, str(self.folder), step.__name__, *words]
        return json.loads(run(argv, env={"PYTHONPATH": os.pathsep.join(map(str, self.path))}, timeout=300).stdout)

    def order(self, number: int = 0, action: str = "", **more: Any) -> Any:
        """Give an order of the cluster, or none; the node's status when it cannot go on by itself."""
        return self(life.order, json.dumps({"id": number, "action": action, **more} if number else {}))


@dataclass(frozen=True)
class Versions:
    """Both versions on one node, and the release of this tree."""

    old: Version
    new: Version
    reference: str

    @property
    def record(self) -> Path:
        """The file of the agent's record."""
        return self.old.folder / "node/root/var/lib/proa/agent.json"

    def boot(self, agent: Version, slot: str) -> Any:
        """Boot as the disk's GRUB decides it, and let the slot's agent start; its status."""
        assert self.old(life.boot) == slot
        return agent(life.settle)

    def upgrade(self) -> Any:
        """From the last release to this tree; the status after the commit."""
        self.old(life.install, self.reference, "2")
        assert self.boot(self.new, "b")["state"] == "trial"
        return self.new(life.trial)


@pytest.fixture(scope="session")
def last() -> Iterator[tuple[Path, ...]]:
    """The code of the last release."""
    with fast_folder() as folder:
        yield unpack(folder, *PACKAGES)


@pytest.fixture
def versions(last: tuple[Path, ...], tmp_path: Path, systemctl: Systemctl) -> Versions:
    old = Version(last, tmp_path / "life")
    new = Version(tuple(ROOT / one for one in PACKAGES), tmp_path / "life")
    old(life.new)
    return Versions(old, new, new(life.release, "2"))


def whole(status: dict[str, Any]) -> bool:
    """Whether an agent has read all that is there."""
    return status["warnings"] == [] and status["problem"] is None


def returned_unhealthy(status: dict[str, Any], slot: str) -> None:
    """The status tells of a trial of that slot, of its cause and of the unit that failed in it."""
    assert (status["state"], status["slots"][slot]["state"]) == ("returned", "failed")
    assert status["returned"]["cause"] == "unhealthy"
    assert "unit bad.service: failed" in status["returned"]["reason"]


def test_they_are_two_versions(last: tuple[Path, ...]) -> None:
    ask = "import proa.agent.node.record as one; print(one.__file__)"
    found = run([sys.executable, "-c", ask], env={"PYTHONPATH": os.pathsep.join(map(str, last))}).text.strip()
    assert found == str(last[2] / "proa/agent/node/record.py")
    assert Path(found).read_bytes() != (ROOT / "agent/proa/agent/node/record.py").read_bytes()


def test_an_upgrade_and_back_and_forth_again(versions: Versions) -> None:
    old, new = versions.old, versions.new
    status = versions.upgrade()
    assert whole(status)
    assert (status["booted"], status["good"], status["other_good"]) == ("b", "b", True)
    written = json.loads(versions.record.read_text())

    new(life.rollback)
    back = versions.boot(old, "a")
    assert whole(back)
    assert (back["booted"], back["good"], back["other_good"], back["state"]) == ("a", "a", True, "paired")
    for slot, known in written["slots"].items():
        for key in ("version", "root_hash", "manifest", "serial", "complete"):
            assert back["slots"][slot][key] == known[key]

    old(life.arm)
    assert versions.boot(new, "b")["state"] == "trial"
    again = new(life.trial)
    assert whole(again)
    assert (again["good"], again["slots"]["b"]["version"]) == ("b", "2")
    assert json.loads(versions.record.read_text())["committed"] == written["committed"] == 2
    assert [path.name for path in versions.record.parent.iterdir() if "damaged" in path.name] == []


@pytest.mark.parametrize("first", ["old", "new"])
def test_what_one_was_stopped_in_the_other_finishes(versions: Versions, first: str) -> None:
    """An install that was cut off: the record calls the slot incomplete, and half of its root is not there."""
    begins, ends = (versions.old, versions.new) if first == "old" else (versions.new, versions.old)
    begins(life.install, versions.reference, "2")
    record = json.loads(versions.record.read_text())
    record["slots"]["b"]["complete"] = False
    versions.record.write_text(json.dumps(record | {"trial": None}))
    root = versions.old.folder / "node/ROOT-B"
    before = root.read_bytes()
    with root.open("r+b") as file:
        file.seek(1 << 18)
        file.write(bytes(1 << 20))
    assert root.read_bytes() != before
    ends(life.install, versions.reference, "2")
    assert root.read_bytes() == before
    assert json.loads(versions.record.read_text())["slots"]["b"]["complete"]
    assert versions.boot(versions.new, "b")["state"] == "trial"
    assert whole(versions.new(life.trial))


def test_each_tells_why_a_trial_of_the_other_came_back(versions: Versions, systemctl: Systemctl) -> None:
    old, new = versions.old, versions.new
    old(life.install, versions.reference, "1")
    versions.boot(new, "b")
    fail_unit(systemctl)
    new(life.trial)
    back = versions.boot(old, "a")
    assert whole(back)
    returned_unhealthy(back, "b")

    healthy(systemctl)
    versions.upgrade()
    new(life.install, old(life.release, "3"), "1")
    versions.boot(old, "a")
    fail_unit(systemctl)
    old(life.trial)
    back = versions.boot(new, "b")
    assert whole(back)
    returned_unhealthy(back, "a")


def test_the_orders_of_a_cluster_hold_over_both(versions: Versions) -> None:
    old, new = versions.old, versions.new
    old.order(1, "Stage", place=versions.reference)
    old.order(2, "Boot", place=versions.reference)
    versions.boot(new, "b")
    assert new.order()["phase"] == "Trial"
    done = new.order(3, "Commit", proof=True)
    assert (done["phase"], done["observedOrder"]["result"], done["booted"]["slot"]) == ("Good", "Done", "b")
    new.order(4, "Rollback")
    versions.boot(old, "a")
    done = old.order()
    assert (done["phase"], done["booted"]["slot"]) == ("Good", "a")
    assert (done["observedOrder"]["id"], done["observedOrder"]["result"]) == (4, "Done")
    with pytest.raises(Exception, match="STALE_ORDER"):
        old.order(3, "Stage", place=versions.reference)


def test_what_the_initrd_of_this_tree_counts_changes_no_boot_of_the_disks_grub(versions: Versions) -> None:
    versions.upgrade()
    before = versions.old(life.read)["state"]
    with (versions.old.folder / "node/STATE").open("r+b") as file:
        for offset in ENV_OFFSETS:
            file.seek(offset)
            counted = envblock.assign(file.read(envblock.SIZE), bootstate.ROUNDS, str(bootstate.ROUNDS_MAX))
            assert counted is not None
            file.seek(offset)
            file.write(counted)
    assert versions.old(life.read)["state"] == versions.new(life.read)["state"] == before
    assert versions.boot(versions.new, "b")["good"] == "b"
    versions.new(life.rollback)
    assert whole(versions.boot(versions.old, "a"))


@pytest.mark.parametrize("recorded", sorted(DATA.glob("agent-*.json")), ids=lambda path: path.stem)
def test_both_read_the_recorded_files_of_both(versions: Versions, recorded: Path) -> None:
    versions.record.write_bytes(recorded.read_bytes())
    place = versions.old.folder / "node/root"
    for name, target in (("trial", "var/lib/proa/trial.json"), ("try", "persist/.proa/trial")):
        (place / target).parent.mkdir(parents=True, exist_ok=True)
        (place / target).write_bytes((DATA / recorded.name.replace("agent", name)).read_bytes())
    old, new = versions.old(life.read), versions.new(life.read)
    assert old["warning"] == new["warning"] == ""
    assert (old["notes"], old["try"], old["state"]) == (new["notes"], new["try"], new["state"])
    assert old["notes"] is not None
    assert old["try"] != "None"
    written = json.loads(recorded.read_text())
    assert common(old["record"], written) == common(written, old["record"])
    assert common(new["record"], written) == written
    for part in ("trial", "returned", "last", "order"):
        assert old["record"][part] is not None
        assert new["record"][part] is not None
    assert sorted(old["record"]["slots"]) == sorted(new["record"]["slots"]) == ["a", "b"]


def common(one: Any, other: Any) -> Any:
    """A JSON value, without what the other one does not have."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: common(value, other[key]) for key, value in one.items() if key in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [common(value, other[number]) for number, value in enumerate(one)]
    return one
