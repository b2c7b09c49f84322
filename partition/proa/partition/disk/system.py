"""What is asked of the kernel about disks, partitions and the device mapper: a small interface.

:mod:`proa.partition.disk.kernel` answers on a running machine; tests answer with machines of their own.

Device numbers are text, ``major:minor``. Starts and sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Block:
    """A block device.

    Attributes:
        number: ``major:minor``.
        node: Its file under ``/dev``.
        index: The partition's number; 0 for what is no partition.
        start: Where the partition begins on its disk, in bytes.
        size: In bytes.
        disk: The number of the disk that a partition is on; ``None`` for what is no partition.
    """

    number: str
    node: Path
    index: int = 0
    start: int = 0
    size: int = 0
    disk: str | None = None


class System(Protocol):
    """What may be asked of the machine."""

    def cmdline(self) -> str:
        """The kernel's command line."""
        ...

    def mapping(self, name: str) -> str | None:
        """The number of the device mapper's device of that name; ``None`` when there is none."""
        ...

    def mapping_table(self, name: str) -> str:
        """The active table of a mapping, as ``dmsetup table`` prints it; empty when nobody can tell."""
        ...

    def slaves(self, number: str) -> tuple[str, ...]:
        """The numbers of the devices that a device is made of."""
        ...

    def block(self, number: str) -> Block:
        """A device by its number.

        Raises:
            ProaError: ``NO_DISK`` when there is none.
        """
        ...

    def partitions(self, disk: str) -> tuple[Block, ...]:
        """The partitions that the kernel has of a disk."""
        ...

    def loader_partition(self) -> str:
        """The GUID of the partition that the UKI was loaded from, in lower case; empty when nobody told."""
        ...
