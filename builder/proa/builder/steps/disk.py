"""The disk image as it leaves the factory: slot A filled and good, slot B empty, ``PERSIST`` empty."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.config.disklayout import layout
from proa.builder.engine import sparse
from proa.builder.engine.context import BuildContext
from proa.core.runtime.events import Note, human_bytes
from proa.partition.boot import bootstate, statefile
from proa.partition.boot.bootstate import Slot
from proa.partition.disk import persist, table
from proa.partition.disk.layout import Layout, check_contents, derive_guid
from proa.partition.disk.slots import Extent

TIGHT: Final = 0.8
"""How full a slot may be before the build warns: its size can never change."""


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
        contents = _contents(context)
        sizes = {name: sum(path.stat().st_size for path in paths) for name, paths in contents.items()}
        planned = layout(context.config, sizes)
        check_contents(planned, sizes)
        _warn(context, planned, sizes)
        image = out / "disk.raw"
        state = context.scratch / "state.img"
        statefile.make_state_image(state, bootstate.initial(Slot.A))
        table.write_table(image, planned)
        for name, paths in {**contents, "STATE": [state]}.items():
            at = planned[name].start
            for path in paths:
                at += sparse.copy(path, image, at)
        _make_persist(image, planned, context)


def _contents(context: BuildContext) -> dict[str, list[Path]]:
    """The files of each partition, one behind the other."""
    return {
        "BOOT": [context.output("esp") / "esp.img"],
        Slot.A.uki_name: [context.output("uki") / "boot.img"],
        Slot.A.root_name: [context.output("root") / "root.erofs", context.output("verity") / "root.tree"],
    }


def _warn(context: BuildContext, planned: Layout, sizes: Mapping[str, int]) -> None:
    for name in (Slot.A.uki_name, Slot.A.root_name):
        room = planned[name].size
        if sizes[name] > TIGHT * room:
            text = f"{name} is {sizes[name] / room:.0%} full: {human_bytes(sizes[name])} of {human_bytes(room)}"
            context.monitor.emit(Note(f"{text}; slots never grow", "warning"))


def _make_persist(image: Path, planned: Layout, context: BuildContext) -> None:
    partition = planned["PERSIST"]
    uuid = derive_guid(context.config.release.name, "PERSIST file system")
    persist.make(Extent(image, partition.start, partition.size), uuid=uuid, epoch=context.epoch)


DISK: Final = DiskStep()
