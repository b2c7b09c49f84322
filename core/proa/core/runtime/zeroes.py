"""Ranges of zeroes that need not be sent: holes of files, and what block devices do by themselves."""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final

_BLKZEROOUT: Final = 0x127F
"""linux/fs.h: the range as two 64-bit numbers of bytes."""
_PUNCH_HOLE: Final = 0x02 | 0x01
"""``FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`` (fallocate(2))."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_SYS: Final = Path("/sys/dev/block")


def promised(handle: int, sys: Path = _SYS) -> bool:
    """Whether an open file or device makes zeroes by itself."""
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode):
        return True
    if not stat.S_ISBLK(status.st_mode):
        return False
    device = sys / f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return any(_number(device / place / "queue/write_zeroes_max_bytes") > 0 for place in (".", ".."))


def make(handle: int, offset: int, size: int) -> None:
    """Make a range zero.

    Raises:
        OSError: When it cannot be done that way.
    """
    if stat.S_ISBLK(os.fstat(handle).st_mode):
        fcntl.ioctl(handle, _BLKZEROOUT, struct.pack("QQ", offset, size))
    elif _LIBC.fallocate(handle, _PUNCH_HOLE, offset, size):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
