"""Configurations to begin with: a folder each, with its proa.toml and the files that it adds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proa.builder.config import reference
from proa.builder.inputs.localfiles import FileKind, walk
from proa.core.runtime.clock import SYSTEM
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors, replace

CONFIG: Final = "proa.toml"
_FOLDER: Final = Path(__file__).parents[1] / "profiles"
NAMES: Final = tuple(sorted(path.parent.name for path in _FOLDER.glob(f"*/{CONFIG}")))
"""The profiles that there are, besides the template that has none."""


def files(profile: str = "") -> dict[str, bytes]:
    """What a profile consists of, by path; the commented template if no profile is named.

    Raises:
        ProaError: ``USAGE`` for a name that is not one of :data:`NAMES`.
    """
    if not profile:
        return {CONFIG: reference.template(SYSTEM.now()).encode()}
    if profile not in NAMES:
        raise ProaError(Code.USAGE, f"no profile {profile!r}", at="--profile", hint=f"There is: {', '.join(NAMES)}.")
    return {item.name: item.path.read_bytes() for item in walk(_FOLDER / profile) if item.kind is FileKind.FILE}


def write(folder: Path, profile: str = "", *, dry_run: bool = False) -> list[Path]:
    """Write a profile into a folder; what is written.

    Args:
        folder: Made if it is not there.
        profile: As :func:`files` takes it.
        dry_run: Whether it is only told.

    Raises:
        ProaError: ``USAGE``; ``FILE_EXISTS`` when one of the files is there already, and nothing is written;
            ``DEVICE`` or ``FILE_DENIED``.
    """
    found = {folder / name: data for name, data in files(profile).items()}
    for path in found:
        if path.exists():
            what = "a configuration" if path.name == CONFIG else "a file"
            raise ProaError(Code.FILE_EXISTS, f"{what} exists already", at=path)
    if not dry_run:
        with os_errors(folder):
            for path, data in found.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, data)
    return list(found)
