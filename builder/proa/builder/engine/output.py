"""The output folder of a build: what may be replaced, who writes it, how results get there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from proa.builder.engine import scratch
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors, real
from proa.core.runtime.lock import locked
from proa.core.runtime.parsing import json_value

SCHEMA: Final = "proa.build/v1"
REPORT: Final = "build.json"
"""By this file, and what it says it is, an output folder is known."""
_WORK: Final = re.compile(r"\.(?:old\.)?[a-z0-9_]{8}")
"""What follows a folder's name in the names of its work folders (:func:`tempfile.mkdtemp`)."""


def check(out: Path, inputs: Mapping[Path, str]) -> None:
    """Refuse to replace a folder that no build has made, or one that holds what the build reads.

    Args:
        out: The output folder.
        inputs: Folders that must not lie in it, each with what it is.

    Raises:
        ProaError: ``FILE_EXISTS``.
    """
    hint = "Choose a new folder, or one that an earlier build has created."
    for folder, what in inputs.items():
        if real(folder).is_relative_to(real(out)):
            raise ProaError(Code.FILE_EXISTS, f"the output would replace {what}", at=out, hint=hint)
    with os_errors(out):
        if os.path.lexists(out) and not _is_empty(out) and not _is_output(out):
            raise ProaError(Code.FILE_EXISTS, "the folder is not the output of a build", at=out, hint=hint)


def _is_empty(out: Path) -> bool:
    return out.is_dir() and not any(out.iterdir())


def _is_output(out: Path) -> bool:
    try:
        return bool(json_value((out / REPORT).read_bytes())["schema"] == SCHEMA)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def sweep(out: Path) -> None:
    """Take away what killed builds left beside the output folder, and put back an output that one was replacing.

    The caller holds the lock. See :func:`proa.core.runtime.files.new_folder` for the names.
    """
    for left in out.parent.glob(f".{glob.escape(out.name)}.*"):
        if _WORK.fullmatch(left.name.removeprefix(f".{out.name}")):
            if os.path.lexists(left / "it") and not os.path.lexists(out):
                (left / "it").rename(out)
            scratch.remove(left)


def place(source: Path, target: Path) -> None:
    """Bring a result into the output folder: moved if it is the build's own, else copied, holes kept."""
    with os_errors(target):
        if source.is_relative_to(target.parent):
            source.rename(target)
        else:
            process.run(("cp", "--recursive", "--reflink=auto", "--sparse=always", "--", source, target))


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Only one build at a time writes an output folder.

    The lock lies beside the folder, where every build of it sees it: any user, from any session,
    container or path, and it goes when the build ends.
    """
    path = real(out.parent) / f".{out.name}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, busy="another build is writing to this folder"))
        except ProaError as error:
            raise ProaError(error.code, error.message, at=out, hint=error.hint) from error
        stack.callback(path.unlink, missing_ok=True)
        yield
