"""What is said to be on the medium is there: real ext4 and loop devices, whose backing file is what a power cut leaves.

A mounted file system and a block device have a page cache above their backing file, so a copy of that file holds just
what was flushed. Faults are made below the system call, by strace, which answers calls of a real process as it is told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code
from proa.core.runtime.files import ALIGNMENT, DirectFile, new_folder, replace

pytestmark = pytest.mark.contract
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MIB = 1 << 20
OLD, NEW = b"what was there\n" * 100, b"what is to be there\n" * 100


def program(name: str, *words: object) -> str:
    argv = [shutil.which(name, path=PATH) or name, *(str(word) for word in words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty ext4 in a file."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    program("mke2fs", "-q", "-F", "-t", "ext4", path)
    return path


@contextmanager
def mounted(image: Path, folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    program("mount", "-o", f"loop,{options}", image, folder)
    try:
        yield folder
    finally:
        program("umount", folder)


@pytest.fixture
def disk(image: Path, tmp_path: Path) -> Iterator[Path]:
    """That file system, mounted: nothing gets to the medium by the passing of time."""
    with mounted(image, tmp_path / "disk", "commit=3600") as folder:
        yield folder


def after_power_cut(image: Path, tmp_path: Path) -> Path:
    """A copy of the medium as it is now; its journal is replayed when it is mounted."""
    left = tmp_path / "left"
    shutil.copyfile(image, left)
    return left


@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
def test_a_replaced_file_survives_the_power_cut_that_follows_at_once(
    image: Path, disk: Path, tmp_path: Path, before: bytes | None
) -> None:
    path = disk / "state"
    if before is not None:
        path.write_bytes(before)
    os.sync()
    replace(path, NEW, 0o600)
    with mounted(after_power_cut(image, tmp_path), tmp_path / "after", "rw") as folder:
        assert (folder / "state").read_bytes() == NEW
        assert (folder / "state").stat().st_mode & 0o777 == 0o600
        assert {path.name for path in folder.iterdir()} == {"state", "lost+found"}


def test_a_new_folder_has_its_name_after_a_power_cut(image: Path, disk: Path, tmp_path: Path) -> None:
    os.sync()
    with new_folder(disk / "final") as work:
        replace(work / "file", NEW)
    with mounted(after_power_cut(image, tmp_path), tmp_path / "after", "rw") as folder:
        assert (folder / "final/file").read_bytes() == NEW


def test_a_plain_write_would_be_lost(image: Path, disk: Path, tmp_path: Path) -> None:
    """The cut is one: what nobody has flushed is not in the copy."""
    os.sync()
    (disk / "state").write_bytes(NEW)
    with mounted(after_power_cut(image, tmp_path), tmp_path / "after", "rw") as folder:
        assert not (folder / "state").exists()


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """The bytes below a block device."""
    path = tmp_path / "medium"
    path.write_bytes(b"\1" * MIB)
    return path


@pytest.fixture
def device(medium: Path) -> Iterator[Path]:
    """The block device."""
    node = Path(program("losetup", "--find", "--show", medium).strip())
    try:
        yield node
    finally:
        program("losetup", "--detach", node)


def written(medium: Path, offset: int, data: bytes) -> None:
    """Change the medium behind the device's back."""
    with medium.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def test_what_is_read_comes_from_the_medium(medium: Path, device: Path) -> None:
    with DirectFile(device) as file:
        assert file.direct
        assert file.read(0, ALIGNMENT) == b"\1" * ALIGNMENT
        written(medium, 0, b"\2" * ALIGNMENT)
        assert file.read(0, ALIGNMENT) == b"\2" * ALIGNMENT


def test_what_is_written_is_on_the_medium_once_it_is_flushed(medium: Path, device: Path) -> None:
    with DirectFile(device, writable=True) as file, DirectFile.buffer(ALIGNMENT) as buffer:
        buffer[:] = b"\3" * ALIGNMENT
        file.write(ALIGNMENT, buffer)
        file.flush()
        assert medium.read_bytes()[ALIGNMENT : 2 * ALIGNMENT] == b"\3" * ALIGNMENT


