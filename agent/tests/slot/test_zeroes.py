"""Holes of an image are not written as data, and are read back all the same (n19)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.agent.slot.region import Region, _runs
from proa.agent.slot.writer import SlotWriter
from proa.core.runtime import zeroes
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import ALIGNMENT, DirectFile
from proa.core.runtime.process import run
from proa.partition.disk.slots import Extent

MIB = 1 << 20
SIZE = 64 * MIB
NOISE = os.urandom(MIB)
IMAGE = bytes(20 * MIB) + NOISE + bytes(SIZE - 21 * MIB - ALIGNMENT) + NOISE[:ALIGNMENT]
"""A large image that holds little."""


def write(device: DirectFile, image: bytes = IMAGE) -> None:
    region = Region(device, Extent(device.path, 0, len(image)))
    with SlotWriter(region) as writer:
        for start in range(0, len(image), 300_000):
            writer.put(image[start : start + 300_000])


def full(path: Path) -> Path:
    """A file without a hole that holds something else."""
    with path.open("wb") as file:
        for _ in range(SIZE // MIB):
            file.write(b"\xff" * MIB)
        os.fsync(file.fileno())
    return path


class Counting(DirectFile):
    """Counts the bytes that are sent."""

    sent = 0

    def write(self, offset: int, data: object) -> None:
        assert isinstance(data, memoryview)
        self.sent += len(data)
        super().write(offset, data)


def test_n19_zeroes_are_holes_in_a_file(tmp_path: Path) -> None:
    path = full(tmp_path / "image")
    with Counting(path, writable=True) as device:
        write(device)
        assert device.sent < 3 * MIB
    assert path.read_bytes() == IMAGE
    assert path.stat().st_size == SIZE
    assert path.stat().st_blocks * 512 < 3 * MIB


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_n19_where_it_cannot_be_done_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(zeroes, "make", cannot)
    path = full(tmp_path / "image")
    with Counting(path, writable=True) as device:
        write(device)
        assert device.sent == SIZE
    assert path.read_bytes() == IMAGE


def test_n19_a_device_that_fails_at_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zeroes, "make", fails)
    with DirectFile(full(tmp_path / "image"), writable=True) as device, pytest.raises(ProaError) as caught:
        write(device)
    assert caught.value.code is Code.DEVICE


def test_n19_a_device_that_only_says_so_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeroes, "make", lambda *_: None)
    with DirectFile(full(tmp_path / "image"), writable=True) as device, pytest.raises(ProaError) as caught:
        write(device)
    assert caught.value.code is Code.READ_BACK


def test_n19_who_promises_nothing_is_not_asked(tmp_path: Path) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    try:
        assert not zeroes.promised(null)
    finally:
        os.close(null)


@pytest.mark.parametrize(
    ("image", "runs"),
    [
        (b"", []),
        (bytes(4096), [(0, 4096, True)]),
        (b"x" * 4096, [(0, 4096, False)]),
        (bytes(1 << 16) + b"x" * 4096, [(0, 1 << 16, True), (1 << 16, (1 << 16) + 4096, False)]),
        (b"x" * (1 << 16) + bytes(1 << 17), [(0, 1 << 16, False), (1 << 16, 3 << 16, True)]),
        (bytes(4095) + b"x" + bytes(1 << 16), [(0, 1 << 16, False), (1 << 16, (1 << 16) + 4096, True)]),
        (bytes((1 << 16) - 1) + b"x" + bytes(1 << 16), [(0, 1 << 16, False), (1 << 16, 1 << 17, True)]),
    ],
)
def test_n19_stretches(image: bytes, runs: list[tuple[int, int, bool]]) -> None:
    assert list(_runs(memoryview(bytearray(image)))) == runs


@pytest.mark.contract
class TestLoop:
    """A real block device."""

    @pytest.fixture
    def loop(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
        backing = full(tmp_path_factory.mktemp("disk") / "backing")
        name = run(["losetup", "--find", "--show", "--direct-io=on", backing]).text.strip()
        try:
            yield backing, Path(name)
        finally:
            run(["losetup", "--detach", name])

    def test_n19_zeroes_are_made_by_the_device(self, loop: tuple[Path, Path]) -> None:
        backing, name = loop
        with Counting(name, writable=True, exclusive=True) as device:
            assert zeroes.promised(device._handle)
            write(device)
            assert device.sent < 3 * MIB
        run(["blockdev", "--flushbufs", name])
        assert backing.read_bytes() == IMAGE
