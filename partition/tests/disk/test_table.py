"""The table on the medium: written by pyparted, stamped, read back; sfdisk, sgdisk and partx as judges."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.runtime.errors import Code, ProaError
from proa.partition.disk import blockdev, gpt, layout
from proa.partition.disk.layout import MIB, Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.readtable import attributes, check_names, read_layout
from proa.partition.disk.table import write_table

SMALL = Sizes(uki=8 * MIB, root=16 * MIB, persist=16 * MIB)
both_sectors = pytest.mark.parametrize("sector_size", layout.SECTOR_SIZES)


def small_disk(sector_size: int = 512, seed: str = "table") -> Layout:
    return plan(LayoutRequest(seed, SMALL, sector_size=sector_size))


def tool(*argv: object) -> str:
    """A judge's words; it must be content."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    words = [str(word) for word in argv]
    program = shutil.which(words[0], path=path) or words[0]
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def attached(image: Path, sector_size: int) -> Iterator[Path]:
    """The image as a loop device."""
    node = Path(tool("losetup", "--find", "--show", "--partscan", "--sector-size", sector_size, image).strip())
    try:
        yield node
    finally:
        subprocess.run(["partx", "--delete", node], capture_output=True, check=False)
        tool("losetup", "--detach", node)


@both_sectors
def test_what_is_written_reads_back(tmp_path: Path, sector_size: int) -> None:
    image, planned = tmp_path / "disk.raw", small_disk(sector_size)
    write_table(image, planned)
    assert image.stat().st_size == planned.disk_size
    assert image.stat().st_blocks * 512 < 2 * MIB, "the image is sparse"
    assert read_layout(image) == planned


@both_sectors
def test_equal_layouts_are_equal_bytes(tmp_path: Path, sector_size: int) -> None:
    images = [tmp_path / "one.raw", tmp_path / "two.raw"]
    for image in images:
        write_table(image, small_disk(sector_size))
    for start in (0, small_disk().disk_size - MIB):
        one, two = (piece(image, start, MIB) for image in images)
        assert one == two


def test_content_of_partitions_stays(tmp_path: Path) -> None:
    image, planned = tmp_path / "disk.raw", small_disk()
    with image.open("wb") as file:
        for partition in planned.partitions:
            for place in (partition.start, partition.end - 512):
                file.seek(place)
                file.write(partition.name.encode() * 8)
        file.truncate(planned.disk_size)
    write_table(image, planned)
    for partition in planned.partitions:
        for place in (partition.start, partition.end - 512):
            assert piece(image, place, 8 * len(partition.name)) == partition.name.encode() * 8


@pytest.mark.parametrize("order", [(512, 4096), (4096, 512)])
def test_a_table_of_the_other_sector_size_leaves_no_trace(tmp_path: Path, order: tuple[int, int]) -> None:
    image = tmp_path / "disk.raw"
    for sector_size in order:
        write_table(image, small_disk(sector_size, seed=str(sector_size)))
    assert read_layout(image) == small_disk(order[1], seed=str(order[1]))
    assert gpt.described_size(image, order[0]) == 0


def test_a_changed_file_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    """libparted keeps a list of devices by path."""
    image = tmp_path / "disk.raw"
    write_table(image, small_disk())
    larger = plan(LayoutRequest("table", SMALL, disk_size=small_disk().disk_size + 64 * MIB))
    write_table(image, larger)
    assert read_layout(image) == larger


