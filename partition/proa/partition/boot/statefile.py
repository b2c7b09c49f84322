"""The ``STATE`` partition: a small FAT with the two copies of the boot state, which we write in place.

GRUB reads and writes ``/env1`` and ``/env2`` through its FAT driver. Everybody else (agent, initrd, ``proa-disk``)
reads and writes their bytes where the image was made to have them, and mounts nothing. Neither a length, a
directory entry nor the FAT ever changes after the factory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import ALIGNMENT, DirectFile, os_errors
from proa.partition.boot import bootstate, envblock
from proa.partition.boot.bootstate import BootState

STATE_SIZE = 1 << 20
"""Bytes of the partition."""

ENV_FILES = ("/env1", "/env2")
"""The copies as GRUB names them."""

ENV_OFFSETS = (256 << 10, 512 << 10)
"""Where the copies lie, in bytes from the start of the partition.

Each has an aligned unit of 4096 bytes to itself, so that the smallest write of any disk touches one copy; and they lie
far from each other and from the file system's own sectors, because cheap flash loses whole pages of its own size when
the power fails within a write.
"""

_SECTOR = 512  # of the FAT: GRUB takes it on disks with larger sectors too
_CLUSTER = ALIGNMENT
_FAT_SECTORS = 1
_ROOT_SECTORS = 5
_DATA = (1 + 2 * _FAT_SECTORS + _ROOT_SECTORS) * _SECTOR  # boot sector, two FATs, root: clusters begin here
_SERIAL = "50524f41"
_EPOCH = "315532800"  # 1980-01-01, where FAT begins


class Pair(NamedTuple):
    """The two copies as they are on the disk; no bytes for one that cannot be read."""

    copy1: bytes
    copy2: bytes

    @property
    def copy(self) -> int | None:
        """The number of the copy that counts."""
        return bootstate.pick(*self)[0]

    @property
    def state(self) -> BootState | None:
        """What the copy that counts says."""
        return bootstate.pick(*self)[1]

    @property
    def refused(self) -> bool:
        """Whether GRUB could not start the kernel image at the last try of the trial (:func:`bootstate.refused`)."""
        return self.copy is not None and bootstate.refused(self[self.copy - 1])

    @property
    def rounds(self) -> int:
        """How many times in a row no slot came up (:func:`bootstate.rounds`)."""
        return bootstate.rounds(self[self.copy - 1]) if self.copy is not None else 0


@dataclass(frozen=True)
class StateFile:
    """The two copies on a disk.

    Attributes:
        path: The partition, or a disk or image that holds it.
        offset1: Where copy 1 lies in it, in bytes, a multiple of 4096.
        offset2: The same for copy 2.
        opener: How the path is opened; tests give disks that fail.
    """

    path: Path
    offset1: int = ENV_OFFSETS[0]
    offset2: int = ENV_OFFSETS[1]
    opener: Callable[[Path, bool], DirectFile] = lambda path, writable: DirectFile(path, writable=writable)

    @classmethod
    def within(cls, path: Path, start: int) -> StateFile:
        """The copies of the partition that begins at byte ``start`` of a disk or image."""
        return cls(path, start + ENV_OFFSETS[0], start + ENV_OFFSETS[1])

    def read(self) -> Pair:
        """Both copies, past the cache.

        Raises:
            ProaError: ``FILE_MISSING`` or ``DEVICE`` when neither can be read.
        """
        with self.opener(self.path, False) as file:
            copies, errors = [], []
            for offset in (self.offset1, self.offset2):
                try:
                    copies.append(file.read(offset, envblock.SIZE))
                except ProaError as error:
                    copies.append(b"")
                    errors.append(error)
        if len(errors) == len(copies):
            raise errors[0]
        return Pair(*copies)

    def current(self) -> BootState:
        """The state that counts.

        Raises:
            ProaError: ``NO_STATE`` when no copy is valid, or as :meth:`read`.
        """
        state = self.read().state
        if state is None:
            raise ProaError(Code.NO_STATE, at=self.path)
        return state

    def write(self, state: BootState) -> None:
        """Write both copies, so that at any moment the old or the new state counts.

        The copy that does not count goes first (copy 2, unless copy 1 is damaged or was not reached last time); it is
        flushed and read back past the cache before the other one is touched.

        Raises:
            ProaError: ``READ_BACK`` when the disk does not keep what was written, or ``DEVICE``. The new state may
                count already: read it again.
        """
        offsets = (self.offset2, self.offset1)
        if self.read().copy == 2:
            offsets = (self.offset1, self.offset2)
        with self.opener(self.path, True) as file:
            for offset in offsets:
                self._write_copy(file, offset, bootstate.encode(state))

    def _write_copy(self, file: DirectFile, offset: int, block: bytes) -> None:
        with DirectFile.buffer(ALIGNMENT) as unit:
            unit[: len(block)] = block
            file.write(offset, unit)
            file.flush()
        if file.read(offset, len(block)) != block:
            raise ProaError(Code.READ_BACK, "a copy of the boot state reads back different", at=f"{self.path}@{offset}")


def make_state_image(path: Path, state: BootState) -> None:
    """Make the content of ``STATE`` at ``path``: the same bytes every time (for one version of mtools).

    Raises:
        ProaError: ``TOOL_MISSING`` or ``TOOL`` (mtools), ``DISK_FULL``; ``INTERNAL`` when the copies came to lie
            elsewhere than everybody expects.
    """
    with os_errors(path), path.open("wb") as image:
        image.truncate(STATE_SIZE)
    geometry = [
        "-T",
        STATE_SIZE // _SECTOR,
        "-c",
        _CLUSTER // _SECTOR,
        "-d",
        2,
        "-L",
        _FAT_SECTORS,
        "-r",
        _ROOT_SECTORS,
    ]
    _mtools("mformat", path, *geometry, "-N", _SERIAL, "-v", "STATE", "::")
    with tempfile.TemporaryDirectory(prefix="proa-state-") as folder:
        _mtools("mcopy", path, *_contents(Path(folder), bootstate.encode(state)), "::")
    _check_offsets(path, bootstate.encode(state))


def _contents(folder: Path, block: bytes) -> list[Path]:
    """The files of the image in the order of their clusters: each copy behind a file that pads up to its place."""
    files = []
    at = _DATA
    for name, offset in zip(ENV_FILES, ENV_OFFSETS, strict=True):
        pad, env = folder / name.strip("/").replace("env", "pad"), folder / name.strip("/")
        pad.write_bytes(bytes(offset - at))
        env.write_bytes(block)
        files += [pad, env]
        at = offset + _CLUSTER
    return files


def _check_offsets(path: Path, block: bytes) -> None:
    data = path.read_bytes()
    found = [at for at in range(0, len(data), _SECTOR) if data.startswith(envblock.SIGNATURE, at)]
    if found != list(ENV_OFFSETS) or any(not data.startswith(block, at) for at in found):
        raise ProaError(Code.INTERNAL, f"the boot state ended up at {found} instead of {ENV_OFFSETS}", at=path)


def _mtools(program: str, image: Path, *arguments: object) -> None:
    env = {"SOURCE_DATE_EPOCH": _EPOCH, "MTOOLSRC": "/dev/null"}
    process.run([program, "-i", image, *(str(argument) for argument in arguments)], env=env)
