"""The layout of the configuration's disk."""

from __future__ import annotations

from collections.abc import Mapping

from proa.builder.config.settings import Config
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.layout import Layout, LayoutRequest, Sizes, plan, sizes_for


def is_derived(config: Config) -> bool:
    """Whether the layout depends on what the build makes."""
    return not (config.disk.uki and config.disk.root)


def layout(config: Config, contents: Mapping[str, int]) -> Layout:
    """The layout of the configuration's disk; all GUIDs follow from the name of the product line.

    Args:
        config: The configuration.
        contents: Bytes for each partition that is filled; none count for those whose sizes are given.

    Raises:
        ProaError: ``LAYOUT``.
    """
    disk = config.disk
    derived = sizes_for(contents.get(Slot.A.root_name, 0), contents.get(Slot.A.uki_name, 0))
    sizes = Sizes(boot=disk.boot, uki=disk.uki or derived.uki, root=disk.root or derived.root, persist=disk.persist)
    return plan(LayoutRequest(config.release.name, sizes, disk.size or None, disk.sector_size))