def test_sector_sizes_do_not_mix_between_threads(tmp_path: Path) -> None:
    jobs = [(tmp_path / f"{number}.raw", small_disk((512, 4096)[number % 2])) for number in range(6)]
    threads = [threading.Thread(target=write_table, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(read_layout(image) == planned for image, planned in jobs)
    assert "PARTED_SECTOR_SIZE" not in os.environ


def test_a_path_that_cannot_be_written_is_an_error_with_a_place(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as failed:
        write_table(tmp_path / "nowhere" / "disk.raw", small_disk())
    assert failed.value.code is Code.FILE_MISSING
    assert "nowhere" in failed.value.at


def test_a_layout_that_libparted_refuses_is_an_error(tmp_path: Path) -> None:
    planned = small_disk()
    overlap = dataclasses.replace(planned.partitions[1], start=planned.partitions[0].start)
    broken = dataclasses.replace(planned, partitions=(planned.partitions[0], overlap, *planned.partitions[2:]))
    with pytest.raises(ProaError) as failed:
        write_table(tmp_path / "disk.raw", broken)
    assert failed.value.code is Code.DEVICE


@both_sectors
@pytest.mark.parametrize("copy", ["primary", "backup"])
def test_one_damaged_copy_is_no_loss(tmp_path: Path, sector_size: int, copy: str) -> None:
    image, planned = tmp_path / "disk.raw", small_disk(sector_size)
    write_table(image, planned)
    damage(image, sector_size if copy == "primary" else planned.disk_size - sector_size)
    found = read_layout(image)
    assert found.partitions == planned.partitions


@pytest.mark.parametrize("missing", [MIB, 40 * MIB])
@both_sectors
def test_an_image_cut_short_is_named_as_such(tmp_path: Path, sector_size: int, missing: int) -> None:
    image, planned = tmp_path / "disk.raw", small_disk(sector_size)
    write_table(image, planned)
    os.truncate(image, planned.disk_size - missing)
    with pytest.raises(ProaError) as failed:
        read_layout(image)
    assert failed.value.code is Code.NO_DISK
    assert str(planned.disk_size) in failed.value.message
    assert str(planned.disk_size - missing) in failed.value.message


@pytest.mark.parametrize("content", [b"", bytes(MIB), b"EFI PART" * 100_000])
def test_what_has_no_table_is_no_disk(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(content)
    with pytest.raises(ProaError) as failed:
        read_layout(image)
    assert failed.value.code is Code.NO_DISK


def renamed(planned: Layout, number: int, name: str) -> Layout:
    partitions = list(planned.partitions)
    partitions[number - 1] = dataclasses.replace(partitions[number - 1], name=name)
    return dataclasses.replace(planned, partitions=tuple(partitions))


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [(6, "ROOT-A", Code.AMBIGUOUS), (5, "DATA", Code.NO_DISK), (1, "EFI", Code.NO_DISK), (4, "", Code.NO_DISK)],
)
@both_sectors
def test_names_must_be_ours_each_once(tmp_path: Path, sector_size: int, number: int, name: str, code: Code) -> None:
    image = tmp_path / "disk.raw"
    write_table(image, renamed(small_disk(sector_size), number, name))
    with pytest.raises(ProaError) as failed:
        read_layout(image)
    assert failed.value.code is code


def test_names_at_other_numbers_are_refused() -> None:
    swapped = renamed(renamed(small_disk(), 5, "ROOT-B"), 6, "ROOT-A")
    with pytest.raises(ProaError) as failed:
        check_names(swapped, "disk")
    assert failed.value.code is Code.NO_DISK
    assert "number 5" in failed.value.message


@pytest.mark.parametrize(
    ("words", "bits"),
    [
        ("", 0),
        ("GUID:48", 1 << 48),
        ("RequiredPartition GUID:48,63", 1 | 1 << 48 | 1 << 63),
        ("LegacyBIOSBootable NoBlockIOProtocol", 6),
    ],
)
def test_attributes_as_sfdisk_writes_them(words: str, bits: int) -> None:
    assert attributes(words) == bits


@settings(max_examples=50)
@given(position=st.integers(0, 91), bit=st.integers(0, 7))
def test_a_header_with_any_bit_flipped_is_not_taken(position: int, bit: int) -> None:
    header = gpt.Header(b"EFI PART", 0x10000, 92, 0, 0, 1, 99, 34, 66, bytes(range(16)), 2, 128, 128, 7)
    sector = bytearray(header.encode().ljust(512, b"\0"))
    assert gpt.decode(bytes(sector)) is not None
    sector[position] ^= 1 << bit
    assert gpt.decode(bytes(sector)) is None


def test_stamping_refuses_a_disk_that_is_laid_out_otherwise(tmp_path: Path) -> None:
    image, planned = tmp_path / "disk.raw", small_disk()
    write_table(image, planned)
    before = piece(image, 0, MIB)
    other = plan(LayoutRequest("table", Sizes(uki=4 * MIB, root=16 * MIB, persist=16 * MIB)))
    for wrong in (other, small_disk(4096)):
        with pytest.raises(ProaError) as failed:
            gpt.stamp(image, wrong)
        assert failed.value.code is Code.DEVICE
    assert piece(image, 0, MIB) == before


@pytest.mark.contract
def test_sgdisk_and_sfdisk_find_no_problem_in_an_image(tmp_path: Path) -> None:
    image, planned = tmp_path / "disk.raw", small_disk()
    write_table(image, planned)
    assert "No problems found" in tool("sgdisk", "--verify", image)
    assert "No errors detected" in tool("sfdisk", "--verify", image)
    for partition in planned.partitions:
        words = tool("sgdisk", f"--info={partition.number}", image)
        assert f"unique GUID: {partition.guid.upper()}" in words
        assert f"GUID code: {partition.type_guid.upper()}" in words
        assert f"First sector: {partition.start // 512} " in words
        assert f"'{partition.name}'" in words
        assert f"{partition.attributes:016X}" in words
    assert planned.disk_guid.upper() in tool("sgdisk", "--print", image)


@pytest.mark.contract
@both_sectors
def test_judges_agree_on_a_device(tmp_path: Path, sector_size: int) -> None:
    """An image written as a file, seen as a device; and a device written as such."""
    image, planned = tmp_path / "disk.raw", small_disk(sector_size)
    write_table(image, planned)
    with attached(image, sector_size) as node:
        judge(node, planned)
        again = small_disk(sector_size, seed="again")
        write_table(node, again)
        judge(node, again)
    assert read_layout(image) == again


@pytest.mark.contract
@both_sectors
def test_the_kernel_takes_the_table(tmp_path: Path, sector_size: int) -> None:
    image, planned = tmp_path / "disk.raw", small_disk(sector_size)
    write_table(image, planned)
    with attached(image, sector_size) as node:
        assert blockdev.tell_kernel(node)
        for partition in planned.partitions:
            folder = Path("/sys/block") / node.name / f"{node.name}p{partition.number}"
            assert int((folder / "start").read_text()) * 512 == partition.start
            assert int((folder / "size").read_text()) * 512 == partition.size


@pytest.mark.contract
def test_a_device_of_other_sectors_too_small_or_in_use_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.touch()
    os.truncate(image, small_disk().disk_size)
    with attached(image, 512) as node:
        for wrong in (small_disk(4096), plan(LayoutRequest("x", SMALL, disk_size=small_disk().disk_size + 512))):
            with pytest.raises(ProaError) as refused:
                write_table(node, wrong)
            assert refused.value.code is Code.LAYOUT
        holder = os.open(node, os.O_RDWR | os.O_EXCL)  # as a mount or the device mapper holds it
        try:
            with pytest.raises(ProaError) as refused:
                write_table(node, small_disk())
        finally:
            os.close(holder)
        assert refused.value.code is Code.DEVICE_BUSY
        assert piece(node, 0, MIB) == bytes(MIB)
        with pytest.raises(ProaError) as no_table:
            read_layout(node)
        assert no_table.value.code is Code.NO_DISK


@pytest.mark.contract
def test_an_image_on_a_device_of_other_sectors_is_named_as_such(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    write_table(image, small_disk(512))
    with attached(image, 4096) as node, pytest.raises(ProaError) as failed:
        read_layout(node)
    assert failed.value.code is Code.NO_DISK
    assert "sectors of 512 bytes" in failed.value.message


def judge(node: Path, planned: Layout) -> None:
    assert "No problems found" in tool("sgdisk", "--verify", node)
    assert "No errors detected" in tool("sfdisk", "--verify", node)
    assert read_layout(node) == planned


def piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def damage(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 64)


@pytest.mark.parametrize("bit", [0, 2, 5, 30, 47, 48, 63])
def test_s12_whatever_attributes_a_strangers_tool_has_set_the_table_is_read(tmp_path: Path, bit: int) -> None:
    image, planned = tmp_path / "disk.raw", small_disk()
    marked = dataclasses.replace(planned.partitions[0], attributes=1 << bit)
    write_table(image, dataclasses.replace(planned, partitions=(marked, *planned.partitions[1:])))
    found = read_layout(image)
    assert [partition.guid for partition in found.partitions] == [partition.guid for partition in planned.partitions]


@pytest.mark.parametrize(
    "told",
    [b"{}", b"[" * 100_000, b'{"partitiontable": null}', b'{"partitiontable": {"label": "gpt"}}', b"\xff", b""],
)
def test_s12_a_table_that_cannot_be_understood_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bytes
) -> None:
    """As another version of sfdisk might tell it."""
    (tmp_path / "told").write_bytes(told)
    program = tmp_path / "bin/sfdisk"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec cat {tmp_path}/told\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    image = tmp_path / "disk.raw"
    write_table(image, small_disk())
    with pytest.raises(ProaError) as caught:
        read_layout(image)
    assert (caught.value.code, caught.value.at) == (Code.NO_DISK, str(image))
