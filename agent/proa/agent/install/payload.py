"""Root and boot image of a release: where their content comes from, and how it gets into a slot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from proa.agent.install.deltas import DeltaFilling, DeltaPlan, find_delta
from proa.agent.install.facts import Offer
from proa.agent.install.fetch import leaves_of
from proa.agent.install.filling import BlobPlan, Filling, Give, plan_frames
from proa.agent.install.seeds import BlockSeed, PlaceSeed, names, names_of, open_blocks, open_leaves
from proa.agent.install.treefetch import TreeFetch
from proa.agent.node.record import SlotRecord
from proa.agent.node.view import Context, View, known_slot, look
from proa.agent.slot.region import Region, open_for_reading
from proa.agent.slot.scrub import tree_reader
from proa.agent.slot.writer import Check, SlotWriter
from proa.core.release.document import BLOCK_SIZE, Release
from proa.core.release.frames import Frame, FrameMap
from proa.core.release.verity import Geometry, TreeReader, check_blocks, hash_blocks
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot


def resumes(known: SlotRecord | None, manifest: str) -> bool:
    """Whether a slot was being filled with this very release when that ended."""
    return known is not None and not known.complete and known.manifest == manifest


@dataclass(frozen=True)
class Moved:
    """Bytes of a blob by origin; the first ones as they are fetched, the others of its content."""

    fetch: int
    copy: int
    keep: int = 0


def survey(context: Context, offer: Offer, target: Slot, view: View, maps: dict[str, FrameMap]) -> dict[str, Moved]:
    """Where tree, root and boot image would come from. Fetches the tree, and touches nothing.

    Raises:
        ProaError: As fetching does.
    """
    release = offer.candidate.release
    wanted, salt = names(b""), bytes.fromhex(release.root.salt)
    tree = TreeFetch(offer.source, release, context.cancel)
    with open_leaves(context, view, target.other, release.root.salt) as leaves:
        for piece in leaves_of(tree.pieces(leaves), release.root):
            wanted += names(piece)

    def matches(start: int, data: bytes) -> bool:
        first = start // BLOCK_SIZE
        return names(hash_blocks(data, salt)) == wanted[first : first + len(data) // BLOCK_SIZE]

    kept = 0
    if resumes(view.record.slots.get(target), offer.candidate.manifest):
        with open_for_reading(view.extents(target)[0]) as region:
            kept = _in_place(region, maps["root"], matches)
    with (
        open_blocks(context, view, target.other, release.root.salt) as blocks,
        _open_places(view, target.other, release, maps["boot"]) as places,
    ):
        given = list(_given(maps["root"], wanted, blocks))
        whole = plan_frames(maps["root"], given, kept)
        root = find_delta(context, offer, known_slot(view, target.other), whole, given) or whole
        boot = plan_frames(maps["boot"], places.given(context.cancel))
    found = {name: Moved(one.fetch, one.copy, one.keep) for name, one in (("root", root), ("boot", boot))}
    return {"tree": Moved(tree.fetched, 0), **found}


def _given(frames: FrameMap, wanted: Sequence[int], blocks: BlockSeed) -> Iterator[int]:
    """The numbers of the frames all of whose blocks the good slot has."""
    step = frames.frame_size // BLOCK_SIZE
    return (n for n in range(len(frames.frames)) if blocks.places(wanted[n * step : (n + 1) * step]))


def _in_place(region: Region, frames: FrameMap, matches: Callable[[int, bytes], bool]) -> int:
    """How many of the first frames a partition holds already."""
    for number, frame in enumerate(frames.frames):
        if not matches(frame.start, region.read(frame.start, frame.size)):
            return number
    return len(frames.frames)


@contextmanager
def _open_places(view: View, slot: Slot, release: Release, frames: FrameMap) -> Iterator[PlaceSeed]:
    with open_for_reading(view.extents(slot)[1]) as region:
        yield PlaceSeed(region, frames, release.boot.content)


@dataclass(frozen=True)
class Payload:
    """Root or boot image on its way into a slot.

    Attributes:
        context: What every piece of work gets.
        offer: The release and its source.
        target: The slot.
        region: The slot's partition, the one of the image that is written.
        progress: Called with the bytes that are in the slot.
    """

    context: Context
    offer: Offer
    target: Slot
    region: Region
    progress: Callable[[int], None]

    @property
    def release(self) -> Release:
        """The release."""
        return self.offer.candidate.release

    def write_root(self, frames: FrameMap, *, resumed: bool) -> Moved:
        """Bring the root before its tree, which was written; each block is checked before it is written.

        Args:
            frames: Its frames.
            resumed: Whether the slot may hold a part of it from an earlier try.

        Raises:
            ProaError: As fetching and writing do.
        """
        salt, view = bytes.fromhex(self.release.root.salt), look(self.context)
        kept = _in_place(self.region, frames, self._matches()) if resumed else 0
        wanted = names_of(self._tree(), Geometry.of(self.release.root.size).data_blocks)
        with open_blocks(self.context, view, self.target.other, self.release.root.salt) as blocks:
            given = list(_given(frames, wanted, blocks))
            plan, give = plan_frames(frames, given, kept), self._giver(blocks, salt)
            known = known_slot(view, self.target.other)
            if delta := find_delta(self.context, self.offer, known, plan, given):
                with open_for_reading(view.extents(self.target.other)[0]) as old:
                    return self._write_delta(delta, old, give, salt)
            return self._write("root", plan, give, self._check(salt))

    def write_boot(self, frames: FrameMap) -> Moved:
        """Bring the boot image, whose digest is checked at its end.

        Raises:
            ProaError: ``DIGEST``, or as fetching and writing do.
        """
        digest = hashlib.sha256()
        with _open_places(look(self.context), self.target.other, self.release, frames) as places:
            plan = plan_frames(frames, places.given(self.context.cancel))
            moved = self._write("boot", plan, places.give, lambda _, data: digest.update(data))
        if f"sha256:{digest.hexdigest()}" != self.release.boot.digest:
            raise ProaError(Code.DIGEST, f"the boot image does not match {self.release.boot.digest}")
        return moved

    def _write(self, name: str, plan: BlobPlan, give: Give, check: Check) -> Moved:
        filling = self._filling(name, plan.frames, give)
        with self._writer(plan, check) as writer:
            filling.run(plan, writer)
        return Moved(filling.fetched, filling.copied, plan.keep)

    def _write_delta(self, plan: DeltaPlan, old: Region, give: Give, salt: bytes) -> Moved:
        filling = DeltaFilling(
            self.context, self._filling("root", plan.frames, give), plan, old, check=self._check(salt)
        )
        with self._writer(plan, self._check(salt)) as writer:
            filling.run(writer)
        return Moved(filling.fetched + filling.filling.fetched, filling.filling.copied, plan.keep)

    def _filling(self, name: str, frames: FrameMap, give: Give) -> Filling:
        return Filling(self.offer.source, self.release.blobs[name], frames, give, self.context.cancel)

    def _writer(self, plan: BlobPlan | DeltaPlan, check: Check) -> SlotWriter:
        return SlotWriter(
            self.region,
            plan.keep,
            largest=plan.frames.frame_size,
            check=lambda place, data: check(plan.keep + place, data),
            progress=lambda done: self.progress(plan.keep + done),
        )

    def _giver(self, blocks: BlockSeed, salt: bytes) -> Give:
        tree = self._tree()

        def give(frame: Frame, room: memoryview) -> bool:
            first = frame.start // BLOCK_SIZE
            leaves = tree.leaf_digests(first, frame.size // BLOCK_SIZE)
            try:
                blocks.read_into(blocks.places(names(leaves)), room)
                check_blocks(room, leaves, salt, first)
            except ProaError:
                self.context.cancel.check()
                return False
            return True

        return give

    def _matches(self) -> Callable[[int, bytes], bool]:
        tree, salt = self._tree(), bytes.fromhex(self.release.root.salt)
        return lambda start, data: (
            hash_blocks(data, salt) == tree.leaf_digests(start // BLOCK_SIZE, len(data) // BLOCK_SIZE)
        )

    def _check(self, salt: bytes) -> Check:
        """Checks bytes by their place in the root."""
        tree = self._tree()

        def check(place: int, data: memoryview) -> None:
            first = place // BLOCK_SIZE
            check_blocks(data, tree.leaf_digests(first, len(data) // BLOCK_SIZE), salt, first)

        return check

    def _tree(self) -> TreeReader:
        """A reader of the tree that was written; each has a batch of leaves of its own."""
        root = self.release.root
        return tree_reader(self.region, root.root_hash, bytes.fromhex(root.salt), Geometry.of(root.size))
