"""The running machine's answers to :class:`proa.partition.disk.system.System`: pyudev, sysfs, dmsetup, efivarfs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pyudev

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import environment, run
from proa.partition.disk.system import Block

_SYSFS_SECTOR: Final = 512
"""sysfs counts in this unit whatever the sector size (Linux, Documentation/ABI/stable/sysfs-block)."""
_LOADER_VARIABLE: Final = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""Set by the stub (systemd, Boot Loader Interface)."""


class KernelSystem:
    """The running machine, through pyudev, sysfs, ``dmsetup`` and efivarfs.

    Args:
        root: Where ``/proc``, ``/dev`` and the EFI variables are; sysfs is always the machine's own.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._context = pyudev.Context()

    def cmdline(self) -> str:
        """See :class:`~proa.partition.disk.system.System`."""
        return (self._root / "proc/cmdline").read_text(errors="replace")

    def mapping(self, name: str) -> str | None:
        """See :class:`~proa.partition.disk.system.System`.

        The node alone is not believed: the device must carry the name itself.
        """
        try:
            number = (self._root / "dev/mapper" / name).stat().st_rdev
            device = pyudev.Devices.from_device_number(self._context, "block", number)
        except (OSError, pyudev.DeviceNotFoundError):
            return None
        return _number(device) if device.attributes.get("dm/name") == name.encode() else None

    def mapping_table(self, name: str) -> str:
        """See :class:`~proa.partition.disk.system.System`."""
        if shutil.which("dmsetup", path=environment()["PATH"]) is None:
            return ""
        return run(["dmsetup", "table", name], timeout=30).text

    def slaves(self, number: str) -> tuple[str, ...]:
        """See :class:`~proa.partition.disk.system.System`."""
        folder = Path(self._device(number).sys_path) / "slaves"
        return tuple(sorted((slave / "dev").read_text().strip() for slave in folder.iterdir()))

    def block(self, number: str) -> Block:
        """See :class:`~proa.partition.disk.system.System`."""
        return _block(self._device(number), self._root)

    def partitions(self, disk: str) -> tuple[Block, ...]:
        """See :class:`~proa.partition.disk.system.System`."""
        children = self._context.list_devices(subsystem="block", DEVTYPE="partition", parent=self._device(disk))
        blocks = (_block(child, self._root) for child in children)
        return tuple(sorted((block for block in blocks if block.disk == disk), key=lambda block: block.index))

    def loader_partition(self) -> str:
        """See :class:`~proa.partition.disk.system.System`. The variable is four bytes of attributes, then UTF-16."""
        try:
            value = (self._root / "sys/firmware/efi/efivars" / _LOADER_VARIABLE).read_bytes()
        except OSError:
            return ""
        return value[4:].decode("utf-16-le", errors="replace").rstrip("\0").lower()

    def _device(self, number: str) -> pyudev.Device:
        major, _, minor = number.partition(":")
        try:
            return pyudev.Devices.from_device_number(self._context, "block", os.makedev(int(major), int(minor)))
        except (pyudev.DeviceNotFoundError, ValueError) as error:
            raise ProaError(Code.NO_DISK, f"there is no block device {number or '(none)'}") from error


def _number(device: pyudev.Device) -> str:
    return f"{os.major(device.device_number)}:{os.minor(device.device_number)}"


def _block(device: pyudev.Device, root: Path) -> Block:
    node = root / device.device_node.lstrip("/")
    size = device.attributes.asint("size") * _SYSFS_SECTOR
    if device.device_type != "partition":
        return Block(_number(device), node, size=size)
    return Block(
        number=_number(device),
        node=node,
        index=device.attributes.asint("partition"),
        start=device.attributes.asint("start") * _SYSFS_SECTOR,
        size=size,
        disk=_number(device.find_parent("block")),
    )
