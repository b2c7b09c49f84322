"""What an install is going to do, or why it is refused: decided before anything is written, and from facts alone.

The checks stand in the order of docs/explanation/formats.md: the signature came first (nothing unsigned gets
here), then the release's policy, then its size, then the slot.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from proa.agent.install.actions import WRITTEN_BLOBS, Action, Arm, Complete, Disarm, Keep, Reboot, TakeBack, Write
from proa.agent.install.order import Activation
from proa.agent.node.policy import Door, Policy, Subject, choose_target
from proa.agent.node.record import Bytes
from proa.agent.node.states import NodeState, Trigger, follow
from proa.core.release.document import Release
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import BootState, Slot


@dataclass(frozen=True)
class Room:
    """Bytes of the two partitions of a slot."""

    root: int
    boot: int


@dataclass(frozen=True)
class NodeFacts:
    """What the node is, as far as an install depends on it.

    Attributes:
        architecture: As Debian names it.
        layout: Version of the disk layout.
        loader: Version of the protocol with GRUB.
        agent: This program's version.
        now: The time, for expiry.
        booted: The running slot; none when a disk is worked on that nothing runs from.
        room: The slots' sizes.
        holding: Slots whose verity tree has the release's root hash.
        same: Of those the ones that hold this very release: its kernel image too.
        intact: Slots that hold the release whole: every block was read.
    """

    architecture: str
    layout: int
    loader: int
    agent: str
    now: datetime
    booted: Slot | None
    room: Mapping[Slot, Room]
    holding: frozenset[Slot] = frozenset()
    same: frozenset[Slot] = frozenset()
    intact: frozenset[Slot] = frozenset()


@dataclass(frozen=True)
class Candidate:
    """A release whose signature, manifest and document were checked."""

    release: Release
    manifest: str
    signers: tuple[str, ...] = ()

    @property
    def subject(self) -> Subject:
        """The release as the policy sees it."""
        release, names = self.release, (self.manifest, self.release.root.root_hash, self.release.version)
        return Subject("the release", release.compatible, release.serial, names, release.expires, self.signers)


@dataclass(frozen=True)
class InstallPlan:
    """The actions in their order.

    Attributes:
        target: The slot that would be written.
        actions: What is done.
    """

    candidate: Candidate
    target: Slot
    actions: tuple[Action, ...]

    @property
    def unchanged(self) -> bool:
        """Whether the good slot holds this very release, so that nothing is written."""
        return not any(isinstance(action, Keep | Write) for action in self.actions)

    @property
    def slot(self) -> Slot:
        """The slot that holds the release in the end."""
        return self.target.other if self.unchanged else self.target

    @property
    def fetch(self) -> int:
        """Bytes that come from the registry for the slot, the map of the frames among them."""
        writes = [action.fetch for action in self.actions if isinstance(action, Write)]
        return sum(writes) + (self.candidate.release.blobs["map"].size if writes else 0)

    @property
    def copy(self) -> int:
        """Bytes that come from the good slot."""
        return sum(action.copy for action in self.actions if isinstance(action, Write))

    @property
    def keep(self) -> int:
        """Bytes that stay in the slot as they are."""
        whole = sum(action.size for action in self.actions if isinstance(action, Keep))
        return whole + sum(action.keep for action in self.actions if isinstance(action, Write))

    @property
    def write(self) -> int:
        """Bytes that are written to the slot."""
        return sum(action.size - action.keep for action in self.actions if isinstance(action, Write))

    @property
    def writes(self) -> bool:
        """Whether a slot is written, so that it must be found out where its content comes from."""
        return any(isinstance(action, Write) for action in self.actions)

    @property
    def bytes(self) -> Bytes:
        """All of these."""
        return Bytes(self.fetch, self.copy, self.keep, self.write)

    @property
    def avoided(self) -> int:
        """Bytes of the written that the device made itself."""
        return sum(action.avoid for action in self.actions if isinstance(action, Write))

    def with_avoided(self, blob: str, count: int) -> InstallPlan:
        """The same plan, once it is known how many bytes of a blob the device made itself."""
        return self._with(blob, lambda action: dataclasses.replace(action, avoid=count))

    def with_origin(self, blob: str, fetch: int, copy: int, keep: int) -> InstallPlan:
        """The same plan, once it is known where a blob's content comes from; all in bytes."""
        return self._with(blob, lambda action: dataclasses.replace(action, fetch=fetch, copy=copy, keep=keep))

    def _with(self, blob: str, change: Callable[[Write], Write]) -> InstallPlan:
        def told(action: Action) -> Action:
            return change(action) if isinstance(action, Write) and action.blob == blob else action

        return dataclasses.replace(self, actions=tuple(told(action) for action in self.actions))


