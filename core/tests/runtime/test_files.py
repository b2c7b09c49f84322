"""File helpers: nothing half done under a final name, and reads that come from the medium."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import ALIGNMENT, DirectFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.replace(path, b"old")
    files.replace(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["state.json"]


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(ProaError) as caught:
        files.replace(path, b"a file cannot replace a folder")
    assert caught.value.code is Code.FILE_MISSING
    assert caught.value.at == str(path)
    assert names(tmp_path) == ["folder"]


def test_a_replacement_in_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        files.replace(tmp_path / "no" / "file", b"")
    assert caught.value.code is Code.FILE_MISSING


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.DISK_FULL),
        (errno.EDQUOT, Code.DISK_FULL),
        (errno.EIO, Code.DEVICE),
        (errno.EROFS, Code.DEVICE),
        (errno.ENOENT, Code.FILE_MISSING),
        (errno.ENOTDIR, Code.FILE_MISSING),
        (errno.EEXIST, Code.FILE_EXISTS),
        (errno.EBUSY, Code.DEVICE_BUSY),
        (errno.EACCES, Code.FILE_DENIED),
        (errno.EPERM, Code.FILE_DENIED),
    ],
)
def test_errors_of_the_system_get_a_code(number: int, code: Code) -> None:
    with pytest.raises(ProaError) as caught, files.os_errors("/dev/vda"):
        raise OSError(number, os.strerror(number))
    assert (caught.value.code, caught.value.at, caught.value.message) == (code, "/dev/vda", os.strerror(number))


def test_an_error_of_our_own_passes_through() -> None:
    with pytest.raises(ProaError, match="mine") as caught, files.os_errors("there"):
        raise ProaError(Code.BUSY, "mine", at="here")
    assert caught.value.at == "here"


def test_two_folders_are_swapped_at_one_stroke(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    files.exchange(tmp_path / "one", tmp_path / "two")
    assert (names(tmp_path / "one"), names(tmp_path / "two")) == (["two"], ["one"])


def test_a_name_that_is_taken_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    with pytest.raises(FileExistsError):
        files.rename_new(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").read_text() == "2"
    files.rename_new(tmp_path / "one", tmp_path / "three")
    assert names(tmp_path) == ["three", "two"]


def test_both_must_be_there_to_be_swapped(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    with pytest.raises(ProaError) as caught, files.os_errors(tmp_path):
        files.exchange(tmp_path / "one", tmp_path / "two")
    assert caught.value.code is Code.FILE_MISSING
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("before", [[], ["old"]])
def test_a_folder_gets_its_name_when_it_is_done(tmp_path: Path, before: list[str]) -> None:
    final = tmp_path / "deep" / "out"
    for name in before:
        final.mkdir(parents=True)
        (final / name).touch()
    with files.new_folder(final) as work:
        (work / "new").write_text("1")
        assert final.exists() is bool(before)
    assert names(final) == ["new"]
    assert final.stat().st_mode & 0o777 == 0o755
    assert names(final.parent) == ["out"]


@pytest.mark.parametrize("error", [OSError("mine"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_folder_that_failed_leaves_no_trace(tmp_path: Path, error: BaseException) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").touch()

    def make() -> None:
        with files.new_folder(final) as work:
            (work / "half").touch()
            raise error

    with pytest.raises(type(error)):
        make()
    assert names(final) == ["old"]
    assert names(tmp_path) == ["out"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_be_renamed(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(ProaError), files.new_folder(final) as work:
        work.rename(tmp_path / "elsewhere")
    assert names(final) == ["old"]
    assert names(tmp_path) == ["elsewhere", "out"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProaError) as caught, files.new_folder(tmp_path / "file" / "out"):
        pass
    assert caught.value.code is Code.FILE_EXISTS


def test_a_file_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    assert files.sha256(path) == hashlib.sha256(b"x" * 100_000).hexdigest()
    with pytest.raises(ProaError) as caught:
        files.sha256(tmp_path / "missing")
    assert caught.value.code is Code.FILE_MISSING


@pytest.fixture(params=["direct", "cached"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file of 40000 bytes (no multiple of a sector), where direct I/O is to be had and where it is not."""
    folder = tmp_path if request.param == "direct" else Path(f"/dev/shm/proa-test-{os.getpid()}")  # noqa: S108 -- tmpfs
    folder.mkdir(exist_ok=True)
    path = folder / "disk"
    path.write_bytes(bytes(index % 251 for index in range(40_000)))
    yield path
    path.unlink()
    if folder != tmp_path:
        folder.rmdir()


