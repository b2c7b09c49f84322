"""The partition table, written by libparted (pyparted) to image files and devices.

An image file needs neither root nor a loop device, whatever its sector size: libparted takes the sector size of a
file from the variable ``PARTED_SECTOR_SIZE`` (libparted/arch/linux.c, ``init_file``). What libparted 3.5 cannot set
(the GUIDs of disk and partitions, and types that it has no flag for) :mod:`proa.partition.disk.gpt` puts in.

The node's agent never imports this module: libparted stays off the node.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import _ped
import parted

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.partition.disk import blockdev, gpt
from proa.partition.disk.layout import BACKUP_SIZE, MIB, Layout

_VARIABLE: Final = "PARTED_SECTOR_SIZE"
_LOCK: Final = threading.Lock()
_ERRORS: Final = (
    _ped.CreateException,
    _ped.DeviceException,
    _ped.DiskException,
    _ped.DiskLabelException,
    _ped.GeometryException,
    _ped.IOException,
    _ped.PartedException,
    _ped.PartitionException,
)
"""What libparted raises; pyparted gives these no common ancestor."""


def write_table(path: Path, layout: Layout) -> None:
    """Write the layout's partition table; the content of the partitions stays as it is.

    Args:
        path: A device, or an image file, which is made (sparse) or extended to ``layout.disk_size``.
        layout: What is written.

    Raises:
        ProaError: ``LAYOUT`` when the disk is smaller than the layout or has other sectors, ``DEVICE_BUSY`` when it
            is in use, ``DEVICE``, ``DISK_FULL``.
    """
    if blockdev.is_device(path):
        check_device(path, layout)
    else:
        _make_file(path, layout.disk_size)
    _wipe(path)
    with _sector_size(layout.sector_size):
        _write(path, layout)
    gpt.stamp(path, layout)


def check_device(path: Path, layout: Layout) -> None:
    """Check that a device can take the layout.

    Raises:
        ProaError: ``LAYOUT`` when it is smaller or has other sectors, ``DEVICE_BUSY`` when it is in use, ``DEVICE``.
    """
    blockdev.check_unused(path)
    sector_size = blockdev.sector_size_of(path)
    if sector_size != layout.sector_size:
        what = f"the layout is for sectors of {layout.sector_size} bytes, but the device has sectors of {sector_size}"
        raise ProaError(Code.LAYOUT, what, at=path, hint=f"Plan it with a sector size of {sector_size}.")
    size = blockdev.size_of(path)
    if size < layout.disk_size:
        raise ProaError(Code.LAYOUT, f"the layout needs {layout.disk_size} bytes, but the disk has {size}", at=path)


def _make_file(path: Path, size: int) -> None:
    with os_errors(path), path.open("ab") as file:
        if file.tell() < size:
            file.truncate(size)


def _wipe(path: Path) -> None:
    """Take away what an earlier table, perhaps one of the other sector size, left around the partitions."""
    with os_errors(path), path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        for start, stop in ((0, MIB), (end - BACKUP_SIZE, end)):
            file.seek(start)
            file.write(bytes(stop - start))


@contextmanager
def _sector_size(size: int) -> Iterator[None]:
    """Let libparted take image files for disks of this sector size; it knows no other way than the environment."""
    with _LOCK:
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(size)
        try:
            yield
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before


def _write(path: Path, layout: Layout) -> None:
    try:
        device = parted.getDevice(str(path))
        try:
            disk = parted.freshDisk(device, "gpt")
            for partition in layout.partitions:
                _add(disk, partition.name, partition.start, partition.size)
            disk.commitToDevice()
        finally:
            device.removeFromCache()  # or a later call finds the sizes that the file had now
    except _ERRORS as error:
        raise ProaError(Code.DEVICE, f"libparted: {error}", at=path) from error


def _add(disk: parted.Disk, name: str, start: int, size: int) -> None:
    sector = disk.device.sectorSize
    place = parted.Geometry(disk.device, start=start // sector, length=size // sector)
    partition = parted.Partition(disk, parted.PARTITION_NORMAL, geometry=place)
    disk.addPartition(partition, parted.Constraint(exactGeom=place))
    partition.set_name(name)
