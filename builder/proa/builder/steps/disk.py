"""The disk image as it leaves the factory: slot A filled and good, slot B empty, ``PERSIST`` empty."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine import sparse
from proa.builder.engine.context import BuildContext
from proa.builder.steps import fit
from proa.partition.boot import bootstate, statefile
from proa.partition.boot.bootstate import Slot
from proa.partition.disk import persist, table
from proa.partition.disk.layout import Layout, derive_guid
from proa.partition.disk.slots import Extent


class DiskStep:
    """See the module."""

    name = "disk"
    title = "Disk image"
    needs = ("root", "verity", "uki", "esp")
    tools = ("mformat", "mcopy", "mke2fs", "debugfs")
    keep = False

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The settings of the layout, and the time."""
        return {"disk": dataclasses.asdict(context.config.disk), "epoch": context.epoch}

    def run(self, context: BuildContext, out: Path) -> None:
        """Make it.

        Raises:
            ProaError: ``LAYOUT``; ``TOO_LARGE``, before anything is written; ``TOOL``, ``DISK_FULL``.
        """
        contents = fit.contents(context)
        planned = fit.fitted(context, fit.sizes_of(contents))
        image = out / "disk.raw"
        state = context.scratch / "state.img"
        statefile.make_state_image(state, bootstate.initial(Slot.A))
        table.write_table(image, planned)
        for name, paths in {**contents, "STATE": [state]}.items():
            at = planned[name].start
            for path in paths:
                at += sparse.copy(path, image, at)
        _make_persist(image, planned, context)


def _make_persist(image: Path, planned: Layout, context: BuildContext) -> None:
    partition = planned["PERSIST"]
    uuid = derive_guid(context.config.release.name, "PERSIST file system")
    persist.make(Extent(image, partition.start, partition.size), uuid=uuid, epoch=context.epoch)


DISK: Final = DiskStep()
