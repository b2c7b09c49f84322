"""Small file helpers: atomic replacement, flushing, and reading past the page cache."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from proa.core.runtime import zeroes
from proa.core.runtime.defects import LIMITS
from proa.core.runtime.errors import Code, ProaError

_CODES = {
    errno.ENOSPC: Code.DISK_FULL,
    errno.EDQUOT: Code.DISK_FULL,
    errno.ENOENT: Code.FILE_MISSING,
    errno.ENOTDIR: Code.FILE_MISSING,
    errno.EACCES: Code.FILE_DENIED,
    errno.EPERM: Code.FILE_DENIED,
    errno.EEXIST: Code.FILE_EXISTS,
    errno.EBUSY: Code.DEVICE_BUSY,
    errno.EISDIR: Code.FILE_MISSING,
    errno.ELOOP: Code.FILE_MISSING,
    errno.ENAMETOOLONG: Code.FILE_MISSING,
    errno.EFBIG: Code.RESOURCES,
    **dict.fromkeys(LIMITS, Code.RESOURCES),
}
_WORDS = {
    errno.EFBIG: ("no file may be as large as this one", "Raise the limit (ulimit -f), or use another file system."),
    errno.EISDIR: ("the path is a folder, but must be a file", "Name a file."),
    errno.ELOOP: ("links on the path lead in a circle", "Check where each link leads."),
    errno.ENAMETOOLONG: ("the path is too long", "Use a shorter one."),
}
"""What is wrong with a path, where the system's own words or the code's hint would mislead."""
ALIGNMENT = 4096
"""Offsets, lengths and buffers of direct I/O are multiples of this many bytes (any sector size up to it)."""


def fsync_folder(folder: Path) -> None:
    """Flush a folder, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` so that a reader, or the next boot, sees the old file or the new one, whole.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    with os_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def exchange(one: Path, two: Path) -> None:
    """Swap two files or folders of one file system atomically: each name always refers to one of them.

    Raises:
        OSError: As renameat2(2) with ``RENAME_EXCHANGE``.
    """
    if _renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(two), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(two))


def rename_new(path: Path, name: Path) -> None:
    """Give a file its final name, but never replace what another process has created in the meantime.

    Raises:
        OSError: As renameat2(2) with ``RENAME_NOREPLACE``: ``EEXIST`` when the name is taken.
    """
    if _renameat2(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(name), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        if number == errno.EINVAL and not os.path.lexists(name):  # some network file systems cannot do it at one stroke
            path.rename(name)
            return
        raise OSError(number, os.strerror(number), str(name))


_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
_renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder that gets its final name only if the block succeeds; otherwise it is removed.

    An earlier folder of that name is replaced.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    with os_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        work = final.with_name(f".{final.name}.{secrets.token_hex(6)}")
        work.mkdir()  # by the caller's mask
    try:
        yield work
        with os_errors(final):
            _put(work, final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put(work: Path, final: Path) -> None:
    """Rename a folder, the one it replaces being put back if that fails."""
    old = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.old."))
    try:
        if os.path.lexists(final):
            final.rename(old / "it")
        try:
            work.rename(final)
        except BaseException:
            if os.path.lexists(old / "it"):
                (old / "it").rename(final)
            raise
        fsync_folder(final.parent)
    finally:
        if os.path.lexists(final):
            shutil.rmtree(old, ignore_errors=True)


def check_storage(path: Path) -> None:
    """Refuse what is neither a file nor a block device: opening a pipe waits for its other end.

    Raises:
        ProaError: ``FILE_MISSING``, ``FILE_DENIED`` or ``DEVICE``.
    """
    with os_errors(path):
        mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        what = "it is neither a file nor a block device"
        raise ProaError(Code.DEVICE, what, at=path, hint="Name an image file or a disk.")


def check_writable(folder: Path) -> None:
    """Check that a folder can be written to, or made, without making it: before dear work, not after it.

    Raises:
        ProaError: ``PERMISSION`` or whatever else writing there would raise; ``FILE_TYPE`` when a file is in the way.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    with os_errors(folder):
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
        tempfile.TemporaryFile(dir=there).close()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def real(path: Path) -> Path:
    """The path without links. Where they lead in a circle it stays as it is: whoever opens it is told."""
    return Path(os.path.realpath(path))


@contextmanager
def os_errors(at: object) -> Iterator[None]:
    """Turn an ``OSError`` into the error a user meets."""
    try:
        yield
    except OSError as error:
        raise user_error(error, at) or ProaError(Code.DEVICE, f"{error.strerror or error}", at=at) from error


def user_error(error: OSError, at: object = "") -> ProaError | None:
    """The error that a user sees; none if neither a missing file, a permission nor a full disk explains it.

    Args:
        error: What the system said.
        at: Where; else the file that the system names.
    """
    code = _CODES.get(error.errno or 0)
    words, hint = _WORDS.get(error.errno or 0, (f"{error.strerror or error}", ""))
    return ProaError(code, words, at=at or error.filename or "", hint=hint) if code else None


class DirectFile:
    """A device or file that is read and written at aligned offsets, bypassing the page cache.

    Where the file system has no direct I/O (tmpfs), the cache is dropped by ``posix_fadvise`` before each
    read instead, which is as much as it can do.

    Args:
        path: The device node or image file.
        writable: Whether it is opened for writing too.
        exclusive: Whether a device is held as a mount holds it, until it is closed; a file is not.

    Raises:
        ProaError: ``DEVICE``, ``DEVICE_BUSY``, ``DISK_FULL`` or ``FILE_MISSING``.
    """

    def __init__(self, path: Path, *, writable: bool = False, exclusive: bool = False) -> None:
        self.path = path
        self._written = False
        # Without O_CREAT, O_EXCL means something to block devices only (open(2)).
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | (os.O_EXCL if exclusive else 0)
        with os_errors(path):
            try:
                self._handle = os.open(path, flags | os.O_DIRECT)
                self.direct = True
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._handle = os.open(path, flags)
                self.direct = False
            self._zeroes = writable and zeroes.promised(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; closing twice is harmless."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @property
    def number(self) -> str:
        """The number of the device that is open, ``major:minor``; empty for a file."""
        found = os.fstat(self._handle)
        device = found.st_rdev
        return f"{os.major(device)}:{os.minor(device)}" if stat.S_ISBLK(found.st_mode) else ""

    @staticmethod
    def buffer(size: int) -> mmap.mmap:
        """A buffer that direct I/O takes: page-aligned, ``size`` bytes (a multiple of ``ALIGNMENT``)."""
        return mmap.mmap(-1, size)

    def write(self, offset: int, data: mmap.mmap | memoryview) -> None:
        """Write all of an aligned buffer at an aligned offset (bytes)."""
        self._written = True
        with os_errors(f"{self.path} at byte {offset}"), memoryview(data) as view:
            done = 0
            while done < len(view):
                count = os.pwrite(self._handle, view[done:], offset + done)
                if count == 0:
                    raise OSError(errno.ENOSPC, "there is no space left at the end")
                done += count

    def zero(self, offset: int, size: int) -> bool:
        """Make ``size`` bytes from ``offset`` zero without sending them; whether that was done.

        A file gets a hole. A device does it by itself (``BLKZEROOUT``) if it says that it can: from any other one the
        kernel would only write zeroes in our place. Both are multiples of ``ALIGNMENT``.

        Raises:
            ProaError: ``DEVICE`` or ``DISK_FULL``.
        """
        if not self._zeroes:
            return False
        self._written = True
        with os_errors(f"{self.path} at byte {offset}"):
            try:
                zeroes.make(self._handle, offset, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
                    raise
                self._zeroes = False
        return self._zeroes

    def read_into(self, offset: int, data: mmap.mmap | memoryview) -> None:
        """Fill an aligned buffer from the medium, bypassing the cache.

        Raises:
            ProaError: ``DEVICE``, also when the file ends before the buffer is full.
        """
        with memoryview(data) as view:
            self._fill(offset, view, len(view))

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``, both of any alignment, past the cache.

        Raises:
            ProaError: ``DEVICE``, also when the file ends before that.
        """
        start = offset // ALIGNMENT * ALIGNMENT
        end = -(-(offset + size) // ALIGNMENT) * ALIGNMENT
        if size == 0:
            return b""
        with self.buffer(end - start) as buffer:
            with memoryview(buffer) as view:
                self._fill(start, view, offset + size - start)
            return buffer[offset - start : offset - start + size]

    def _fill(self, offset: int, view: memoryview, need: int) -> None:
        """Read until the view is full, or has ``need`` bytes and the file ends."""
        with os_errors(f"{self.path} at byte {offset}"):
            if not self.direct:
                if self._written:
                    os.fdatasync(self._handle)  # a dirty page would stay in the cache
                    self._written = False
                os.posix_fadvise(self._handle, offset, len(view), os.POSIX_FADV_DONTNEED)
            done = 0
            while done < need:
                with view[done:] as rest:
                    count = os.preadv(self._handle, [rest], offset + done)
                if count == 0:
                    raise ProaError(Code.DEVICE, f"it ends {need - done} bytes early", at=f"{self.path} at {offset}")
                done += count

    def flush(self) -> None:
        """Wait until all that was written is on the medium."""
        with os_errors(self.path):
            os.fsync(self._handle)
