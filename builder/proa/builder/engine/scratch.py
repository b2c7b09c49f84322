"""Temporary folders that vanish: at the end of a step, or, if the build was killed, at the start of the next one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from proa.builder.engine import namespace
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.lock import locked

_LOCK: Final = ".in-use"


@contextmanager
def folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder below ``parent``, taken away at the end with all in it, no matter whose files they are.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    with os_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        # Nothing is swept that has a dot first: it is renamed once it is locked.
        hidden = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}."))
        hidden.chmod(0o755)
    with locked(hidden / _LOCK):
        with os_errors(parent):
            made = hidden.rename(parent / hidden.name.removeprefix("."))
        try:
            yield made
        finally:
            remove(made)


def sweep(parent: Path) -> None:
    """Take away what killed builds left: folders that nobody holds any more."""
    for left in sorted(parent.glob("[!.]*.*")) if parent.is_dir() else ():
        with suppress(ProaError), locked(left / _LOCK, busy="in use", create=False):
            remove(left)


def remove(path: Path) -> None:
    """Take a folder away; what belongs to subordinate ids is taken away in a namespace."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        process.run(namespace.remove(path), check=False)
