"""The states that a power cut may leave, and what a disk looks like in them."""

from __future__ import annotations

from pathlib import Path

from proa.vm.crash.points import CrashPoint, epochs, points
from proa.vm.crash.replay import Replay
from proa.vm.crash.writelog import SECTOR, LoggedWrite, WriteLog
from proa.vm.testing.writelogs import write_log

FLUSH = LoggedWrite(0, 0, True, False, False, 0)


def write(sectors: int = 1) -> LoggedWrite:
    return LoggedWrite(0, sectors * SECTOR, False, False, False, 0)


def test_a_flush_ends_an_epoch() -> None:
    assert list(epochs([write(), write(), FLUSH, write()], 0, 4)) == [(0, 3), (3, 4)]


def test_all_subsets_of_what_was_not_flushed_are_states() -> None:
    found = points([write(), FLUSH, write(), write(), FLUSH], 2, 5, 0)
    unflushed = {point.also for point in found if point.durable == 2}
    assert {(), (2,), (3,), (2, 3)} <= unflushed
    assert all(point.durable in (2, 5) for point in found), "the first write was flushed before"


def test_all_parts_of_a_small_write_are_states() -> None:
    found = points([write(3), FLUSH], 0, 2, 0)
    assert {point.torn[1] for point in found if point.torn[0] == 0} == {0b001, 0b010, 0b011, 0b100, 0b101, 0b110}


def test_every_prefix_of_a_long_epoch_is_a_state_and_the_rest_is_a_sample() -> None:
    entries = [write(2048) for _ in range(40)] + [FLUSH]
    found = points(entries, 0, 41, 500)
    assert len(found) == 500
    assert {tuple(range(count)) for count in range(41)} <= {point.also for point in found if point.torn == (-1, 0)}
    assert any(point.also and point.also != tuple(range(len(point.also))) for point in found), "some lack one before"
    assert any(point.torn[0] >= 0 for point in found)
    assert found == points(entries, 0, 41, 500), "the same each time"
    assert found != points(entries, 0, 41, 500, seed=1)


def test_a_disk_is_replayed_up_to_a_point(tmp_path: Path) -> None:
    ones, twos = b"1" * 2 * SECTOR, b"2" * SECTOR
    made = write_log(tmp_path / "log", (0, 2, 0, ones), (0, 0, 1, b""), (1, 1, 0, twos), (2, 2, 0, ones))
    disk = tmp_path / "disk"
    disk.write_bytes(b"0" * 5 * SECTOR)
    replay = Replay(disk, WriteLog(made))
    replay.advance(2)
    lines = {
        CrashPoint(2): b"11000",
        CrashPoint(2, (2,)): b"12000",
        CrashPoint(2, (3,)): b"11110",
        CrashPoint(2, (2,), (3, 0b10)): b"12010",
    }
    for point, wanted in lines.items():
        whole = replay.export(point, tmp_path / "out").read_bytes()
        assert whole[::SECTOR] == wanted
        assert replay.read(point, SECTOR // 2, 3 * SECTOR) == whole[SECTOR // 2 : SECTOR // 2 + 3 * SECTOR]
    assert disk.read_bytes()[::SECTOR] == b"11000", "only what is durable went to the copy"
    replay.close()