def test_what_is_written_reads_back(disk: Path) -> None:
    with DirectFile(disk, writable=True) as file, file.buffer(2 * ALIGNMENT) as out, file.buffer(ALIGNMENT) as back:
        out[:] = b"w" * len(out)
        file.write(ALIGNMENT, out)
        file.read_into(2 * ALIGNMENT, back)
        file.flush()
        assert back[:] == b"w" * ALIGNMENT
    found = disk.read_bytes()
    assert found[ALIGNMENT : 3 * ALIGNMENT] == b"w" * (2 * ALIGNMENT)
    assert len(found) == 40_000


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 1), (1, 4095), (4095, 2), (512, 8192), (39_999, 1), (36_864, 3136), (0, 40_000), (7, 0)]
)
def test_any_piece_can_be_read(disk: Path, offset: int, size: int) -> None:
    with DirectFile(disk) as file:
        assert file.read(offset, size) == disk.read_bytes()[offset : offset + size]


@pytest.mark.parametrize(("offset", "size"), [(39_999, 2), (40_000, 1), (1 << 20, 4096)])
def test_reading_behind_the_end_is_an_error(disk: Path, offset: int, size: int) -> None:
    with DirectFile(disk) as file, pytest.raises(ProaError, match="early") as caught:
        file.read(offset, size)
    assert caught.value.code is Code.DEVICE


def test_a_buffer_can_be_closed_after_an_error(disk: Path) -> None:
    with DirectFile(disk) as file, pytest.raises(ProaError), file.buffer(ALIGNMENT) as buffer:
        file.read_into(1 << 20, buffer)


def test_writing_where_it_is_not_allowed_is_an_error(disk: Path) -> None:
    with DirectFile(disk) as file, file.buffer(ALIGNMENT) as buffer, pytest.raises(ProaError) as caught:
        file.write(0, buffer)
    assert caught.value.code is Code.DEVICE
    assert caught.value.at == f"{disk} at byte 0"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        DirectFile(tmp_path / "missing")
    assert caught.value.code is Code.FILE_MISSING


def test_a_file_is_no_device_and_is_held_by_nobody(disk: Path) -> None:
    with DirectFile(disk, writable=True, exclusive=True) as one, DirectFile(disk, writable=True, exclusive=True) as two:
        assert (one.number, two.number) == ("", "")


def test_closing_twice_is_harmless(disk: Path) -> None:
    """Whoever opens something in between is given the same number, and keeps it."""
    file = DirectFile(disk)
    file.close()
    with disk.open("rb") as other:
        file.close()
        assert os.fstat(other.fileno()).st_size == disk.stat().st_size


def test_a_folder_can_be_flushed(tmp_path: Path) -> None:
    files.fsync_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        files.fsync_folder(Path("/dev/null"))


@pytest.mark.contract
def test_a_device_that_is_full_is_told() -> None:
    with pytest.raises(ProaError) as caught, files.os_errors("/dev/full"):
        Path("/dev/full").write_bytes(b"x")
    assert caught.value.code is Code.DISK_FULL


@pytest.mark.parametrize("number", [errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG])
def test_b13_a_wrong_path_is_no_failing_disk(number: int) -> None:
    with pytest.raises(ProaError) as caught, files.os_errors("there"):
        raise OSError(number, os.strerror(number))
    assert caught.value.code is not Code.DEVICE
    assert "kernel log" not in caught.value.hint
    assert caught.value.message != os.strerror(number)
