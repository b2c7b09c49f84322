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

from proa.agent.node.paths import Paths
from proa.core.runtime.files import exchange, fsync_folder, os_errors
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot

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


_IDENTITY: Final = "machine-id"


def carry_over(paths: Paths, source: Slot, target: Slot) -> None:
    """Give ``target`` a copy of what ``source`` has over the release's /etc; whole or not at all.

    Raises:
        ProaError: ``TOOL`` if ``cp`` fails, ``DEVICE`` or ``DISK_FULL``.
    """
    if not paths.etc_uppers.is_dir():
        return
    new = paths.etc_upper(target).with_name("upper.new")
    with os_errors(new):
        shutil.rmtree(new, ignore_errors=True)
        _renew(paths, source, target, new)
        shutil.rmtree(new, ignore_errors=True)


def lacks_etc(paths: Paths, slot: Slot) -> bool:
    """Whether a node with uppers has none for this slot: booted, it would find an empty one."""
    return paths.etc_uppers.is_dir() and not paths.etc_upper(slot).is_dir()


def set_aside(paths: Paths, trial: Slot, good: Slot, name: str) -> SetAside | None:
    """Keep what a trial made of /etc, if it differs from what the good slot has, with the last few of its kind.

    The slot gets a copy of the good slot's in its place at the same stroke: it may be one that still boots.

    Raises:
        ProaError: ``TOOL`` if ``cp`` fails, ``DEVICE`` or ``DISK_FULL``.
    """
    upper = paths.etc_upper(trial)
    if not upper.is_dir():
        return None
    changed = tuple(sorted(_differences(upper, paths.etc_upper(good))))
    if not changed:
        return None
    folder = paths.etc_uppers / f"returned-{name.replace(':', '')}"
    while folder.exists():
        folder = folder.with_name(f"{folder.name}+")
    with os_errors(folder):
        _renew(paths, good, trial, folder)
    for old in sorted(paths.etc_uppers.glob("returned-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return SetAside(folder, changed[:NAMES])


def _renew(paths: Paths, source: Slot, target: Slot, place: Path) -> None:
    """Put a copy of one slot's upper in the place of another's at one stroke; what was there is at ``place`` then."""
    upper = paths.etc_upper(target)
    upper.parent.mkdir(mode=0o755, exist_ok=True)
    try:
        _copy(paths.etc_upper(source), place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    if upper.exists():
        exchange(place, upper)
    else:
        place.rename(upper)
    for folder in {upper.parent, place.parent}:
        fsync_folder(folder)


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        run(["cp", "--archive", "--no-target-directory", source, place], timeout=_COPY_LIMIT)
    else:
        place.mkdir()
        place.chmod(0o755)  # it becomes /etc, whatever our own mask is
    run(["sync", "--file-system", place], timeout=_COPY_LIMIT)


def hidden_files(paths: Paths, slot: Slot) -> tuple[str, ...] | None:
    """Files of the release's /etc that the node's own hide with other content, or have deleted.

    Not the node's identity, which stands over an empty file of every release. None where the release's /etc cannot be
    seen below the overlay.
    """
    upper, lower = paths.etc_upper(slot), paths.lower_etc
    if not lower.is_dir():
        return None
    names = (
        name
        for name in _walk(upper)
        if name != _IDENTITY and _exists(lower / name) and not _equal(upper / name, lower / name)
    )
    return tuple(sorted(names)[:NAMES])


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
