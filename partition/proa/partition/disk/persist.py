"""``PERSIST``: an ext4 file system, made at build time and made anew by ``proa-disk reset``.

Made twice from the same folder, UUID and time it has the same bytes: e2fsprogs 1.47.0 takes the change and access
times of the folder's files, which nobody can set, so debugfs puts the given time and owner into every inode afterwards.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import fsync_folder, os_errors, replace
from proa.core.runtime.process import failure, run
from proa.partition.disk import blockdev
from proa.partition.disk.layout import MIB, MIN_PERSIST
from proa.partition.disk.slots import Extent

LABEL: Final = "PERSIST"
"""The file system's label. It is for people: nothing is found by it."""
MOUNTED: Final = Path("/persist")
"""Where a running node has it."""
REQUEST: Final = Path(".proa/reset")
"""The file, from the top of ``PERSIST``, by which the initrd (``proa-check.sh``) knows that it is to be emptied."""
NEW: Final = Path(".proa/new")
"""The file, from the top, by which it knows that this disk has no node yet: without it and without an identity, the
identity was lost."""
RECOVERY_KEY: Final = Path(".proa/recovery-key")
"""The file, from the top, with the recovery key of an encrypted ``PERSIST``, until it is taken away."""
_BLOCK: Final = 4096
"""Bytes of a block: what disks of 4096-byte sectors need; mke2fs would take 1024 for a small image."""
_INODE_RATIO: Final = 16384
"""Bytes per inode, as for any disk; mke2fs would take 4096 for a small image, and it stays when that grows."""


def make(extent: Extent, *, uuid: str, epoch: int, folder: Path | None = None) -> None:
    """Make the file system in a device or image file; what was there is gone.

    Args:
        extent: Where ``PERSIST`` lies; the bytes around it stay as they are.
        uuid: Of the file system, and the seed of its directory hashes.
        epoch: Seconds since 1970 that every time in it has, 1 or more (e2fsprogs takes 0 for "now").
        folder: What it holds at first beside :data:`NEW`, all of it owned by root; nothing if none.

    Raises:
        ProaError: ``LAYOUT`` when the partition is too small, ``TOO_LARGE`` when the folder is too large for it,
            ``DEVICE``, ``TOOL``, ``TOOL_MISSING``.
    """
    if extent.size < MIN_PERSIST:
        raise ProaError(
            Code.LAYOUT, f"PERSIST has {extent.size} bytes, but needs at least {MIN_PERSIST}", at=extent.path
        )
    with tempfile.TemporaryDirectory(prefix="proa-persist-") as name:
        content = Path(name, "content")
        with os_errors(extent.path):
            if folder:
                shutil.copytree(folder, content, symlinks=True)
            (content / NEW).parent.mkdir(parents=True, exist_ok=True)
            (content / NEW).touch()
            for path in (content / NEW, (content / NEW).parent, *(() if folder else (content,))):
                path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the umask
        _make(extent, uuid, max(1, epoch), content)


def _make(extent: Extent, uuid: str, epoch: int, folder: Path) -> None:
    env = {"E2FSPROGS_FAKE_TIME": str(epoch), "SOURCE_DATE_EPOCH": str(epoch)}
    options = f"offset={extent.offset},hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    journal = min(64, max(4, extent.size // 8 // MIB))
    result = run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-U", uuid, "-m", "1"),
            *("-b", str(_BLOCK), "-i", str(_INODE_RATIO), "-I", "256", "-J", f"size={journal}", "-E", options),
            *("-d", folder),
            *(extent.path, f"{extent.size // 1024}k"),
        ],
        env=env,
        check=False,
    )
    if result.status != 0:
        raise failure(result, Code.TOO_LARGE if b"Could not allocate block" in result.stderr else Code.TOOL)
    _settle(extent, folder, epoch, env)


def check_unused(extent: Extent) -> None:
    """Check that ``PERSIST`` may be made anew.

    Raises:
        ProaError: ``DEVICE_BUSY`` when it is mounted or otherwise in use.
    """
    if blockdev.is_device(extent.path):
        blockdev.check_unused(extent.path)


def reset(extent: Extent, *, uuid: str, epoch: int) -> None:
    """Make ``PERSIST`` empty again. What the node kept is gone: identity, ``/etc``, ``/var``.

    Raises:
        ProaError: As :func:`check_unused` and :func:`make`.
    """
    check_unused(extent)
    make(extent, uuid=uuid, epoch=epoch)


def request_reset(mounted: Path) -> None:
    """Ask the initrd to empty ``PERSIST`` at the next boot: a running node cannot let go of it.

    Args:
        mounted: Where it is mounted.

    Raises:
        ProaError: ``NO_DISK`` when nothing is mounted there, ``DEVICE`` or ``DISK_FULL``.
    """
    if not mounted.is_mount():
        raise ProaError(Code.NO_DISK, "PERSIST is not mounted", at=mounted)
    with os_errors(mounted):
        (mounted / REQUEST).parent.mkdir(parents=True, exist_ok=True)
    replace(mounted / REQUEST, b"")


def recovery_key(mounted: Path) -> str:
    """The recovery key of an encrypted ``PERSIST``, which the initrd has left there for root.

    Args:
        mounted: Where it is mounted.

    Raises:
        ProaError: ``FILE_MISSING`` when there is none, or no more; ``DEVICE``.
    """
    path = mounted / RECOVERY_KEY
    if not path.exists():
        hint = "A node has one if its release sets persist.encryption, until you run proa-disk recovery-key --remove."
        raise ProaError(Code.FILE_MISSING, "there is no recovery key on this node", at=path, hint=hint)
    with os_errors(path):
        return path.read_text().strip()


def remove_recovery_key(mounted: Path) -> None:
    """Take the recovery key away from the node. It still opens ``PERSIST``.

    Raises:
        ProaError: ``DEVICE``.
    """
    path = mounted / RECOVERY_KEY
    with os_errors(path):
        path.unlink()
        fsync_folder(path.parent)


def _settle(extent: Extent, folder: Path, epoch: int, env: dict[str, str]) -> None:
    """Give every inode the time and the owner; debugfs goes on after an error, so its words are read."""
    with tempfile.NamedTemporaryFile("w", prefix="proa-persist-", suffix=".debugfs") as commands:
        for path in ("/", "/lost+found", *_paths(folder)):
            commands.writelines(f'set_inode_field "{path}" {field}\n' for field in _fields(epoch))
        commands.flush()
        result = run(["debugfs", "-w", "-f", commands.name, _target(extent)], env=env)
    said = [line for line in result.stderr.decode(errors="replace").splitlines() if not line.startswith("debugfs 1.")]
    if said:
        raise failure(result)


def _fields(epoch: int) -> Iterator[str]:
    for time in ("atime", "ctime", "mtime", "crtime"):
        yield f"{time} @{epoch}"
        yield f"{time}_extra 0"
    yield "uid 0"
    yield "gid 0"


def _paths(folder: Path) -> Iterator[str]:
    """Every path below the folder, as it is in the file system."""
    for parent, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = "/" + str((Path(parent) / name).relative_to(folder))
            if '"' in path or "\n" in path:
                raise ProaError(Code.CONFIG_VALUE, f"PERSIST: a name contains an unusable character: {path!r}")
            yield path


def _target(extent: Extent) -> str:
    """The file system as e2fsprogs names it (``undo_io`` and ``unix_io`` take options behind a question mark)."""
    return f"{extent.path}?offset={extent.offset}" if extent.offset else str(extent.path)
