"""What the agent sees when it looks at the node: disk, booted slot, boot state, report of the boot, record."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from proa.agent.node import record as records
from proa.agent.node.boot import BootedRelease, BootReport, boot_id, boot_report, booted_release, disagreement
from proa.agent.node.cancel import Cancel
from proa.agent.node.paths import Paths
from proa.agent.node.persist import persist_problems
from proa.agent.node.record import AgentRecord, SlotRecord
from proa.agent.node.states import NodeState, SlotState, StateFacts, node_state, slot_state
from proa.core.release.document import BLOCK_SIZE
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor
from proa.core.runtime.files import DirectFile
from proa.partition.boot.bootstate import BootState, Slot, initial
from proa.partition.boot.statefile import StateFile
from proa.partition.disk import blockdev
from proa.partition.disk.contents import probe
from proa.partition.disk.slots import Disk, Extent, Node, discover, open_image
from proa.partition.disk.system import System


@dataclass(frozen=True)
class Context:
    """What every piece of work gets: places, monitor, time, the kernel's word, and the wish to stop.

    Attributes:
        found: The disk and the running slot once they were found: neither changes before the next boot.
    """

    paths: Paths
    monitor: Monitor = SILENT
    clock: Clock = SYSTEM
    system: System | None = None
    cancel: Cancel = field(default_factory=Cancel)
    found: list[Node] = field(default_factory=list)

    def time(self) -> str:
        """Now, as it stands in records (RFC 3339)."""
        return self.clock.now().isoformat(timespec="seconds")


@dataclass(frozen=True)
class View:
    """One look at the node. Nothing in it changes when the node does: look again.

    Attributes:
        node: The disk and the running slot, by device number.
        record: What the agent remembers.
        warning: What was wrong with the record's file; empty if nothing.
        report: The initrd's report of this boot.
        persist: What is wrong with PERSIST, a sentence each.
        booted_release: What runs.
        boot_id: The kernel's identifier of this boot.
        leaving: Whether this boot's slot was given up by order.
        state: The boot state; that of a new disk where there is none.
        problem: Why there is no boot state to go by, or why it cannot be believed.
    """

    node: Node
    record: AgentRecord
    warning: str
    report: BootReport | None
    persist: tuple[str, ...]
    booted_release: BootedRelease | None
    boot_id: str
    leaving: bool
    state: BootState
    problem: ProaError | None

    @property
    def disk(self) -> Disk:
        """The disk."""
        return self.node.disk

    @property
    def booted(self) -> Slot | None:
        """The running slot."""
        return self.node.booted

    @property
    def running(self) -> Slot:
        """The running slot, or the good one where nothing runs."""
        return self.node.booted or self.state.good

    @property
    def is_good(self) -> bool:
        """Whether the good slot runs."""
        return self.node.booted is self.state.good

    @cached_property
    def seen(self) -> StateFacts:
        """The facts that the table of states wants."""
        slots = self.record.slots
        return StateFacts(
            state=self.state,
            booted=self.booted,
            complete=frozenset(slot for slot, known in slots.items() if known.complete),
            partial=frozenset(slot for slot, known in slots.items() if not known.complete),
            failed=frozenset(slot for slot, known in slots.items() if known.failed),
            consistent=self.problem is None,
            empty=frozenset(slot for slot in Slot if self._is_empty(slot)),
        )

    def _is_empty(self, slot: Slot) -> bool:
        """Whether a slot holds nothing: one that runs or of which something is known is not looked at."""
        if slot is self.booted or slot in self.record.slots:
            return False
        try:
            return all(probe(extent).kind == "empty" for extent in self.extents(slot))
        except ProaError:
            return False

    def check(self) -> None:
        """Raise the problem, if there is one: nothing is changed on a node that cannot be understood."""
        if self.problem:
            raise self.problem

    def node_state(self, writing: Slot | None = None) -> NodeState:
        """What the node is doing; ``writing`` is the slot that an install of this process writes."""
        return node_state(dataclasses.replace(self.seen, writing=writing))

    def slot_state(self, slot: Slot, writing: Slot | None = None) -> SlotState:
        """What a slot is."""
        return slot_state(dataclasses.replace(self.seen, writing=writing), slot)

    def extents(self, slot: Slot) -> tuple[Extent, Extent]:
        """Where the slot's root and its kernel image lie."""
        return self.disk.partitions[slot.root_name], self.disk.partitions[slot.uki_name]


