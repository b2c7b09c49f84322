"""The way of bytes into a partition: regions, the belt, the FAT image's kernel."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from proa.agent.slot.region import Region, open_for_reading
from proa.agent.slot.writer import BUFFER, SlotWriter
from proa.agent.testing.synthetic import make_boot_image, make_noise
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import DirectFile, sha256
from proa.core.runtime.process import run
from proa.partition.disk.fatfile import file_digest
from proa.partition.disk.slots import Extent

BLOCK = 4096


@pytest.fixture
def extent(tmp_path: Path) -> Extent:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(8 << 20)
    return Extent(path, 1 << 20, 4 << 20)


@pytest.fixture
def region(extent: Extent) -> Region:
    return Region(DirectFile(extent.path, writable=True), extent)


def content(extent: Extent, size: int) -> bytes:
    return extent.path.read_bytes()[extent.offset : extent.offset + size]


@pytest.mark.parametrize(("offset", "size"), [(-BLOCK, BLOCK), (4 << 20, BLOCK), ((4 << 20) - BLOCK, 2 * BLOCK)])
def test_a_region_ends_where_its_partition_ends(region: Region, extent: Extent, offset: int, size: int) -> None:
    before = extent.path.read_bytes()
    with pytest.raises(ProaError) as caught:
        region.write(offset, memoryview(DirectFile.buffer(size)))
    assert caught.value.code is Code.TOO_LARGE
    with pytest.raises(ProaError):
        region.read(offset, size)
    assert extent.path.read_bytes() == before


@settings(max_examples=12)
@given(some.lists(some.integers(0, 700_000), max_size=8), some.integers(0, 3))
def test_a_stream_arrives_however_it_is_cut(lengths: list[int], start: int) -> None:
    import tempfile

    total = -(-sum(lengths) // BLOCK) * BLOCK
    data = bytes(range(251)) * (total // 251 + 1)
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(8 << 20)
        extent = Extent(Path(file.name), 0, 8 << 20)
        checked: list[bytes] = []
        region = Region(DirectFile(extent.path, writable=True), extent)
        with SlotWriter(region, start * BLOCK, check=lambda place, view: checked.append(bytes(view))) as writer:
            at = 0
            for length in [*lengths, total - sum(lengths)]:
                writer.put(data[at : at + length])
                at += length
        region.close()
        assert writer.size == total
        assert b"".join(checked) == data[:total]
        assert extent.path.read_bytes()[start * BLOCK : start * BLOCK + total] == data[:total]


def test_rooms_larger_than_a_buffer(region: Region, extent: Extent) -> None:
    with SlotWriter(region, largest=2 * BUFFER) as writer:
        for mark in (1, 2):
            writer.room(BUFFER + BLOCK)[:] = bytes([mark]) * (BUFFER + BLOCK)
    assert content(extent, 2 * (BUFFER + BLOCK)) == b"\1" * (BUFFER + BLOCK) + b"\2" * (BUFFER + BLOCK)


def test_a_stream_that_does_not_end_on_a_block(region: Region) -> None:
    with pytest.raises(ValueError, match="does not end at a block boundary"), SlotWriter(region) as writer:
        writer.put(b"x" * 100)


def test_nothing_is_written_that_the_check_did_not_accept(region: Region, extent: Extent) -> None:
    def check(place: int, data: memoryview) -> None:
        if place >= BUFFER:
            raise ProaError(Code.VERITY, "no")

    with pytest.raises(ProaError) as caught, SlotWriter(region, check=check) as writer:
        writer.put(b"x" * 3 * BUFFER)
    assert caught.value.code is Code.VERITY
    assert content(extent, 2 * BUFFER)[BUFFER:] == bytes(BUFFER)


def test_an_error_of_the_caller_comes_through_and_no_thread_stays(region: Region) -> None:
    before = threading.active_count()

    def stream() -> None:
        with SlotWriter(region) as writer:
            writer.put(b"x" * 3 * BUFFER)
            raise KeyError

    with pytest.raises(KeyError):
        stream()
    assert threading.active_count() == before


def test_progress_only_grows(region: Region) -> None:
    seen: list[int] = []
    with SlotWriter(region, progress=seen.append) as writer:
        for _ in range(4):
            writer.put(b"x" * BUFFER)
    assert seen == [BUFFER, 2 * BUFFER, 3 * BUFFER, 4 * BUFFER]


@pytest.mark.parametrize("size", [1 << 18, 1 << 20, 40 << 20])
@pytest.mark.parametrize("kernel", [1, 5000, 150_001])
def test_the_kernel_in_a_fat_image(tmp_path: Path, size: int, kernel: int) -> None:
    """mtools wrote it: FAT of 12 and of 16 bits."""
    uki, image = tmp_path / "uki", tmp_path / "image"
    make_noise(uki, kernel, kernel)
    make_boot_image(image, uki, size)
    with open_for_reading(Extent(image, 0, size)) as region:
        assert file_digest(region.read, size, "/EFI/proa/uki.efi") == f"sha256:{sha256(uki)}"


def test_the_kernel_in_a_fat_of_32_bits(tmp_path: Path) -> None:
    uki, image = tmp_path / "uki", tmp_path / "image"
    make_noise(uki, 70_000, 1)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    run(["mformat", "-i", image, "-F", "-T", str((64 << 20) // 512), "-c", "1", "::"])
    run(["mmd", "-i", image, "::/EFI", "::/EFI/proa"])
    run(["mcopy", "-i", image, uki, "::/EFI/proa/uki.efi"])
    with open_for_reading(Extent(image, 0, 64 << 20)) as region:
        assert file_digest(region.read, 64 << 20, "/EFI/proa/uki.efi") == f"sha256:{sha256(uki)}"


def reader(data: bytes) -> Any:
    return lambda offset, size: data[offset : offset + size]


@pytest.mark.parametrize("path", ["/EFI/proa/other.efi", "/EFI/none/uki.efi", "/EFI/proa", "/EFI/proa/uki.efi/x"])
def test_what_is_not_in_the_image(tmp_path: Path, path: str) -> None:
    uki, image = tmp_path / "uki", tmp_path / "image"
    make_noise(uki, 5000, 1)
    make_boot_image(image, uki, 1 << 18)
    with pytest.raises(ProaError) as caught:
        file_digest(reader(image.read_bytes()), 1 << 18, path)
    assert caught.value.code is Code.DIGEST


def outcome(image: bytes) -> str | Code:
    """``sha256`` or the code of the refusal."""
    try:
        return file_digest(reader(image), len(image), "/EFI/proa/uki.efi").partition(":")[0]
    except ProaError as error:
        return error.code


@pytest.fixture(scope="session")
def fat(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("fat")
    make_noise(folder / "uki", 30_000, 1)
    make_boot_image(folder / "image", folder / "uki", 1 << 17)
    return (folder / "image").read_bytes()


@settings(max_examples=80)
@given(some.data())
def test_f2_any_damage_of_a_fat_image_is_an_error_or_a_digest(fat: bytes, data: some.DataObject) -> None:
    damaged = bytearray(fat)
    for _ in range(data.draw(some.integers(1, 4))):
        damaged[data.draw(some.integers(0, 8192))] = data.draw(some.integers(0, 255))
    assert outcome(bytes(damaged)) in ("sha256", Code.DIGEST)


@given(some.binary(max_size=600))
def test_f1_f2_no_image_at_all(data: bytes) -> None:
    with pytest.raises(ProaError):
        file_digest(reader(data), len(data), "/EFI/proa/uki.efi")
