"""What the agent writes is recorded below it and cut off everywhere: nothing is lost, and what would be is noticed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proa.partition.boot.bootstate import Slot
from proa.partition.disk.slots import open_image
from proa.vm.crash.crashreplay import CrashPlan, CrashRow, replayed
from proa.vm.crash.judge import Completeness, Judge, Promise
from proa.vm.crash.operations import Operation, Recording, record
from proa.vm.crash.points import points
from proa.vm.crash.replay import Replay
from proa.vm.crash.run import table
from proa.vm.crash.writelog import LoggedWrite, WriteLog
from proa.vm.node.images import Images
from proa.vm.support.copies import copy_sparse

pytestmark = [pytest.mark.vm]
NAMES = [
    *("install", "arm", "disarm", "install over a release, killed", "install, continued", "arm the second release")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="module")
def recording(images: Images, folder: Path) -> Recording:
    releases = [images("2"), images("3")]
    return record(images("1") / "disk.raw", releases, images.keys / "release.pub", folder)


@pytest.fixture(scope="module")
def rows(recording: Recording, folder: Path) -> list[CrashRow]:
    return list(replayed(recording, CrashPlan(points=600, again=2), folder))


def test_f47_nothing_is_lost_wherever_the_power_fails(rows: list[CrashRow]) -> None:
    assert [row.operation for row in rows] == NAMES
    assert [row.lost for row in rows] == [()] * len(NAMES), "\n".join(table(rows))
    assert all(row.points > 500 for row in rows)


def test_f47_only_an_armed_slot_is_tried(rows: list[CrashRow]) -> None:
    tried = {row.operation: row.trial for row in rows}
    assert all((tried[name] > 0) is ("arm" in name) for name in NAMES), tried


@contextmanager
def judging(
    recording: Recording, folder: Path, operation: Operation, promise: Promise, log: WriteLog
) -> Iterator[Judge]:
    """A judge of all that happens up to an operation's end, on a copy of the disk."""
    copy = folder / "judged.raw"
    copy_sparse(recording.before, copy)
    partitions = open_image(copy).partitions
    other = (partitions[Slot.B.root_name], partitions[Slot.B.uki_name])
    complete = Completeness(other, copy, operation.after)
    with closing(Replay(copy, log)) as replay, closing(complete):
        yield Judge(replay, promise, complete)
    copy.unlink()


def lost(recording: Recording, folder: Path, promise: Promise, *, flushes: bool = True) -> list[str]:
    """What an install and arming, taken as one, lose on a disk that flushes, or that says so and does not."""
    log, arm = WriteLog(recording.log), recording.operations[1]
    if not flushes:
        log.entries = [dataclasses.replace(entry, flushes=False) for entry in log.entries]
    with judging(recording, folder, arm, promise, log) as judge:
        for point in points(log.entries, 0, arm.span[1], 400):
            judge.see(point)
    return judge.lost


def test_f35_a_disk_that_does_not_flush_loses_a_trial(recording: Recording, folder: Path) -> None:
    """The proof that the judge sees what it is there for: the slot may be armed before it is written."""
    armed = Promise(Slot.A, arms=True)
    assert lost(recording, folder, armed) == []
    assert any("slot b boots with" in one for one in lost(recording, folder, armed, flushes=False))


def test_a_trial_that_nobody_ordered_is_lost(recording: Recording, folder: Path) -> None:
    found = lost(recording, folder, Promise(Slot.A))
    assert found
    assert all("slot b boots, on trial" in one for one in found)


def test_a_write_to_the_good_slot_is_a_trespass(recording: Recording, folder: Path) -> None:
    install = recording.operations[0]
    partitions = open_image(recording.before).partitions
    with judging(recording, folder, install, install.promise, WriteLog(recording.log)) as judge:
        for name in ("ROOT-A", "UKI-A", "BOOT"):
            entry = LoggedWrite(partitions[name].offset + 4096, 4096, False, False, False, 0)
            assert judge.trespasses([entry]) == [f"{name} is written to, at byte {entry.offset}"]
        (said,) = judge.trespasses([LoggedWrite(0, 512, False, False, False, 0)])
    assert said == "the partition table is written to, at byte 0"
