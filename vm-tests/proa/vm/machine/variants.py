"""Kinds of machines that real nodes are: what the story of an upgrade is told on, each by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.disks import DiskBus, DiskImage

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Variant:
    """What is special about a machine.

    Attributes:
        why: What it stands for.
        bus: What the system disk is attached to.
        sector_size: Of the system disk, in bytes; an image is built for one.
        others: Further disks, with nothing on them.
        hardware: Fields of :class:`proa.vm.machine.qemu.Hardware`.
    """

    why: str
    bus: DiskBus = DiskBus.VIRTIO
    sector_size: int = 512
    others: tuple[DiskBus, ...] = ()
    hardware: Mapping[str, Any] = field(default_factory=dict)

    @property
    def can_be_saved(self) -> bool:
        """Whether QEMU can save such a machine: it cannot with NVMe."""
        return DiskBus.NVME not in (self.bus, *self.others)

    def spare_disks(self, folder: Path) -> tuple[DiskImage, ...]:
        """The further disks, as sparse files that are made in ``folder``."""
        disks = []
        for number, bus in enumerate(self.others):
            path = folder / f"spare{number}.raw"
            with path.open("wb") as file:
                file.truncate(64 * MIB)
            disks.append(DiskImage(path, bus=bus))
        return tuple(disks)


VARIANTS: Final[Mapping[str, Variant]] = {
    "plain": Variant("a virtual machine of a cloud: one virtio disk, one network card"),
    "server": Variant(
        "a server: a SCSI disk among others, a TPM 2.0, and network cards without a cable",
        DiskBus.SCSI,
        others=(DiskBus.SATA, DiskBus.VIRTIO),
        hardware={"tpm": True, "spare_cards": 2},
    ),
    "nvme": Variant("a server with NVMe and a TPM 2.0", DiskBus.NVME, others=(DiskBus.NVME,), hardware={"tpm": True}),
    "sata": Variant("a small server with SATA disks", DiskBus.SATA, others=(DiskBus.SATA,)),
    "4k": Variant("NVMe with sectors of 4096 bytes", DiskBus.NVME, sector_size=4096),
    "no-clock": Variant("a board whose clock forgets the time", hardware={"clock": False}),
}
"""Every kind, by name."""


def find(name: str) -> Variant:
    """The kind of that name.

    Raises:
        ProaError: ``USAGE``, with the names that there are.
    """
    if name not in VARIANTS:
        raise ProaError(Code.USAGE, f"{name!r} is not one of: {', '.join(VARIANTS)}")
    return VARIANTS[name]
