"""The disks of a virtual machine: overlays over images that are never written to, and what a power cut leaves."""

from __future__ import annotations

import enum
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import check_storage, real
from proa.vm.machine.options import escape, switch
from proa.vm.support.copies import copy_sparse

_PACKAGE = "qemu-utils"


@dataclass(frozen=True)
class CacheMode:
    """How QEMU treats a write."""

    direct: bool
    """Past the host's page cache (O_DIRECT)."""
    flush: bool
    """Whether a flush goes on to the host's disk (fdatasync)."""
    volatile: bool
    """Whether the guest is shown a disk with a volatile write cache, which it has to flush itself."""


class DiskCache(enum.Enum):
    """What of a guest's writes survives when QEMU is killed (SIGKILL, our power cut) or the host loses power.

    "Acknowledged": the disk has told the guest that the write is done. "Flushed": the guest has also had a
    flush (or FUA write) acknowledged after it. An acknowledged write that was not flushed may be lost where the
    cache is volatile, as on a real disk; here because the overlay's own tables are still in QEMU's memory.
    """

    DIRECTSYNC = CacheMode(direct=True, flush=True, volatile=False)
    """Each write is on the host's disk before it is acknowledged: all acknowledged writes survive both."""
    WRITETHROUGH = CacheMode(direct=False, flush=True, volatile=False)
    """The same through the host's page cache: all acknowledged writes survive both. Reads are cached."""
    KILLPROOF = CacheMode(direct=False, flush=False, volatile=False)
    """All acknowledged writes survive a killed QEMU; a host that loses power loses what it likes. Cheap."""
    WRITEBACK = CacheMode(direct=False, flush=True, volatile=True)
    """A disk with a volatile cache: what was flushed survives both, the rest may be lost."""
    UNSAFE = CacheMode(direct=False, flush=False, volatile=True)
    """As WRITEBACK for a killed QEMU (flushed writes survive, others may not), nothing for the host. Fastest."""


class DiskBus(enum.Enum):
    """What a disk is attached to."""

    VIRTIO = "virtio-blk-pci"
    NVME = "nvme"
    SATA = "ide-hd"
    SCSI = "scsi-hd"


@dataclass(frozen=True)
class DiskImage:
    """A disk image to attach. The image itself is opened for reading only; writes go to an overlay."""

    path: Path
    format: str = "raw"
    sector_size: int = 512
    """Bytes in a logical and physical sector: 512 or 4096."""
    size: int = 0
    """Bytes that the guest sees, if larger than the image; 0 for the image's own size."""
    cache: DiskCache = DiskCache.UNSAFE
    bus: DiskBus = DiskBus.VIRTIO
    serial: str = ""
    """Shown in the guest as /dev/disk/by-id/virtio-SERIAL."""

    def __post_init__(self) -> None:
        """Refuse what QEMU would.

        Raises:
            ProaError: ``USAGE``.
        """
        if self.bus is DiskBus.SATA and self.sector_size != 512:
            raise ProaError(Code.USAGE, "QEMU's SATA disks support only sectors of 512 bytes", at=self.path)


@dataclass(frozen=True)
class Overlay:
    """The copy-on-write file that takes a machine's writes to one disk. It outlives power cuts."""

    path: Path
    disk: DiskImage

    @classmethod
    def create(cls, disk: DiskImage, path: Path) -> Overlay:
        """Make a fresh overlay at ``path``.

        Raises:
            ProaError: ``FILE_MISSING`` when the image is not there, ``DEVICE`` when it is neither a file nor a device,
                ``TOOL`` when it is not of its format.
        """
        if not disk.path.exists():
            raise ProaError(Code.FILE_MISSING, "the disk image does not exist", at=disk.path)
        check_storage(disk.path)
        process.find("qemu-img", _PACKAGE)
        argv: list[str | Path] = [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            "cluster_size=65536,lazy_refcounts=off",
        ]
        argv += ["-b", real(disk.path), "-F", disk.format, path]
        process.run([*argv, str(disk.size)] if disk.size else argv)
        return cls(path, disk)

    def save(self, path: Path) -> None:
        """Copy the overlay itself to ``path``. The machine must stand still, its memory saved."""
        copy_sparse(self.path, path)

    def restore(self, path: Path) -> None:
        """Become a copy of an overlay that was saved over an image of the same content. The machine must be off."""
        copy_sparse(path, self.path)
        image = real(self.disk.path)
        process.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", self.disk.format, "-b", image, self.path])

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from byte ``offset``, both multiples of 512. The machine must be off."""
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            out = Path(folder, "part")
            where = [f"skip={offset // 512}", f"count={(offset + size) // 512}", "bs=512"]
            process.run(["qemu-img", "dd", "-f", "qcow2", "-O", "raw", *where, f"if={self.path}", f"of={out}"])
            return out.read_bytes()[:size]

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at byte ``offset``: damage, or a repair from outside. The machine must be off."""
        with tempfile.NamedTemporaryFile(dir=self.path.parent) as file:
            file.write(data)
            file.flush()
            order = f"write -q -s {file.name} {offset} {len(data)}"
            result = process.run(["qemu-io", "-f", "qcow2", "-c", order, self.path])
        if b"failed" in result.stdout + result.stderr:
            raise process.failure(result)

    def export(self, path: Path) -> None:
        """Write the disk as it is now to ``path``, raw and sparse. The machine must be off."""
        process.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.path, path])


def arguments(overlay: Overlay, number: int) -> Iterator[str]:
    """QEMU's arguments for the disk with this number; number 0 boots."""
    disk, mode = overlay.disk, overlay.disk.cache.value
    name = f"disk{number}"
    cache = f"cache.direct={switch(mode.direct)},cache.no-flush={switch(not mode.flush)}"
    back = f"backing.driver={disk.format},backing.read-only=on,backing.file.driver=file"
    yield "-blockdev"
    yield (
        f"driver=qcow2,node-name={name},{cache},discard=unmap,detect-zeroes=unmap,"
        f"file.driver=file,file.filename={escape(overlay.path)},file.{cache.replace(',', ',file.')},"
        f"{back},backing.file.filename={escape(real(disk.path))}"
    )
    if disk.bus is DiskBus.SCSI:
        yield from ("-device", f"virtio-scsi-pci,id=scsi{number}")
    yield "-device"
    yield ",".join((disk.bus.value, *_device(disk, number)))


def _device(disk: DiskImage, number: int) -> Iterator[str]:
    yield f"drive=disk{number},bootindex={number}"
    yield f"logical_block_size={disk.sector_size},physical_block_size={disk.sector_size}"
    if disk.bus is not DiskBus.NVME:
        yield f"write-cache={switch(disk.cache.value.volatile)}"
    if disk.bus is DiskBus.SCSI:
        yield f"bus=scsi{number}.0"
    if disk.bus is DiskBus.SATA:
        yield f"bus=ide.{number}"
    if disk.serial or disk.bus is DiskBus.NVME:
        yield f"serial={disk.serial or f'proa{number}'}"