def state_file(disk: Disk) -> StateFile:
    """The boot state's two copies on a disk."""
    extent = disk.partitions["STATE"]
    return StateFile.within(extent.path, extent.offset)


def find_node(context: Context, *, anew: bool = False) -> Node:
    """The disk to work on and what runs from it; ``anew`` asks the kernel again.

    Raises:
        ProaError: as :func:`proa.partition.disk.slots.discover` and ``open_image``; ``DEVICE_BUSY`` for a device given
            by name that somebody uses, as the running node does its own.
    """
    if anew or not context.found:
        context.found[:] = [_find_node(context)]
    return context.found[0]


def _find_node(context: Context) -> Node:
    disk = context.paths.disk
    if disk is None:
        return discover(context.system)
    if blockdev.is_device(disk):
        blockdev.check_unused(disk)
    return Node(open_image(disk))


def need_disk(context: Context) -> None:
    """Refuse where there is no disk to work on: before the lock is taken, so that nothing is left on such a machine.

    What else is wrong is left to the holder of the lock, which records it.

    Raises:
        ProaError: ``NO_DISK`` or ``FILE_MISSING``.
    """
    try:
        find_node(context)
    except ProaError as error:
        if error.code in (Code.NO_DISK, Code.FILE_MISSING):
            raise


def look(context: Context, *, anew: bool = False) -> View:
    """Look at the node; ``anew`` also finds disk and running slot again.

    What is wrong with the boot state or the boot is kept in ``problem``, so that ``status`` can tell it.

    Raises:
        ProaError: as :func:`find_node`.
    """
    paths = context.paths
    node = find_node(context, anew=anew)
    record, warning = records.load(paths.record)
    leaving = paths.leaving.exists()
    report, state, problem = None, initial(node.booted or Slot.A), None
    try:
        report = boot_report(paths) if node.booted else None
    except ProaError as error:
        problem = error
    try:
        state = state_file(node.disk).current()
        if node.booted and (why := disagreement(report, node.booted, state, record.trial, leaving=leaving)):
            problem = problem or ProaError(Code.HANDSHAKE, why, at=node.disk.path)
    except ProaError as error:
        problem = problem or error
    return View(
        node=node,
        record=record,
        warning=warning,
        report=report,
        persist=persist_problems(paths, report),
        booted_release=booted_release(paths) if node.booted else None,
        boot_id=boot_id(paths),
        leaving=leaving,
        state=state,
        problem=problem,
    )


def holds(view: View, slot: Slot, root_hash: str, salt: str, root_size: int) -> bool:
    """Whether the slot's tree begins with the block that has this root hash: its content's name, if it is intact."""
    extent = view.disk.partitions[slot.root_name]
    if root_size + BLOCK_SIZE > extent.size:
        return False
    with DirectFile(extent.path) as device:
        top = device.read(extent.offset + root_size, BLOCK_SIZE)
    return hashlib.sha256(bytes.fromhex(salt) + top).hexdigest() == root_hash


def known_slot(view: View, slot: Slot) -> SlotRecord | None:
    """What is known of a slot; for the running one what the signed command line says stands over the record."""
    known, running = view.record.slots.get(slot), view.booted_release
    if slot is not view.booted or running is None or (known and known.root_hash == running.root_hash):
        return known
    return SlotRecord(
        version=running.version,
        root_hash=running.root_hash,
        salt=running.salt,
        root_size=running.root_size,
        name=running.name,
        serial=running.serial,
        floor=running.floor,
        complete=True,
        compatible=running.compatible,
    )
