"""The image of ``BOOT``, the EFI system partition: shim and GRUB, where firmware looks without a boot entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine.context import BuildContext
from proa.builder.formats import fat


class Esp:
    """See the module."""

    name = "esp"
    title = "EFI system partition"
    needs = ("loader",)
    tools = ("mformat", "mmd", "mcopy")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """Its size, the sectors of the disk, the time."""
        disk = context.config.disk
        return {"size": disk.boot, "sector_size": disk.sector_size, "epoch": context.epoch}

    def run(self, context: BuildContext, out: Path) -> None:
        """Make it.

        Raises:
            ProaError: ``TOO_LARGE``, ``LAYOUT``, ``TOOL``, ``DISK_FULL``.
        """
        architecture, disk = context.architecture, context.config.disk
        files = {
            f"EFI/BOOT/{name}": context.output("loader") / name
            for name in (architecture.boot_file, architecture.grub_file)
        }
        image = out / "esp.img"
        fat.make_fat32(image, disk.boot, files, "BOOT", context.epoch, sector_size=disk.sector_size)


ESP: Final = Esp()
