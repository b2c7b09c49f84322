"""/etc: one upper folder per slot over the release's own, so that a slot comes back with its /etc.

Overlay's upper has regular files, folders, and character devices 0:0 for what was deleted (Linux,
Documentation/filesystems/overlayfs, "whiteouts and opaque directories").
"""

from __future__ import annotations

import errno
import filecmp
import os
import re
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
_OVERLAY: Final = "trusted.overlay."
_OPAQUE: Final = "trusted.overlay.opaque"
"""On a folder of the upper that hides all that the release has there."""


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
    before = sorted(paths.etc_uppers.glob("returned-*"), key=_number)
    folder = paths.etc_uppers / f"returned-{_number(before[-1]) + 1 if before else 1:04}-{name.replace(':', '')}"
    with os_errors(folder):
        _renew(paths, good, trial, folder)
    for old in [*before, folder][:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return SetAside(folder, changed[:NAMES])


def _number(folder: Path) -> int:
    """Which one it is; the clock does not tell the last one, since it may begin anywhere at each boot.

    An older agent's has the year there, which is as good: the next one has a higher number.
    """
    found = re.match(r"returned-(\d+)", folder.name)
    return int(found[1]) if found else 0


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
    """What of the release's /etc the node's own hides.

    These are files and folders with another content, mode, owner or attribute, and what is not there at all, be it
    deleted, below an opaque folder, or below a link in a folder's place. The view that counts is the merged one, so
    this is about the slot that runs. Not the node's identity, which stands over an empty file of every release. None
    where the release's /etc cannot be seen below the overlay.
    """
    upper, lower, merged = paths.etc_upper(slot), paths.lower_etc, paths.root / "etc"
    if not lower.is_dir():
        return None
    names = {name for name in _candidates(upper, lower, "") if name != _IDENTITY}
    hidden = (name for name in names if _is_hidden(upper / name, merged / name, lower / name))
    return tuple(sorted(hidden)[:NAMES])


def _is_hidden(upper: Path, merged: Path, lower: Path) -> bool:
    """What the upper does not have shows through, unless it lies below what is opaque."""
    return not (_is_same(merged, lower) if os.path.lexists(upper) else os.path.lexists(merged))


def _candidates(upper: Path, lower: Path, name: str) -> Iterator[str]:
    """What of a folder of the release may be hidden: what the upper has too, and all that lies beside that."""
    for item in sorted((lower / name).iterdir()):
        below = str(Path(name) / item.name)
        yield below
        if _is_folder(item) and _is_folder(upper / below):
            yield from _candidates(upper, lower, below)


def _differences(one: Path, two: Path) -> Iterator[str]:
    for name in {*_walk(one), *_walk(two)}:
        if not _is_same(one / name, two / name, within=True):
            yield name


def _walk(folder: Path) -> Iterator[str]:
    """All that is below ``folder``, by its name relative to it."""
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            yield str((Path(parent) / name).relative_to(folder))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(one: Path, two: Path, *, within: bool = False) -> bool:
    """Whether two paths hold the same in all that a program can see; ``within`` compares uppers, what they hide too."""
    if not (os.path.lexists(one) and os.path.lexists(two)):
        return False
    first, second = one.lstat(), two.lstat()
    if _facts(first) != _facts(second) or _attributes(one, within=within) != _attributes(two, within=within):
        return False
    if stat.S_ISLNK(first.st_mode):
        return one.readlink() == two.readlink()
    return not stat.S_ISREG(first.st_mode) or filecmp.cmp(one, two, shallow=False)


def _facts(status: os.stat_result) -> tuple[int, ...]:
    """Kind, mode and owner, and for a device which one; a link's mode means nothing."""
    kind = stat.S_IFMT(status.st_mode)
    mode = 0 if stat.S_ISLNK(kind) else stat.S_IMODE(status.st_mode)
    device = status.st_rdev if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else 0
    return kind, mode, status.st_uid, status.st_gid, device


def _attributes(path: Path, *, within: bool) -> dict[str, bytes]:
    """Extended attributes, among them those that hold access control lists; of overlay's own, what hides something."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if _counts(name, within=within)}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return {}
        raise


def _counts(name: str, *, within: bool) -> bool:
    return name == _OPAQUE if name.startswith(_OVERLAY) and within else not name.startswith(_OVERLAY)
