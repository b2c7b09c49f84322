"""FAT file systems made by mtools: no root, no loop device, the same bytes for the same input.

Format: Microsoft FAT specification 1.03 ("fatgen103"), sections "FAT Volume" and "Determination of FAT Type".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors

CLUSTER: Final = 4096
"""Bytes of a cluster."""
FAT12_MOST: Final = 4084
"""A file system with more clusters is FAT16."""
FAT16_MOST: Final = 65524
"""A file system with more clusters is FAT32."""
_SECTOR: Final = 512
_ROOT_ENTRIES: Final = 112
_ROOT_SECTORS: Final = _ROOT_ENTRIES * 32 // _SECTOR
_SERIAL: Final = "50524f41"
_EARLIEST: Final = 315532800
"""1980-01-01, where FAT's times begin, in seconds since 1970."""


@dataclass(frozen=True)
class Geometry:
    """A FAT12 or FAT16 file system of 512-byte sectors that holds a number of clusters."""

    clusters: int

    @property
    def fat_sectors(self) -> int:
        """Sectors of one of the two tables: 12 or 16 bits for each cluster and two more."""
        bits = 12 if self.clusters <= FAT12_MOST else 16
        return -(-(self.clusters + 2) * bits // (8 * _SECTOR))

    @property
    def size(self) -> int:
        """Bytes of the file system: boot sector, tables, root folder, clusters; rounded up to a whole cluster."""
        sectors = 1 + 2 * self.fat_sectors + _ROOT_SECTORS
        return -(-sectors * _SECTOR // CLUSTER) * CLUSTER + self.clusters * CLUSTER


def fitting(files: Mapping[str, Path]) -> Geometry:
    """The smallest geometry for the given files, with 16 clusters to spare.

    Raises:
        ProaError: ``TOO_LARGE`` if they need more than FAT16 has.
    """
    content = sum(-(-path.stat().st_size // CLUSTER) for path in files.values())
    clusters = content + len(list(_folders(files))) + 16
    if clusters > FAT16_MOST:
        raise ProaError(Code.TOO_LARGE, f"{content * CLUSTER} bytes do not fit into a FAT16 with 4 KiB clusters")
    return Geometry(clusters)


def make_fitting(out: Path, files: Mapping[str, Path], label: str, epoch: int) -> None:
    """Make the smallest image that holds the files; its size is a multiple of 4096.

    Args:
        out: The image.
        files: Path in the image, as ``EFI/proa/uki.efi``, to the file that is copied there.
        label: The volume's label.
        epoch: The time of every entry, in seconds since 1970.

    Raises:
        ProaError: ``TOO_LARGE``, ``TOOL``, ``DISK_FULL``.
    """
    geometry = fitting(files)
    _make(out, geometry.size, files, label, epoch, _small(geometry))


def make_fat32(out: Path, size: int, files: Mapping[str, Path], label: str, epoch: int, *, sector_size: int) -> None:
    """Make a FAT32 of a given size, sparse.

    Args:
        out: The image.
        size: Its bytes.
        files: See :func:`make_fitting`.
        label: See :func:`make_fitting`.
        epoch: See :func:`make_fitting`.
        sector_size: Bytes of a sector of the disk it is for; firmware takes no smaller ones.

    Raises:
        ProaError: ``TOO_LARGE`` if the files do not fit, ``LAYOUT`` if the size makes no FAT32; ``TOOL``,
            ``DISK_FULL``.
    """
    content = sum(path.stat().st_size for path in files.values())
    if content + (1 << 20) > size:
        raise ProaError(Code.TOO_LARGE, f"the files have {content} bytes, but the file system only {size}", at=label)
    if size // CLUSTER <= FAT16_MOST + size // CLUSTER // 512:
        raise ProaError(Code.LAYOUT, f"{size} bytes are too few for a FAT32 with {CLUSTER}-byte clusters", at=label)
    code = {512: "2", 1024: "3", 2048: "4", 4096: "5"}[sector_size]  # mformat(1): 2 to the power of (code + 7)
    options = ["-F", "-S", code, "-M", str(sector_size), "-c", str(CLUSTER // sector_size)]
    _make(out, size, files, label, epoch, [*options, "-T", str(size // sector_size)])


def _small(geometry: Geometry) -> list[str]:
    numbers = {
        "-T": geometry.size // _SECTOR,
        "-c": CLUSTER // _SECTOR,
        "-d": 2,
        "-L": geometry.fat_sectors,
        "-r": _ROOT_SECTORS,
    }
    return [word for option, number in numbers.items() for word in (option, str(number))]


def _make(out: Path, size: int, files: Mapping[str, Path], label: str, epoch: int, options: list[str]) -> None:
    with os_errors(out), out.open("wb") as image:
        image.truncate(size)
    env = {"SOURCE_DATE_EPOCH": str(max(epoch, _EARLIEST)), "MTOOLSRC": "/dev/null"}
    process.run(["mformat", "-i", out, *options, "-N", _SERIAL, "-v", label, "::"], env=env)
    for folder in _folders(files):
        process.run(["mmd", "-i", out, f"::{folder}"], env=env)
    for name, path in files.items():
        process.run(["mcopy", "-i", out, path, f"::{name}"], env=env)
        _check(out, name, path)


def _folders(files: Mapping[str, Path]) -> Iterator[PurePosixPath]:
    """Every folder above the files, parents first, in the order of their first file."""
    seen: dict[PurePosixPath, None] = {}
    for name in files:
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            seen[parent] = None
    yield from seen


def _check(image: Path, name: str, source: Path) -> None:
    if process.run(["mtype", "-i", image, f"::{name}"], env={"MTOOLSRC": "/dev/null"}).stdout != source.read_bytes():
        raise ProaError(Code.INTERNAL, f"{name} reads back different from what was written", at=image)