def refusals(candidate: Candidate, policy: Policy, node: NodeFacts) -> Iterator[ProaError]:
    """Every reason to refuse a release on this node, in the order in which they are looked at."""
    yield from policy.objections(Door.INSTALL, candidate.subject, node.now)
    for check in (_architecture, _requires):
        if error := check(candidate.release, node):
            yield error


def plan_install(
    candidate: Candidate, policy: Policy, node: NodeFacts, state: BootState, doing: NodeState, activation: Activation
) -> InstallPlan:
    """The plan of an install.

    Args:
        candidate: The release.
        policy: What the node accepts.
        node: What the node is.
        state: The boot state.
        doing: What the node is doing now.
        activation: What was asked for besides.

    Raises:
        ProaError: The first refusal.
    """
    for refusal in refusals(candidate, policy, node):
        raise refusal
    follow(doing, Trigger.INSTALL)
    target = choose_target(state, node.booted)
    check_room(candidate.release, node.room[target], target)
    if target.other in node.holding:
        check_same(candidate.release, node, target.other)
        armed = activation.activate and state.on_trial
        return InstallPlan(candidate, target, (TakeBack(target),) if armed else ())
    return InstallPlan(candidate, target, tuple(_actions(candidate, target, node, activation)))


def check_room(release: Release, room: Room, slot: Slot) -> None:
    """Compare the release's sizes with the slot's.

    Raises:
        ProaError: ``TOO_LARGE``, with both sizes.
    """
    needs = ((slot.root_name, release.slot_size, room.root), (slot.uki_name, release.boot.size, room.boot))
    for name, need, has in needs:
        if need > has:
            raise ProaError(Code.TOO_LARGE, f"it needs {need} bytes, but {name} has {has}", at=name)


def check_same(release: Release, node: NodeFacts, good: Slot) -> None:
    """Refuse a release that shares its root with the good slot and is another one: the initrd must find one, not two.

    Raises:
        ProaError: ``SAME_ROOT``.
    """
    if good not in node.same:
        what = f"the good slot {good.value} has the root {release.root.root_hash} with another kernel image"
        raise ProaError(Code.SAME_ROOT, what)


def _actions(candidate: Candidate, target: Slot, node: NodeFacts, activation: Activation) -> Iterator[Action]:
    release = candidate.release
    if target in node.intact:
        yield Keep(target, release.slot_size + release.boot.size)
    else:
        yield Disarm(target)
        sizes = {"tree": release.root.tree_size, "root": release.root.size, "boot": release.boot.size}
        for blob in WRITTEN_BLOBS:
            yield Write(target, blob, sizes[blob], release.blobs[blob].size)
        yield Complete(target)
    if activation.activate:
        yield Arm(target, activation.tries)
        if activation.reboot:
            yield Reboot()


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``0.1.0`` is (0, 1, 0), and so is ``0.1.0.dev1``."""
    found = re.match(r"\d+(?:\.\d+)*", text, re.ASCII)
    return tuple(map(int, found[0].split("."))) if found else ()


def _architecture(release: Release, node: NodeFacts) -> ProaError | None:
    if release.architecture == node.architecture:
        return None
    return ProaError(Code.ARCHITECTURE, f"the release is for {release.architecture}, this node is {node.architecture}")


def _requires(release: Release, node: NodeFacts) -> ProaError | None:
    needs = release.requires
    if needs.layout != node.layout:
        return ProaError(Code.REQUIRES, f"the release needs disk layout {needs.layout}, this node has {node.layout}")
    if not re.fullmatch(r"\d+(\.\d+)*", needs.agent, re.ASCII):
        return ProaError(
            Code.REQUIRES, f"the release needs agent '{needs.agent}', which is not a version such as 1.2.3"
        )
    if _version(needs.agent) > _version(node.agent):
        return ProaError(Code.REQUIRES, f"the release needs agent {needs.agent}, this node has {node.agent}")
    if needs.loader > node.loader:
        return ProaError(Code.REQUIRES, f"the release needs loader {needs.loader}, this node has {node.loader}")
    return None
