"""/etc: one upper folder per slot over the release's own, so that a slot comes back with its /etc.

Overlay's upper has regular files, folders, and character devices 0:0 for what was deleted (Linux,
Documentation/filesystems/overlayfs, "whiteouts and opaque directories").
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.agent.paths import Paths
from proa.core.files import fsync_folder, os_errors
from proa.core.process import run
from proa.partition.bootstate import Slot

KEPT: Final = 3
"""How many folders of what trials changed are kept."""
NAMES: Final = 100
"""How many files a report names."""
_COPY_LIMIT: Final = 120.0


@dataclass(frozen=True)
class SetAside:
    """What a trial changed in /etc.

    Attributes:
        folder: Where it is kept now.
        files: Names, relative to /etc, at most :data:`NAMES`.
    """

    folder: Path
    files: tuple[str, ...]


def carry_over(paths: Paths, source: Slot, target: Slot) -> None:
    """Give ``target`` a copy of what ``source`` has over the release's /etc; whole or not at all.

    Raises:
        ProaError: ``TOOL`` if ``cp`` fails, ``DEVICE`` or ``DISK_FULL``.
    """
    if not paths.etc_uppers.is_dir():
        return
    upper = paths.etc_upper(target)
    new, old = upper.with_name("upper.new"), upper.with_name("upper.old")
    with os_errors(upper):
        upper.parent.mkdir(mode=0o755, exist_ok=True)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        if paths.etc_upper(source).is_dir():
            run(["cp", "--archive", "--no-target-directory", paths.etc_upper(source), new], timeout=_COPY_LIMIT)
        else:
            new.mkdir(mode=0o755)
        run(["sync", "--file-system", new], timeout=_COPY_LIMIT)
        if upper.exists():
            upper.rename(old)
        new.rename(upper)
        fsync_folder(upper.parent)
        shutil.rmtree(old, ignore_errors=True)


def set_aside(paths: Paths, trial: Slot, good: Slot, name: str) -> SetAside | None:
    """Move away what a trial made of /etc, if it differs from what the good slot has; keep the last few.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    upper = paths.etc_upper(trial)
    if not upper.is_dir():
        return None
    changed = tuple(sorted(_differences(upper, paths.etc_upper(good))))
    if not changed:
        return None
    folder = paths.etc_uppers / f"returned-{name.replace(':', '')}"
    with os_errors(folder):
        upper.rename(folder)
        fsync_folder(folder.parent)
    for old in sorted(paths.etc_uppers.glob("returned-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return SetAside(folder, changed[:NAMES])


def hidden_files(paths: Paths, slot: Slot) -> list[str] | None:
    """Files of the release's /etc that the node's own hide with other content, or have deleted.

    None where the release's /etc cannot be seen below the overlay.
    """
    upper, lower = paths.etc_upper(slot), paths.lower_etc
    if not lower.is_dir():
        return None
    names = (name for name in _walk(upper) if _exists(lower / name) and not _equal(upper / name, lower / name))
    return sorted(names)[:NAMES]


def _differences(one: Path, two: Path) -> Iterator[str]:
    for name in {*_walk(one), *_walk(two)}:
        if not (_exists(one / name) and _exists(two / name) and _equal(one / name, two / name)):
            yield name


def _walk(folder: Path) -> Iterator[str]:
    """All that is not a folder below ``folder``, by its name relative to it."""
    for parent, _, files in os.walk(folder):
        for file in files:
            yield str((Path(parent) / file).relative_to(folder))


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _equal(one: Path, two: Path) -> bool:
    first, second = one.lstat(), two.lstat()
    kinds = stat.S_IFMT(first.st_mode), stat.S_IFMT(second.st_mode)
    if kinds[0] != kinds[1]:
        return False
    if stat.S_ISLNK(kinds[0]):
        return one.readlink() == two.readlink()
    return not stat.S_ISREG(kinds[0]) or filecmp.cmp(one, two, shallow=False)
