"""PERSIST: equal bytes from equal inputs, nothing around it touched, whole after growing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.partition.disk import growing, persist
from proa.partition.disk.contents import Content, fill, probe
from proa.partition.disk.layout import MIB, LayoutRequest, Sizes, plan
from proa.partition.disk.slots import Extent, open_image
from proa.partition.disk.table import write_table

UUID = "6f1d0b0a-5c5e-4a55-8b7e-0d8a3f0e7c11"
EPOCH = 1_700_000_000
MIDDLE = (MIB, 16 * MIB)
"""Start and size of the file system in :func:`image`."""
WHOLE = 18 * MIB


def e2fs(*argv: object) -> str:
    words = [str(word) for word in argv]
    words[0] = shutil.which(words[0], path="/usr/sbin:/usr/bin:/sbin:/bin") or words[0]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.touch()
    os.truncate(path, WHOLE)
    return path


def tree(folder: Path, names: list[str]) -> Path:
    """A folder whose files were made in this order, just now."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {name}\n")
        file.chmod(0o640)
    return folder


def test_equal_inputs_are_equal_bytes(image: Path, tmp_path: Path) -> None:
    names = ["etc/a/upper/hostname", "var/lib/x", "home/with space", "z"]
    digests = []
    for number, order in enumerate((names, names[::-1])):
        folder = tree(tmp_path / f"tree{number}", order)
        image.unlink()
        image.touch()
        os.truncate(image, WHOLE)
        persist.make(Extent(image, *MIDDLE), uuid=UUID, epoch=EPOCH, folder=folder)
        digests.append(hashlib.sha256(image.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("with_folder", [False, True])
def test_the_umask_is_not_in_it(image: Path, tmp_path: Path, with_folder: bool) -> None:
    folder = tree(tmp_path / "tree", ["var/lib/x"]) if with_folder else None
    digests = []
    for mask in (0o022, 0o077):
        image.unlink()
        image.touch()
        os.truncate(image, WHOLE)
        before = os.umask(mask)
        try:
            persist.make(Extent(image, *MIDDLE), uuid=UUID, epoch=EPOCH, folder=folder)
        finally:
            os.umask(before)
        digests.append(hashlib.sha256(image.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_the_file_system_is_whole_and_has_what_was_asked(image: Path, tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", ["var/lib/x", "home/with space"])
    extent = Extent(image, *MIDDLE)
    persist.make(extent, uuid=UUID, epoch=EPOCH, folder=folder)
    target = f"{image}?offset={extent.offset}"
    e2fs("e2fsck", "-f", "-n", target)
    facts = e2fs("debugfs", "-R", "stats -h", target)  # dumpe2fs 1.47.2 takes no offset
    for words in ("Filesystem volume name:   PERSIST", UUID, "Block size:               4096", "metadata_csum"):
        assert words in facts
    assert e2fs("debugfs", "-R", 'cat "/home/with space"', target) == "content of home/with space\n"
    facts = e2fs("debugfs", "-R", "stat /var/lib/x", target)
    assert "User:     0   Group:     0" in facts
    assert "Mode:  0640" in facts
    assert facts.count(f"{EPOCH:#x}:00000000") == 4
    assert probe(extent) == Content("ext4", extent.size, "PERSIST")


def test_bytes_around_it_stay(image: Path) -> None:
    image.write_bytes(b"\xaa" * WHOLE)
    start, size = MIDDLE
    persist.make(Extent(image, start, size), uuid=UUID, epoch=EPOCH)
    data = image.read_bytes()
    assert len(data) == WHOLE
    assert data[:start].count(0xAA) == start
    assert data[start + size :].count(0xAA) == WHOLE - start - size


def test_a_partition_too_small_or_a_folder_too_large_is_told(image: Path, tmp_path: Path) -> None:
    with pytest.raises(ProaError) as small:
        persist.make(Extent(image, 0, 15 * MIB), uuid=UUID, epoch=EPOCH)
    assert small.value.code is Code.LAYOUT
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(b"x" * 14 * MIB)
    with pytest.raises(ProaError) as large:
        persist.make(Extent(image, *MIDDLE), uuid=UUID, epoch=EPOCH, folder=tmp_path / "tree")
    assert large.value.code is Code.TOO_LARGE


def test_names_that_debugfs_cannot_take_are_refused(image: Path, tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", ['a "quoted" name'])
    with pytest.raises(ProaError) as failed:
        persist.make(Extent(image, *MIDDLE), uuid=UUID, epoch=EPOCH, folder=folder)
    assert failed.value.code is Code.CONFIG_VALUE


def test_reset_empties_it(image: Path, tmp_path: Path) -> None:
    extent = Extent(image, *MIDDLE)
    persist.make(extent, uuid=UUID, epoch=EPOCH, folder=tree(tmp_path / "tree", ["var/lib/x"]))
    persist.reset(extent, uuid=UUID, epoch=int(time.time()))
    listing = e2fs("debugfs", "-R", "ls -p /", f"{image}?offset={extent.offset}")
    names = [line.split("/")[5] for line in listing.splitlines() if line.startswith("/")]
    assert names == [".", "..", "lost+found", ".proa"]


def test_filling_checks_the_size_and_touches_nothing_else(image: Path, tmp_path: Path) -> None:
    source = tmp_path / "content"
    source.write_bytes(b"x" * MIB + bytes(3 * MIB) + b"y" * 100)
    extent = Extent(image, 8 * MIB, 8 * MIB)
    fill(extent, source)
    assert image.stat().st_blocks * 512 < 2 * MIB, "holes stay holes"
    data = image.read_bytes()
    assert data[8 * MIB : 12 * MIB + 100] == source.read_bytes()
    assert not data[: 8 * MIB].strip(b"\0")
    with pytest.raises(ProaError) as refused:
        fill(Extent(image, 8 * MIB, 4 * MIB), source)
    assert refused.value.code is Code.TOO_LARGE
    for size in (4 * MIB + 100, 4 * MIB):
        assert str(size) in refused.value.message
    assert image.read_bytes() == data


@pytest.mark.parametrize(
    ("content", "kind"), [(b"", "empty"), (b"\x01", "unknown"), (b"\xff" * 4096, "unknown"), (bytes(MIB), "empty")]
)
def test_a_partition_tells_what_it_holds(image: Path, content: bytes, kind: str) -> None:
    with image.open("r+b") as file:
        file.seek(MIB)
        file.write(content)
    assert probe(Extent(image, MIB, MIB)).kind == kind


@pytest.mark.contract
def test_erofs_and_fat_are_told(image: Path, tmp_path: Path) -> None:
    tree(tmp_path / "tree", ["a", "b/c"])
    e2fs("mkfs.erofs", "--quiet", tmp_path / "root.erofs", tmp_path / "tree")
    fill(Extent(image, MIB, MIB), tmp_path / "root.erofs")
    assert probe(Extent(image, MIB, MIB)) == Content("erofs", (tmp_path / "root.erofs").stat().st_size)
    for bits, size in (("12", MIB), ("32", 280 * MIB)):
        path = tmp_path / f"fat{bits}"
        path.touch()
        os.truncate(path, size)
        e2fs("mkfs.fat", "-F", bits, "-n", "LABEL", path)
        found = probe(Extent(path, 0, size))
        assert (found.kind, found.name) == ("fat", "LABEL")
        assert size - 64 * 1024 < (found.size or 0) <= size  # mkfs.fat rounds down to whole tracks


@pytest.mark.contract
def test_it_grows_with_its_partition(tmp_path: Path) -> None:
    """As on the node: the table first, then the file system, here to a thousand times its size."""
    disk = tmp_path / "disk.raw"
    write_table(disk, plan(LayoutRequest("grow", Sizes(uki=MIB, root=MIB, persist=64 * MIB))))
    persist.make(open_image(disk).partitions["PERSIST"], uuid=UUID, epoch=EPOCH)
    os.truncate(disk, 64 << 30)
    growing.write(disk, growing.plan(disk))
    extent = open_image(disk).partitions["PERSIST"]
    target = f"{disk}?offset={extent.offset}"
    e2fs("e2fsck", "-f", "-y", target)
    assert probe(extent).size == 64 * MIB
    node = e2fs("losetup", "--find", "--show", "--offset", extent.offset, "--sizelimit", extent.size, disk).strip()
    try:
        e2fs("resize2fs", node)
    finally:
        e2fs("losetup", "--detach", node)
    e2fs("e2fsck", "-f", "-n", target)
    assert probe(extent).size == extent.size


@pytest.mark.contract
def test_reset_refuses_a_mounted_file_system(image: Path, tmp_path: Path) -> None:
    extent = Extent(image, *MIDDLE)
    persist.make(extent, uuid=UUID, epoch=EPOCH)
    node = e2fs("losetup", "--find", "--show", "--offset", extent.offset, "--sizelimit", extent.size, image).strip()
    (tmp_path / "mnt").mkdir()
    try:
        e2fs("mount", node, tmp_path / "mnt")
        try:
            (tmp_path / "mnt" / "kept").write_text("kept")
            with pytest.raises(ProaError) as refused:
                persist.reset(Extent(Path(node), 0, extent.size), uuid=UUID, epoch=EPOCH)
            assert (tmp_path / "mnt" / "kept").read_text() == "kept"
        finally:
            e2fs("umount", tmp_path / "mnt")
        persist.reset(Extent(Path(node), 0, extent.size), uuid=UUID, epoch=EPOCH)
    finally:
        e2fs("losetup", "--detach", node)
    assert refused.value.code is Code.DEVICE_BUSY


def test_a_reset_is_asked_for_only_where_persist_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        persist.request_reset(tmp_path)
    assert (caught.value.code, caught.value.at) == (Code.NO_DISK, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_s16_a_recovery_key_is_shown_until_it_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / ".proa").mkdir()
    (tmp_path / ".proa/recovery-key").write_text("cbdefghi-jklnrtuv\n")
    assert [persist.recovery_key(tmp_path) for _ in range(2)] == ["cbdefghi-jklnrtuv"] * 2
    persist.remove_recovery_key(tmp_path)
    assert list((tmp_path / ".proa").iterdir()) == []
    with pytest.raises(ProaError) as caught:
        persist.recovery_key(tmp_path)
    assert (caught.value.code, caught.value.at) == (Code.FILE_MISSING, str(tmp_path / ".proa/recovery-key"))
    assert "persist.encryption" in caught.value.hint
