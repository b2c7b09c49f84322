"""A delta from the release that this node runs, where one is beside the release and costs less than its frames.

All that a delta gives is checked against the verity tree before it is written. Whatever is wrong with it costs time:
the frames have the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from proa.agent.install.facts import Offer, load_trust
from proa.agent.install.filling import REQUEST, BlobPlan, Filling, plan_frames
from proa.agent.node.record import SlotRecord
from proa.agent.node.view import Context
from proa.agent.slot.region import Region
from proa.agent.slot.writer import Check, SlotWriter
from proa.core.artifact.deltas import OpenedDelta, open_deltas
from proa.core.oci.source import Source
from proa.core.release.chunks import ChunkReader
from proa.core.release.delta import Delta, Unit, content_size, read_index, unpack
from proa.core.release.document import BLOCK_SIZE
from proa.core.release.frames import FrameMap
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note, human_bytes

WORTH: Final = 8 * REQUEST
"""What is fetched at least before a delta is looked for: so much cost the requests that find and open one."""


@dataclass(frozen=True)
class DeltaPlan:
    """Where a root's content comes from: this node, or units of a delta.

    Attributes:
        delta: The document.
        index: Its index.
        frames: The frames of the root.
        given: The numbers of those that this node has.
        kept: How many of the first ones stand in their places.
    """

    delta: Delta
    index: bytes
    frames: FrameMap
    given: frozenset[int]
    kept: int

    @property
    def keep(self) -> int:
        """Bytes of the image that stay as they are."""
        return min(self.kept * self.frames.frame_size, self.frames.size)

    @property
    def copy(self) -> int:
        """Bytes of the image that the good slot gives."""
        return sum(self.frames.frames[number].size for number in self.given if number >= self.kept)

    @property
    def fetch(self) -> int:
        """Bytes that come from the registry."""
        return len(self.index) + self.delta.blobs["units"].size - self.start

    @cached_property
    def start(self) -> int:
        """Where in the units the first byte is that is wanted."""
        return next((unit.offset for unit in self.units()), self.delta.blobs["units"].size)

    def units(self) -> Iterator[Unit]:
        """The units that hold frames which this node does not keep."""
        return (unit for unit in read_index(self.index, self.delta) if unit.frames.stop > self.kept)

    def check(self) -> None:
        """Whether node and delta together have all of the root.

        Raises:
            ProaError: ``DELTA``.
        """
        held = {number for unit in read_index(self.index, self.delta) for number in unit.frames}
        for number in range(self.kept, len(self.frames.frames)):
            if number not in held and number not in self.given:
                raise ProaError(Code.DELTA, f"neither it nor the slot has frame {number}", at="index")


def find_delta(
    context: Context, offer: Offer, known: SlotRecord | None, plan: BlobPlan, given: Iterable[int]
) -> DeltaPlan | None:
    """A delta from what the good slot holds, if one is there that costs less than a plan without it.

    Args:
        context: What every piece of work gets.
        offer: The release and its source.
        known: What is known of the good slot.
        plan: The plan without a delta.
        given: The numbers of the frames that this node has.

    Raises:
        ProaError: When a stop was requested.
    """
    if known is None or not known.complete or price(plan) < WORTH:
        return None
    release, old = offer.candidate.release, (known.root_hash, known.root_size)
    try:
        found = open_deltas(offer.source, offer.candidate.manifest, release, old, load_trust(context))
        for one in found:
            if isinstance(one, OpenedDelta):
                return _cheaper(context, offer.source, one.delta, plan, frozenset(given))
            _warn(context, one)
    except ProaError as error:
        _warn(context, error)
    return None


def _cheaper(context: Context, source: Source, delta: Delta, plan: BlobPlan, given: frozenset[int]) -> DeltaPlan | None:
    if delta.size + 2 * REQUEST >= price(plan):
        return None
    index = delta.blobs["index"]
    made = DeltaPlan(delta, source.small_blob(index.digest, index.size), plan.frames, given, plan.kept)
    made.check()
    note = f"a delta from {delta.old[:12]} is fetched, {human_bytes(made.fetch)}, instead of {human_bytes(plan.fetch)}"
    context.monitor.emit(Note(note))
    return made


def price(plan: BlobPlan) -> int:
    """What a plan costs: its bytes, and its requests in bytes."""
    return plan.fetch + REQUEST * sum(not stretch.local for stretch in plan.stretches)


def _warn(context: Context, error: ProaError) -> None:
    context.cancel.check()
    text = f"the delta is not used, so frames are fetched: {error.code.name}: {error.message}"
    context.monitor.emit(Note(text, "warning"))


@dataclass
class DeltaFilling:
    """A root on its way into a slot, by a delta.

    Attributes:
        context: What every piece of work gets.
        filling: Copies what this node has, and fetches frames where need be.
        plan: Where all of it comes from.
        old: The partition with the older root.
        check: Checks what a unit gives, by its place in the root.
        fetched: Bytes of the delta that came from the registry.
    """

    context: Context
    filling: Filling
    plan: DeltaPlan
    old: Region
    check: Check
    fetched: int = field(default=0, init=False)

    def run(self, writer: SlotWriter) -> None:
        """Follow the plan as long as the delta gives what it was to; then go on without it.

        Raises:
            ProaError: As fetching and writing do.
        """
        at, end = self.plan.kept, len(self.plan.frames.frames)
        self.fetched = len(self.plan.index)
        for unit, content in self._contents():
            at = self.filling.copy(range(at, unit.frames.start), writer) if at < unit.frames.start else at
            if at < unit.frames.start or not content:
                break
            self._write(range(at, unit.frames.stop), content, unit, writer)
            at = unit.frames.stop
        else:
            at = self.filling.copy(range(at, end), writer) if at < end else at
        if at < end:
            rest = plan_frames(self.plan.frames, (number for number in self.plan.given if number >= at), at)
            self.filling.run(rest, writer)

    def _write(self, part: range, content: bytes, unit: Unit, writer: SlotWriter) -> None:
        start = self.plan.frames.frames[unit.frames.start].start
        for number in part:
            frame = self.plan.frames.frames[number]
            writer.room(frame.size)[:] = content[frame.start - start : frame.start - start + frame.size]

    def _contents(self) -> Iterator[tuple[Unit, bytes]]:
        """Each unit with its content, which is empty for the first one that is not as it must be."""
        source, blob = self.filling.source, self.plan.delta.blobs["units"]
        reader = ChunkReader(source.blob(blob.digest, blob.size, start=self.plan.start))
        for unit in self.plan.units():
            self.context.cancel.check()
            try:
                content = self._content(reader, unit)
            except ProaError as error:
                _warn(self.context, error)
                content = b""
            yield unit, content

    def _content(self, reader: ChunkReader, unit: Unit) -> bytes:
        data = reader.take(unit.compressed)
        self.fetched += len(data)
        prefix = b"".join(self.old.read(part.start * BLOCK_SIZE, len(part) * BLOCK_SIZE) for part in unit.prefix)
        content = unpack(data, unit, prefix, content_size(unit, self.plan.delta))
        self.check(unit.frames.start * self.plan.frames.frame_size, memoryview(content))
        return content
