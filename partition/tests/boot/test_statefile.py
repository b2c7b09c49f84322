"""The two copies on a disk: where they lie, and what a power cut or a failing disk leaves."""

from __future__ import annotations

import dataclasses
import mmap
from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import ALIGNMENT, DirectFile
from proa.partition.boot import bootstate, envblock, statefile
from proa.partition.boot.bootstate import SEQ_MAX, BootState, Slot, encode
from proa.partition.boot.statefile import ENV_FILES, ENV_OFFSETS, STATE_SIZE, Pair, StateFile

OLD = BootState(7, Slot.A, None, 0, alt=False)
NEW = bootstate.arm(OLD, Slot.B, 3)


class RecordingFile(DirectFile):
    """Keeps what is written and flushed, in order."""

    log: list[tuple[str, int, bytes]]

    def write(self, offset: int, data: mmap.mmap | memoryview) -> None:
        self.log.append(("write", offset, bytes(data)))
        super().write(offset, data)

    def flush(self) -> None:
        self.log.append(("flush", 0, b""))
        super().flush()

    def read(self, offset: int, size: int) -> bytes:
        self.log.append(("read", offset, b""))
        return super().read(offset, size)


class FailingFile(DirectFile):
    """A disk that says yes and loses what is written at some places, or cannot read them."""

    loses: frozenset[int] = frozenset()
    unreadable: frozenset[int] = frozenset()

    def write(self, offset: int, data: mmap.mmap | memoryview) -> None:
        if offset not in self.loses:
            super().write(offset, data)

    def read(self, offset: int, size: int) -> bytes:
        if offset in self.unreadable:
            raise ProaError(Code.DEVICE, "unreadable", at=offset)
        return super().read(offset, size)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "state"
    statefile.make_state_image(path, OLD)
    return path.read_bytes()


@pytest.fixture
def image(tmp_path: Path, made: bytes) -> Path:
    path = tmp_path / "state"
    path.write_bytes(made)
    return path


def put(path: Path, copy: int, block: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(ENV_OFFSETS[copy - 1])
        file.write(block)


def failing(path: Path, *, loses: set[int] | None = None, unreadable: set[int] | None = None) -> StateFile:
    def open_failing(where: Path, writable: bool) -> DirectFile:
        file = FailingFile(where, writable=writable)
        file.loses, file.unreadable = frozenset(loses or ()), frozenset(unreadable or ())
        return file

    return StateFile(path, opener=open_failing)


def recorded_write(path: Path, state: BootState) -> list[tuple[str, int, bytes]]:
    log: list[tuple[str, int, bytes]] = []

    def open_recording(where: Path, writable: bool) -> DirectFile:
        file = RecordingFile(where, writable=writable)
        file.log = log if writable else []
        return file

    StateFile(path, opener=open_recording).write(state)
    return log


def test_the_image_is_a_clean_fat12(image: Path) -> None:
    assert image.stat().st_size == STATE_SIZE
    assert "12 bit" in process.run(["fsck.fat", "-n", "-v", image]).text
    assert "16 bit" not in process.run(["fsck.fat", "-n", "-v", image]).text


def test_the_image_is_the_same_every_time(image: Path, tmp_path: Path) -> None:
    statefile.make_state_image(tmp_path / "again", OLD)
    assert (tmp_path / "again").read_bytes() == image.read_bytes()


@pytest.mark.parametrize("number", [0, 1])
def test_mtools_finds_each_copy_at_its_place(image: Path, number: int) -> None:
    marked = dataclasses.replace(OLD, seq=100 + number)
    put(image, number + 1, encode(marked))
    assert process.run(["mtype", "-i", image, f"::{ENV_FILES[number]}"]).stdout == encode(marked)
    clusters = process.run(["mshowfat", "-i", image, f"::{ENV_FILES[number]}"]).text
    assert "-" not in clusters.split("<")[1]  # one cluster, so contiguous


def test_no_disk_writes_both_copies_at_once() -> None:
    assert all(offset % ALIGNMENT == 0 for offset in ENV_OFFSETS)
    assert ENV_OFFSETS[1] - ENV_OFFSETS[0] >= 64 << 10


def test_f52_refuses_an_image_whose_copies_lie_elsewhere(image: Path) -> None:
    put(image, 1, bytes(envblock.SIZE))
    with pytest.raises(ProaError) as caught:
        statefile._check_offsets(image, encode(OLD))
    assert caught.value.code is Code.INTERNAL


def test_reads_and_writes(image: Path) -> None:
    file = StateFile(image)
    assert file.current() == OLD
    file.write(NEW)
    assert file.read() == Pair(encode(NEW), encode(NEW))
    assert (file.read().copy, file.read().state) == (1, NEW)


def test_within_a_disk(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20) + image.read_bytes())
    file = StateFile.within(disk, 1 << 20)
    file.write(NEW)
    assert file.current() == NEW
    assert disk.read_bytes()[: 1 << 20] == bytes(1 << 20)


