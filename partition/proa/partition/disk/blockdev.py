"""What Linux says of a block device: size, sector size, whether somebody uses it; and telling it of a new table."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import check_storage, os_errors
from proa.core.runtime.process import run

_BLKSSZGET: Final = 0x1268
"""ioctl: the logical sector size (linux/fs.h)."""


def is_device(path: Path) -> bool:
    """Whether ``path`` is a block device; false for what is not there."""
    try:
        return stat.S_ISBLK(path.stat().st_mode)
    except OSError:
        return False


def number_of(path: Path) -> str:
    """A device's number, ``major:minor``; empty for anything else.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(path):
        found = path.stat()
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else ""


def size_of(path: Path) -> int:
    """Bytes of a device or of a file.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    check_storage(path)
    with os_errors(path), path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def sector_size_of(path: Path) -> int:
    """Bytes of a device's logical sector.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(path), path.open("rb") as file:
        answer = fcntl.ioctl(file.fileno(), _BLKSSZGET, bytes(4))
    size: int = struct.unpack("=i", answer)[0]
    return size


def check_unused(path: Path) -> None:
    """Refuse a device that is mounted, or held by the device mapper, swap or another program exclusively.

    Raises:
        ProaError: ``DEVICE_BUSY`` when it is in use, ``DEVICE`` when it cannot be opened.
    """
    with os_errors(path):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise ProaError(Code.DEVICE_BUSY, "the disk or one of its partitions is in use", at=path) from error


def tell_kernel(path: Path) -> bool:
    """Make the kernel read a device's partition table again; whether it now has it.

    ``partx`` also serves kernels that know no GPT of their own and loop devices without partitions.
    """
    run(["blockdev", "--rereadpt", path], check=False)
    return run(["partx", "--update", path], check=False).status == 0
