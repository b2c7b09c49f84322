"""Temporary folders that vanish: at the end of a step, or, if the build was killed, at the start of the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proa.builder.engine import namespace
from proa.core.runtime import process
from proa.core.runtime.files import os_errors

_LOCK: Final = ".in-use"


@contextmanager
def folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder below ``parent``, taken away at the end with all in it, whoever the files belong to.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    with os_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        # Nothing is swept that has a dot first: it is renamed once it is locked.
        hidden = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}."))
        hidden.chmod(0o755)
        handle = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        made = hidden.rename(parent / hidden.name.removeprefix("."))
    try:
        yield made
    finally:
        remove(made)
        os.close(handle)


def sweep(parent: Path) -> None:
    """Take away what killed builds left: folders that nobody holds any more."""
    for left in sorted(parent.glob("[!.]*.*")) if parent.is_dir() else ():
        try:
            handle = os.open(left / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(left)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


def remove(path: Path) -> None:
    """Take a folder away; what belongs to subordinate ids is taken away in a namespace."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        process.run(namespace.remove(path), check=False)
