"""Fit: whether the release fits the slots of its disk, and how much room they have left for releases to come.

A step of its own, so that it runs whatever the build is to write: a slot never changes its size, and a release that
fits no slot must not be signed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.config.disklayout import layout
from proa.builder.engine.context import BuildContext
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note, human_bytes
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.layout import Layout, check_contents

TIGHT: Final = 0.8
"""How full a slot may be before the build warns."""
_SLOTS: Final = {"boot": Slot.A.uki_name, "root": Slot.A.root_name}


class Fit:
    """See the module."""

    name = "fit"
    title = "Room in the slots"
    needs = ("root", "verity", "uki", "esp")
    tools = ()
    keep = False

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The settings of the layout, and the budget."""
        return {"disk": dataclasses.asdict(context.config.disk), "budget": context.config.build.budget}

    def run(self, context: BuildContext, out: Path) -> None:
        """Write ``fit.json``.

        Raises:
            ProaError: ``TOO_LARGE`` or ``LAYOUT``, with both sizes.
        """
        budget = context.config.build.budget
        check_budget((context.output("root") / "root.erofs").stat().st_size, budget)
        sizes = sizes_of(contents(context))
        planned = fitted(context, sizes)
        left = {}
        for name, partition in _SLOTS.items():
            room = planned[partition].size
            left[name] = room - sizes[partition]
            if sizes[partition] > TIGHT * room:
                full = f"{sizes[partition] / room:.0%} full: {human_bytes(sizes[partition])} of {human_bytes(room)}"
                context.monitor.emit(Note(f"{partition} is {full}; slots never grow", "warning"))
        (out / "fit.json").write_text(json.dumps({"headroom": left, "budget": budget}, indent=1) + "\n")


def check_budget(size: int, budget: int) -> None:
    """Refuse a root that is larger than it may be.

    Args:
        size: Bytes of its image.
        budget: Bytes that it may have; 0 for no limit.

    Raises:
        ProaError: ``TOO_LARGE``.
    """
    if budget and size > budget:
        what = f"the root has {human_bytes(size)}, {human_bytes(size - budget)} more than its budget"
        hint = "Compare it with an older release (proa-build size), or raise the budget."
        raise ProaError(Code.TOO_LARGE, what, at="build.budget", hint=hint)


def contents(context: BuildContext) -> dict[str, list[Path]]:
    """The files of each partition that is filled, one behind the other."""
    return {
        "BOOT": [context.output("esp") / "esp.img"],
        Slot.A.uki_name: [context.output("uki") / "boot.img"],
        Slot.A.root_name: [context.output("root") / "root.erofs", context.output("verity") / "root.tree"],
    }


def sizes_of(files: Mapping[str, list[Path]]) -> dict[str, int]:
    """Bytes for each partition."""
    return {name: sum(path.stat().st_size for path in paths) for name, paths in files.items()}


def fitted(context: BuildContext, sizes: Mapping[str, int]) -> Layout:
    """The layout of the disk, which the contents fit.

    Raises:
        ProaError: ``TOO_LARGE`` or ``LAYOUT``.
    """
    planned = layout(context.config, sizes)
    check_contents(planned, sizes)
    return planned


FIT: Final = Fit()
