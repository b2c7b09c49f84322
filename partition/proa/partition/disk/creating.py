"""``proa-disk create``: a disk with its table, a fresh boot state, an empty PERSIST, and whatever it is filled with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Monitor, step
from proa.core.runtime.files import fsync_folder, os_errors, rename_new
from proa.partition.boot import bootstate, statefile
from proa.partition.disk import blockdev, layout, persist
from proa.partition.disk.contents import fill
from proa.partition.disk.layout import Layout, derive_guid
from proa.partition.disk.slots import Extent
from proa.partition.disk.table import check_device, write_table

_EPOCH = 315532800
"""1980-01-01, where FAT's time begins as well: the time of everything in a disk that holds no release."""


def check(target: Path, planned: Layout, fillings: Mapping[str, Path]) -> None:
    """Check all that can be checked before anything is written.

    Raises:
        ProaError: ``FILE_EXISTS``, ``FILE_MISSING``, ``TOO_LARGE``, ``LAYOUT``, ``DEVICE_BUSY``, ``DEVICE``.
    """
    layout.check_contents(planned, {name: blockdev.size_of(path) for name, path in fillings.items()})
    if blockdev.is_device(target):
        check_device(target, planned)
    elif target.exists():
        raise ProaError(Code.FILE_EXISTS, "the file exists", at=target)
    elif not target.absolute().parent.is_dir():
        raise ProaError(Code.FILE_MISSING, "the folder does not exist", at=target.absolute().parent)


def create(target: Path, planned: Layout, seed: str, fillings: Mapping[str, Path], monitor: Monitor) -> None:
    """Make the disk. A file gets its name only when it is whole.

    Args:
        target: A device, or a file that is not there yet.
        planned: The layout.
        seed: What its GUIDs were derived from; that of PERSIST's file system is too.
        fillings: Files for partitions, by name; ``STATE`` and ``PERSIST`` are made when none is given for them.
        monitor: Where the steps are told.

    Raises:
        ProaError: As :func:`check`, and ``TOOL``, ``TOOL_MISSING``, ``DISK_FULL``.
    """
    if blockdev.is_device(target):
        _create(target, planned, seed, fillings, monitor)
        if not blockdev.tell_kernel(target):
            raise ProaError(Code.DEVICE, "the kernel does not accept the new table", at=target)
        return
    with (
        os_errors(target),
        tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as work,
    ):
        image = Path(work) / target.name
        _create(image, planned, seed, fillings, monitor)
        rename_new(image, target)
        fsync_folder(target.absolute().parent)


def _create(path: Path, planned: Layout, seed: str, fillings: Mapping[str, Path], monitor: Monitor) -> None:
    with step(monitor, "table"):
        write_table(path, planned)
    extents = {partition.name: Extent(path, partition.start, partition.size) for partition in planned.partitions}
    if "STATE" not in fillings:
        with step(monitor, "STATE"), tempfile.TemporaryDirectory(prefix="proa-state-") as work:
            statefile.make_state_image(Path(work) / "state", bootstate.initial())
            fill(extents["STATE"], Path(work) / "state")
    if "PERSIST" not in fillings:
        with step(monitor, "PERSIST"):
            persist.make(extents["PERSIST"], uuid=derive_guid(seed, "persist-file-system"), epoch=_EPOCH)
    for name, source in fillings.items():
        with step(monitor, name):
            fill(extents[name], source)
