"""The socket of the local API, apart from what serves it: it takes calls before that is imported."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors

_QUEUE = 16


class Peer(NamedTuple):
    """Who is at the other end of a connection: the numbers of the user, its primary group, and the process."""

    user: int
    group: int
    process: int = 0


def listen(path: Path, mode: int = 0o600, group: int | None = None) -> socket.socket:
    """A Unix socket that listens at ``path``; a left-over one is replaced.

    Args:
        path: Where it is.
        mode: The file's mode: the first gate, before the caller's number is looked at.
        group: The number of the group that the file belongs to; our own if none is given.

    Raises:
        ProaError: ``BUSY`` when somebody listens there, ``DEVICE`` or ``DISK_FULL``.
    """
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_heard(path):
            raise ProaError(Code.BUSY, "a daemon is already running", at=path)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o777 & ~mode)
        try:
            listening.bind(str(path))
            if group is not None:
                os.chown(path, -1, group)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(before)
        listening.listen(_QUEUE)
    return listening


def is_heard(path: Path) -> bool:
    """Whether somebody listens at ``path``.

    Raises:
        OSError: When that cannot be told, as for a user who may not call.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
    return True


def peer(connection: socket.socket) -> Peer:
    """Who is at the other end, as the kernel says it (unix(7), ``SO_PEERCRED``)."""
    size = struct.calcsize("iII")
    process, user, group = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return Peer(user, group, process)
