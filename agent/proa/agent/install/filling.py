"""Frames of a blob, brought to a slot from where each of them costs least: in place, this node, the registry."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from proa.agent.install.ahead import Ahead
from proa.agent.install.fetch import fetch_frames
from proa.agent.node.cancel import Cancel
from proa.agent.slot.writer import SlotWriter
from proa.core.oci.source import Source
from proa.core.release.document import Blob
from proa.core.release.frames import Checked, Frame, FrameMap, decompress_into

REQUEST: Final = 64 << 10
"""Bytes that one more request to a registry is worth."""
MAX_BAD: Final = 8
"""Frames that this node does not give as was planned; beyond, it is asked for no more."""

Give = Callable[[Frame, memoryview], bool]
"""Puts a frame's content where it is wanted; tells whether it could, and the content was checked."""


@dataclass(frozen=True)
class Stretch:
    """Frames in a row that come from one place: this node, or the registry."""

    frames: range
    local: bool


@dataclass(frozen=True)
class BlobPlan:
    """Where a blob's content comes from.

    Attributes:
        frames: Its frames.
        kept: How many of the first ones stand in their places.
        stretches: The others, in order.
    """

    frames: FrameMap
    kept: int
    stretches: tuple[Stretch, ...]

    @property
    def keep(self) -> int:
        """Bytes of the image that stay as they are."""
        return min(self.kept * self.frames.frame_size, self.frames.size)

    @property
    def copy(self) -> int:
        """Bytes of the image that the good slot gives."""
        return sum(self._content(one.frames) for one in self.stretches if one.local)

    @property
    def fetch(self) -> int:
        """Bytes that come from the registry."""
        return sum(packed(self.frames, one.frames) for one in self.stretches if not one.local)

    def _content(self, frames: range) -> int:
        return min(frames.stop * self.frames.frame_size, self.frames.size) - frames.start * self.frames.frame_size


def packed(frames: FrameMap, part: range) -> int:
    """Bytes of a row of frames as they are fetched; the seek table too where all of them are."""
    if len(part) == len(frames.frames):
        return frames.blob_size
    start, end = frames.extent(part)
    return end - start


def plan_frames(frames: FrameMap, given: Iterable[int], kept: int = 0) -> BlobPlan:
    """Decide what is copied and what is fetched.

    What lies between two parts that are fetched is fetched with them where that costs less than one more request, so
    that no plan costs more than to fetch all in one.

    Args:
        frames: The frames of the blob.
        given: The numbers of those that this node has.
        kept: How many stand in their places already.
    """
    rest, local = range(kept, len(frames.frames)), set(given)
    for one in _cut(rest, local)[1:-1]:
        if one.local and packed(frames, one.frames) < REQUEST:
            local -= set(one.frames)
    return BlobPlan(frames, kept, tuple(_cut(rest, local)))


def _cut(numbers: range, local: set[int]) -> list[Stretch]:
    runs = [(is_local, list(run)) for is_local, run in groupby(numbers, local.__contains__)]
    return [Stretch(range(run[0], run[-1] + 1), is_local) for is_local, run in runs]


@dataclass
class Filling:
    """One blob on its way into a slot.

    Attributes:
        source: Where the rest comes from.
        blob: The blob as it is fetched.
        frames: Its frames.
        give: What this node gives.
        cancel: The wish to stop.
        fetched: Bytes that came from the registry.
        copied: Bytes of the image that came from this node.
    """

    source: Source
    blob: Blob
    frames: FrameMap
    give: Give
    cancel: Cancel
    fetched: int = field(default=0, init=False)
    copied: int = field(default=0, init=False)
    _bad: int = field(default=0, init=False)

    def run(self, plan: BlobPlan, writer: SlotWriter) -> None:
        """Follow a plan as long as this node gives what it was to, and the registry gives parts; else fetch the rest.

        Raises:
            ProaError: As fetching and writing do.
        """
        at, end = plan.kept, len(self.frames.frames)
        parts = [stretch.frames for stretch in plan.stretches if not stretch.local]
        with Ahead(parts, self._read, lambda: self.source.ranges, self.frames.frame_size) as ahead:
            for stretch in plan.stretches:
                part = stretch.frames
                at = self.copy(part, writer) if stretch.local else self._fetch(part, ahead.take(), writer)
                if self._bad == MAX_BAD or not (stretch.local or self.source.ranges):
                    break
        if at < end:
            self._fetch(range(at, end), self._read(range(at, end)), writer)

    def _read(self, part: range) -> Generator[Checked, None, None]:
        return fetch_frames(self.source, self.blob, self.frames, part, self.cancel)

    def _fetch(self, part: range, fetched: Iterable[Checked], writer: SlotWriter) -> int:
        for number, data in zip(part, fetched, strict=True):
            frame = self.frames.frames[number]
            decompress_into(data, frame, writer.room(frame.size))
        self.fetched += packed(self.frames, part)
        return part.stop

    def copy(self, part: range, writer: SlotWriter) -> int:
        """Copy frames, and fetch each that is not as it must be; returns where it ended, since enough of them were.

        Raises:
            ProaError: As fetching and writing do.
        """
        for number in part:
            self.cancel.check()
            frame = self.frames.frames[number]
            room = writer.room(frame.size)
            if self.give(frame, room):
                self.copied += frame.size
                continue
            for data in self._read(range(number, number + 1)):
                decompress_into(data, frame, room)
            self.fetched += frame.compressed
            self._bad += 1
            if self._bad == MAX_BAD:
                return number + 1
        return part.stop
