"""What ``proa-disk show`` says: the layout, what each partition holds, the slots, both copies of the boot state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.printable import printable
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import BootState, Slot
from proa.partition.boot.statefile import StateFile
from proa.partition.cli import rendering
from proa.partition.cli.reports import (
    BootedSlot,
    HoldingPartition,
    ShownDisk,
    SlotContent,
    StateCopies,
    facts,
    partitions,
)
from proa.partition.disk.contents import Content, probe
from proa.partition.disk.kernelimage import KernelImage, read_kernel_image
from proa.partition.disk.layout import Layout
from proa.partition.disk.slots import Node


@dataclass(frozen=True)
class DiskView:
    """All that is shown.

    Attributes:
        node: The disk, and the slot that is booted from it.
        contents: What each partition holds, by name.
        copies: The two copies of the boot state; ``None`` for a damaged one.
        counts: The number of the copy that counts; ``None`` when both are damaged.
        releases: What the kernel image of each slot says.
    """

    node: Node
    contents: dict[str, Content]
    copies: tuple[BootState | None, ...]
    counts: int | None
    releases: dict[Slot, KernelImage | None]

    @property
    def layout(self) -> Layout:
        """The disk's table."""
        if self.node.disk.layout is None:
            raise ProaError(Code.NO_DISK, at=self.node.disk.path)
        return self.node.disk.layout


def look(node: Node) -> DiskView:
    """Read all that is shown; nothing is written.

    Raises:
        ProaError: ``DEVICE`` or ``FILE_MISSING``.
    """
    state = node.disk.partitions["STATE"]
    pair = StateFile.within(state.path, state.offset).read()
    found = {name: probe(extent) for name, extent in node.disk.partitions.items()}
    releases = {slot: read_kernel_image(node.disk.partitions[slot.uki_name]) for slot in Slot}
    return DiskView(node, found, tuple(bootstate.decode(copy) for copy in pair), pair.copy, releases)


def report(view: DiskView) -> ShownDisk:
    """The view for ``proa.disk/v1``."""
    node = view.node
    evidence = node.evidence
    device, agrees = (str(evidence.root_device), evidence.loader_agrees) if evidence else ("", None)
    return ShownDisk(
        *facts(view.layout),
        tuple(HoldingPartition(*one, view.contents[one[1]]) for one in partitions(view.layout)),
        disk=str(node.disk.path),
        booted=BootedSlot(node.booted, node.root_hash, device, agrees) if node.booted else None,
        slots={slot: _slot(view, slot) for slot in Slot},
        state=StateCopies(view.counts, view.copies),
    )


def text(view: DiskView) -> str:
    """The view for a person."""
    holds = {name: str(content) for name, content in view.contents.items()}
    return "\n".join([f"{view.node.disk.path}", rendering.text(view.layout, holds=holds), *_lines(view)])


def _lines(view: DiskView) -> Iterator[str]:
    yield f"GUID {view.layout.disk_guid}, " + ("grown" if view.layout.grown else "as shipped")
    for slot in Slot:
        lies = view.releases[slot]
        release = f", {lies.name} {lies.version}, root {lies.root_hash or 'unknown'}" if lies else ""
        yield f"slot {slot.value}: {_slot(view, slot).holds}{printable(release)}{_marks(view, slot)}"
    if view.counts is None:
        yield "boot state: both copies are damaged; GRUB uses its built-in default"
    for number, copy in enumerate(view.copies, 1):
        counts = ", in effect" if number == view.counts else ""
        words = " ".join(f"{name}={value}" for name, value in copy.variables().items()) if copy else "damaged"
        yield f"boot state, copy {number}: {words}{counts}"


def _marks(view: DiskView, slot: Slot) -> str:
    state = view.copies[view.counts - 1] if view.counts else None
    marks = []
    if state and state.good is slot:
        marks.append("good" if _slot(view, slot).holds != "empty" else "boots first")
    if state and state.on_trial and state.trial is slot:
        marks.append(f"on trial, {state.left} attempts left")
    if view.node.booted is slot:
        marks.append(f"booted, root hash {view.node.root_hash}")
    return "".join(f", {mark}" for mark in marks)


def _slot(view: DiskView, slot: Slot) -> SlotContent:
    uki, root = view.contents[slot.uki_name], view.contents[slot.root_name]
    full = {(False, False): "empty", (True, True): "filled"}.get((uki.kind != "empty", root.kind != "empty"), "half")
    return SlotContent(full, uki.kind, root.kind, view.releases[slot])
