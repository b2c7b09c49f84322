"""``proa-disk grow``: what a boot does to the table, on a disk that is not booted.

Devices and files of 512-byte sectors are written by sfdisk, which flushes after each piece in the order of UEFI 2.10,
section 5.3.2, so that one of the two tables is whole at any moment. sfdisk 2.38 knows no other sectors in files:
there pyparted writes.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import run
from proa.partition.disk import blockdev, layout
from proa.partition.disk.layout import Layout
from proa.partition.disk.readtable import read_layout


def plan(path: Path) -> Layout:
    """What the table of the disk at ``path`` is to become; equal to what it is when it has been grown already.

    Raises:
        ProaError: ``NO_DISK``, ``AMBIGUOUS``, ``FILE_MISSING``, ``DEVICE`` or ``LAYOUT``.
    """
    now = read_layout(path)
    return layout.grow(now, blockdev.size_of(path), lambda: str(uuid.uuid4()))


def write(path: Path, grown: Layout) -> None:
    """Write the table that :func:`plan` gave.

    Raises:
        ProaError: ``DEVICE_BUSY`` when the disk is in use, ``TOOL``, ``DEVICE``.
    """
    device = blockdev.is_device(path)
    if device:
        blockdev.check_unused(path)
    if device or grown.sector_size == 512:
        quiet = ("--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never", "--wipe-partitions=never")
        run(["sfdisk", *quiet, path], stdin=script(grown).encode())
    else:
        from proa.partition.disk.table import write_table  # only here: a node has no libparted

        write_table(path, grown)
    if device and not blockdev.tell_kernel(path):
        raise ProaError(
            Code.DEVICE,
            "the kernel does not accept the new table",
            at=path,
            hint=("Detach the disk and attach it again."),
        )


def _quoted(name: str) -> str:
    """A name as sfdisk reads it; a stranger's may hold anything."""
    return "".join(one if one.isalnum() or one in "-_. " else _escaped(one) for one in name)


def _escaped(one: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in one.encode())


def script(table: Layout) -> str:
    """The table as sfdisk reads it (sfdisk(8), "Input formats")."""
    sector = table.sector_size
    lines = ["label: gpt", f"label-id: {table.disk_guid}", "unit: sectors", f"sector-size: {sector}"]
    lines += [f"first-lba: {2 + 16384 // sector}", ""]
    for partition in table.partitions:
        fields = {
            "start": str(partition.start // sector),
            "size": str(partition.size // sector),
            "type": partition.type_guid,
            "uuid": partition.guid,
            "name": f'"{_quoted(partition.name)}"',
        }
        bits = ",".join(str(bit) for bit in range(48, 64) if partition.attributes >> bit & 1)
        if bits:
            fields["attrs"] = f'"GUID:{bits}"'
        lines.append(f"p{partition.number} : " + ", ".join(f"{key}={value}" for key, value in fields.items()))
    return "\n".join(lines) + "\n"
