"""Carries out an install plan, action by action, in the order in which it stands. The caller holds the lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from proa.agent.install.actions import Action, Arm, Complete, Disarm, Keep, Reboot, TakeBack, Write
from proa.agent.install.facts import Offer
from proa.agent.install.fetch import fetch_maps
from proa.agent.install.payload import Payload, resumes
from proa.agent.install.plan import InstallPlan
from proa.agent.install.seeds import open_leaves
from proa.agent.install.treefetch import TreeFetch
from proa.agent.node.bookkeeping import remember, remember_slot, write_state
from proa.agent.node.policy import Policy
from proa.agent.node.record import MovedBytes, SlotRecord
from proa.agent.node.view import Context, look
from proa.agent.slot.damage import marking
from proa.agent.slot.region import Half, Opener, Region, open_direct, open_for_writing
from proa.agent.slot.writer import SlotWriter
from proa.agent.trial.change import arm, check_arm, disarm
from proa.agent.trial.standing import newest_of
from proa.core.release.document import Release
from proa.core.release.frames import FrameMap
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Progress, step
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.fatfile import file_digest

UKI_PATH: Final = "/EFI/proa/uki.efi"
"""Where the kernel image lies in the FAT of ``UKI-x``."""


@dataclass
class Execution:
    """One run of a plan.

    Attributes:
        context: What every piece of work gets.
        offer: The release and its source.
        plan: What is done.
        policy: What may be armed.
        opener: How devices are opened.
        begins: Called when all is believed that can be, right before the slot is given up.
    """

    context: Context
    offer: Offer
    plan: InstallPlan
    policy: Policy
    opener: Opener = open_direct
    begins: Callable[[], None] = lambda: None
    _maps: dict[str, FrameMap] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)
    _opened: tuple[Half, Region] | None = None
    _resumed: bool = False

    @property
    def release(self) -> Release:
        """The release."""
        return self.offer.candidate.release

    def run(self) -> None:
        """Do all of it but the reboot.

        Raises:
            ProaError: What went wrong; the slot is unarmed then, unless the failure came after ``Arm``.
        """
        with ExitStack() as self._open:
            for action in self.plan.actions:
                self.context.cancel.check()
                with step(self.context.monitor, _title(action)):
                    self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Disarm():
                self._disarm()
            case TakeBack():
                disarm(self.context, look(self.context))
            case Write():
                self._write(action)
            case Complete():
                self._open.close()
                done = MovedBytes(**vars(self.plan.bytes), avoid=self.plan.avoided)
                remember_slot(self.context, self.plan.target, self._record(done))
            case Arm():
                self._arm(action.tries)
            case Keep() | Reboot():  # nothing to do now: the caller reboots once the result is recorded
                pass

    def _record(self, done: MovedBytes | None = None) -> SlotRecord:
        """What is written down of the slot; complete with what was ``done``."""
        older = self.release.serial < newest_of(look(self.context))  # so that was asked for, or the plan had refused it
        made = SlotRecord.of(self.release, self.offer.candidate.manifest, self.offer.candidate.signers)
        return dataclasses.replace(made, downgrade=older, complete=done is not None, bytes=done)

    def _disarm(self) -> None:
        """First what cannot fail half: the record says incomplete, then both copies of the state say unarmed."""
        view = look(self.context)
        view.check()
        self._maps = fetch_maps(self.offer.source, self.release)
        self.begins()
        self._resumed = resumes(view.record.slots.get(self.plan.target), self.offer.candidate.manifest)
        remember_slot(self.context, self.plan.target, self._record())
        remember(self.context, trial=None)
        write_state(view, bootstate.disarm(view.state))

    def _arm(self, tries: int) -> None:
        view = look(self.context)
        with marking(self.context, view):
            known = check_arm(self.context, view, tries, self.policy)
        arm(self.context, view, known, tries)

    def _write(self, action: Write) -> None:
        region = self._region(action.slot, Half.BOOT if action.blob == "boot" else Half.ROOT)
        before = region.avoided
        match action.blob:
            case "tree":
                self._write_tree(action, region)
            case "root":
                moved = self._payload(action, region).write_root(self._maps["root"], resumed=self._resumed)
                self.plan = self.plan.with_origin("root", moved.fetch, moved.copy, moved.keep)
            case _:
                moved = self._payload(action, region).write_boot(self._maps["boot"])
                self.plan = self.plan.with_origin("boot", moved.fetch, moved.copy, moved.keep)
                _check_kernel(region, self.release)
        self.plan = self.plan.with_avoided(action.blob, region.avoided - before)

    def _payload(self, action: Write, region: Region) -> Payload:
        return Payload(self.context, self.offer, action.slot, region, self._progress(action))

    def _region(self, slot: Slot, half: Half) -> Region:
        """A partition, opened once it is needed; it stays open until another one is, or all is done."""
        if self._opened is None or self._opened[0] is not half:
            self._open.close()
            opened = open_for_writing(self.context, slot, half, self.opener)
            self._opened = half, self._open.enter_context(opened)
        return self._opened[1]

    def _write_tree(self, action: Write, region: Region) -> None:
        tree = TreeFetch(self.offer.source, self.release, self.context.cancel)
        with (
            open_leaves(self.context, look(self.context), action.slot.other, self.release.root.salt) as seed,
            SlotWriter(region, self.release.root.size, progress=self._progress(action)) as writer,
        ):
            for piece in tree.pieces(seed):
                writer.put(piece)
        self.plan = self.plan.with_origin("tree", tree.fetched, 0, 0)

    def _progress(self, action: Write) -> Callable[[int], None]:
        def progress(done: int) -> None:
            self.context.monitor.emit(Progress(_title(action), done, action.size))

        return progress


def _title(action: Action) -> str:
    match action:
        case Write():
            return f"{action.blob} -> {action.slot.value}"
        case Reboot():
            return "reboot"
        case TakeBack():
            return f"disarm {action.slot.value}"
        case _:
            return f"{type(action).__name__.lower()} {action.slot.value}"


def _check_kernel(region: Region, release: Release) -> None:
    """The kernel image inside the boot image, from the medium, against its own signed digest."""
    found = file_digest(region.read, release.boot.size, UKI_PATH)
    if found != release.boot.uki_digest:
        raise ProaError(Code.DIGEST, f"the kernel image does not match {release.boot.uki_digest}", at=UKI_PATH)