def test_changes_nothing_but_the_copies(image: Path) -> None:
    before = image.read_bytes()
    StateFile(image).write(NEW)
    after = bytearray(image.read_bytes())
    for offset in ENV_OFFSETS:
        after[offset : offset + envblock.SIZE] = encode(OLD)
    assert bytes(after) == before


@pytest.mark.parametrize(("damaged", "order"), [(None, (2, 1)), (2, (2, 1)), (1, (1, 2))])
def test_writes_first_what_does_not_count(image: Path, damaged: int | None, order: tuple[int, int]) -> None:
    if damaged:
        put(image, damaged, bytes(envblock.SIZE))
    log = [(what, offset) for what, offset, _ in recorded_write(image, NEW)]
    first, second = (ENV_OFFSETS[copy - 1] for copy in order)
    assert log == [
        *(("write", first), ("flush", 0), ("read", first)),
        *(("write", second), ("flush", 0), ("read", second)),
    ]


@pytest.mark.parametrize("damaged", [None, 1, 2])
@pytest.mark.parametrize("old", [OLD, dataclasses.replace(OLD, seq=SEQ_MAX)], ids=["", "last-seq"])
def test_f48_a_power_cut_leaves_the_old_state_or_the_new(image: Path, old: BootState, damaged: int | None) -> None:
    for copy in (1, 2):
        put(image, copy, b"\xff" * 512 if copy == damaged else encode(old))
    new = bootstate.arm(old, Slot.B, 3)
    disk = bytearray(image.read_bytes())
    seen = set()
    for _, offset, data in [entry for entry in recorded_write(image, new) if entry[0] == "write"]:
        for torn in [data[:512], data[:1024], data]:
            for garbage in (b"", b"\xff" * (512 if torn == data[:512] else 0)):
                cut = bytearray(disk)
                cut[offset : offset + len(torn)] = torn
                if garbage:
                    cut[offset : offset + len(garbage)] = garbage
                image.write_bytes(cut)
                seen.add(StateFile(image).current())
        disk[offset : offset + len(data)] = data
    assert seen == {old, new}


def test_no_state(image: Path) -> None:
    for copy in (1, 2):
        put(image, copy, bytes(envblock.SIZE))
    with pytest.raises(ProaError) as caught:
        StateFile(image).current()
    assert caught.value.code is Code.NO_STATE
    StateFile(image).write(NEW)
    assert StateFile(image).current() == NEW


@pytest.mark.parametrize(("loses", "counts"), [(2, OLD), (1, NEW)])
def test_a_disk_that_loses_writes(image: Path, loses: int, counts: BootState) -> None:
    with pytest.raises(ProaError) as caught:
        failing(image, loses={ENV_OFFSETS[loses - 1]}).write(NEW)
    assert caught.value.code is Code.READ_BACK
    assert StateFile(image).current() == counts


@pytest.mark.parametrize("copy", [1, 2])
def test_a_copy_that_cannot_be_read(image: Path, copy: int) -> None:
    put(image, copy, encode(dataclasses.replace(OLD, seq=99)))
    assert failing(image, unreadable={ENV_OFFSETS[copy - 1]}).current() == OLD


def test_a_disk_that_cannot_be_read(image: Path, tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        failing(image, unreadable=set(ENV_OFFSETS)).read()
    assert caught.value.code is Code.DEVICE
    with pytest.raises(ProaError) as caught:
        StateFile(tmp_path / "missing").read()
    assert caught.value.code is Code.FILE_MISSING
