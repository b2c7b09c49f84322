"""What a rule finds wrong with a configuration, and what several rules ask of files and paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from proa.builder.config.settings import Config
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors


@dataclass(frozen=True)
class Problem:
    """A rule that does not hold, and the setting to look at."""

    path: tuple[str | int, ...]
    message: str
    code: Code = Code.CONFIG_VALUE
    hint: str = ""


Rule = Callable[[Config, Path], Iterator[Problem]]


def missing(folder: Path, name: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """That a file or folder is not there or cannot be read, told at the setting that names it."""
    file = folder / name
    try:
        with os_errors(file):
            mode = file.stat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
    except ProaError as error:
        if error.code is Code.FILE_MISSING:
            hint = "Paths are relative to the folder of proa.toml."
            yield Problem(path, f"{name} does not exist", Code.FILE_MISSING, hint)
        else:
            yield Problem(path, f"{name} cannot be read: {error.message}", error.code, error.hint)
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        yield Problem(path, f"{name} is neither a file nor a folder")


def no_file(folder: Path, name: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """The same for what must be one file."""
    problems = list(missing(folder, name, path))
    yield from problems
    if not problems and (folder / name).is_dir():
        yield Problem(path, f"{name} is a folder, but must be a file")


def readable(file: Path) -> bool:
    """Whether it is a file to look into; what is none has been told of already."""
    return os.access(file, os.R_OK, effective_ids=True) and file.is_file()