HEAD = """
    import os, sys
    from pathlib import Path
    from proa.core.runtime.errors import ProaError
    from proa.core.runtime.files import ALIGNMENT, DirectFile, replace

    device, medium = Path(sys.argv[1]), Path(sys.argv[2])
"""


def under_strace(code: str, device: Path, medium: Path, *faults: str) -> tuple[str, str]:
    """What a program of ours prints, and complains of, whose system calls about a path fail as they are told to."""
    argv = [shutil.which("strace", path=PATH) or "strace", "-f", "-qq", "-o", "/dev/null"]
    argv += ["-P", str(device), *(word for fault in faults for word in ("-e", f"inject={fault}"))]
    argv += [sys.executable, "-c", textwrap.dedent(HEAD) + textwrap.dedent(code), str(device), str(medium)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


NO_DIRECT_IO = "openat:error=EINVAL:when=1"
"""As file systems without direct I/O answer the first open(2), the one with O_DIRECT."""


def test_without_direct_io_what_is_read_comes_from_the_medium_too(medium: Path, device: Path) -> None:
    code = """
        with DirectFile(device) as file:
            assert not file.direct
            file.read(0, ALIGNMENT)
            with medium.open("r+b") as below:
                below.write(b"\\2" * ALIGNMENT)
            print(file.read(0, ALIGNMENT) == b"\\2" * ALIGNMENT)
    """
    assert under_strace(code, device, medium, NO_DIRECT_IO) == ("True\n", "")


def test_without_direct_io_what_was_written_is_read_back_from_the_medium(medium: Path, device: Path) -> None:
    """Dirty pages cannot be dropped: before it reads, it has them written."""
    code = """
        with DirectFile(device, writable=True) as file, DirectFile.buffer(ALIGNMENT) as buffer:
            assert not file.direct
            buffer[:] = b"\\3" * ALIGNMENT
            file.write(0, buffer)
            cached = medium.read_bytes()[:1] == b"\\1"
            file.read(0, ALIGNMENT)
            print(cached, medium.read_bytes()[:ALIGNMENT] == b"\\3" * ALIGNMENT)
    """
    assert under_strace(code, device, medium, NO_DIRECT_IO) == ("True True\n", "")


def test_without_direct_io_a_flush_brings_all_to_the_medium(medium: Path, device: Path) -> None:
    code = """
        with DirectFile(device, writable=True) as file, DirectFile.buffer(ALIGNMENT) as buffer:
            buffer[:] = b"\\3" * ALIGNMENT
            file.write(0, buffer)
            cached = medium.read_bytes()[:1] == b"\\1"
            file.flush()
            print(cached, medium.read_bytes()[:ALIGNMENT] == b"\\3" * ALIGNMENT)
    """
    assert under_strace(code, device, medium, NO_DIRECT_IO) == ("True True\n", "")


@pytest.mark.parametrize(
    ("act", "faults"),
    [("flush()", ("fsync:error=EIO",)), ("read(0, ALIGNMENT)", (NO_DIRECT_IO, "fdatasync:error=EIO"))],
    ids=["at the end", "before it is read"],
)
def test_a_device_that_cannot_flush_is_told(medium: Path, device: Path, act: str, faults: tuple[str, ...]) -> None:
    code = f"""
        try:
            with DirectFile(device, writable=True) as file, DirectFile.buffer(ALIGNMENT) as buffer:
                file.write(0, buffer)
                file.{act}
        except ProaError as error:
            print(error.code.name, error.message)
    """
    assert under_strace(code, device, medium, *faults) == (f"{Code.DEVICE.name} Input/output error\n", "")


def test_a_file_whose_folder_cannot_be_flushed_is_not_said_to_be_replaced(tmp_path: Path) -> None:
    code = """
        try:
            replace(medium, b"new")
            print("replaced")
        except ProaError as error:
            print(error.code.name)
    """
    path = tmp_path / "state"
    path.write_bytes(OLD)
    assert under_strace(code, tmp_path, path, "fsync:error=EIO") == (f"{Code.DEVICE.name}\n", "")
    assert path.read_bytes() in (OLD, b"new")
    assert [found.name for found in tmp_path.iterdir()] == ["state"]
