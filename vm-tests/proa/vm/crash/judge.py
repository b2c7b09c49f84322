"""What must hold at every crash point, whatever the disk has made of the last writes.

- The good slot's bytes, the boot partition and the partition table are as before: nothing of the operation goes there.
- GRUB boots the good slot, or a trial whose kernel image and root are complete, every byte of them.
- A trial is only begun by an operation that is to begin one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.partition.boot import envblock
from proa.partition.boot.bootstate import Slot
from proa.partition.boot.decisions import Decision, decide
from proa.partition.boot.statefile import ENV_OFFSETS, StateFile
from proa.partition.disk.slots import Extent, open_image
from proa.vm.crash.points import CrashPoint
from proa.vm.crash.replay import Replay
from proa.vm.crash.writelog import SECTOR, LoggedWrite

_STATE: Final = "STATE"
_LOST_SHOWN: Final = 5
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Promise:
    """What an operation may do.

    Attributes:
        good: The slot that is good at its beginning.
        arms: Whether the other slot may be on trial before its end.
        ends_armed: Whether it is on trial at its end.
    """

    good: Slot
    arms: bool = False
    ends_armed: bool = False


class Completeness:
    """How much of a slot is as it has to be, sector by sector, while a copy of the disk goes through a log.

    Args:
        extents: Where the slot is.
        before: The disk as the log began.
        after: The disk on which the slot is complete.
    """

    def __init__(self, extents: Iterable[Extent], before: Path, after: Path) -> None:
        self._extents = tuple(extents)
        self._after = after.open("rb", buffering=0)
        self._wrong: set[int] = set()
        for offset, data in self._read(before):
            self.see(offset, data)

    def close(self) -> None:
        """Close the disk that it compares with."""
        self._after.close()

    def see(self, offset: int, data: bytes) -> None:
        """Some bytes are on the disk now."""
        good, bad = self._sorted(offset, data)
        self._wrong -= good
        self._wrong |= bad

    def on(self, disk: Path) -> int:
        """How many sectors are wrong on another disk."""
        return sum(len(self._sorted(offset, data)[1]) for offset, data in self._read(disk))

    def _read(self, disk: Path) -> Iterator[tuple[int, bytes]]:
        with disk.open("rb", buffering=0) as file:
            for extent in self._extents:
                for at in range(extent.offset, extent.offset + extent.size, _CHUNK):
                    yield at, os.pread(file.fileno(), min(_CHUNK, extent.offset + extent.size - at), at)

    def with_pieces(self, pieces: Iterable[tuple[int, bytes]]) -> int:
        """How many sectors would be wrong were these written too, one after another."""
        wrong: dict[int, bool] = {}
        for offset, data in pieces:
            good, bad = self._sorted(offset, data)
            wrong |= dict.fromkeys(good, False) | dict.fromkeys(bad, True)
        return len(self._wrong) + sum(is_wrong - (at in self._wrong) for at, is_wrong in wrong.items())

    def _sorted(self, offset: int, data: bytes) -> tuple[set[int], set[int]]:
        """The sectors of the slot among some bytes: those that are right, and the others."""
        if not any(one.offset < offset + len(data) and offset < one.offset + one.size for one in self._extents):
            return set(), set()
        right = os.pread(self._after.fileno(), len(data), offset)
        places = range(offset, offset + len(data), SECTOR)
        if right == data:
            return set(places), set()
        bad = {at for at in places if right[at - offset : at - offset + SECTOR] != data[at - offset :][:SECTOR]}
        return set(places) - bad, bad


@dataclass
class Judge:
    """Judges the points of one operation.

    Attributes:
        replay: The disk at a point.
        promise: What the operation may do.
        complete: Of the other slot.
        boots: How many points end in which boot.
        lost: What is wrong, and where.
    """

    replay: Replay
    promise: Promise
    complete: Completeness
    boots: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._disk = open_image(self.replay.image)

    def trespasses(self, entries: Sequence[LoggedWrite]) -> list[str]:
        """What an operation writes where it has no business."""
        names = (self.promise.good.root_name, self.promise.good.uki_name, "BOOT")
        taken = {name: self._disk.partitions[name] for name in names}
        first = min(extent.offset for extent in self._disk.partitions.values())
        taken["the partition table"] = Extent(self._disk.path, 0, first)
        return [
            f"{name} is written to, at byte {entry.offset}"
            for name, extent in taken.items()
            for entry in entries
            if entry.touches(extent.offset, extent.offset + extent.size)
        ][:_LOST_SHOWN]

    def see(self, point: CrashPoint) -> Decision:
        """Judge one; the copy of the disk comes to it."""
        for entry in self.replay.advance(point.durable):
            if entry.size:
                self.complete.see(entry.offset, self.replay.log.data(entry))
        decision = self._decision(point)
        wrong = self._problem(point, decision)
        self.boots["trial" if decision.trial else f"slot {decision.slot.value}"] += 1
        if wrong:
            self.lost.append(f"{point}: {wrong}")
        return decision

    def end(self, disk: Path) -> str:
        """What is wrong with a disk on which the operation has come to its end; empty if nothing is."""
        state, promise = StateFile.within(disk, self._disk.partitions[_STATE].offset).read().state, self.promise
        if state is None or (state.good, state.pending) != (promise.good, promise.ends_armed):
            return f"it ends in {state}"
        missing = self.complete.on(disk)
        return f"it ends with {missing} wrong sectors in the other slot" if missing else ""

    def _decision(self, point: CrashPoint) -> Decision:
        start = self._disk.partitions[_STATE].offset
        copy1, copy2 = (self.replay.read(point, start + offset, envblock.SIZE) for offset in ENV_OFFSETS)
        return decide(copy1, copy2, Slot.A)

    def _problem(self, point: CrashPoint, decision: Decision) -> str:
        promise = self.promise
        if decision.copy is None:
            return "no copy of the boot state is valid"
        if decision.slot is promise.good:
            return ""
        if not (decision.trial and promise.arms):
            return f"slot {decision.slot.value} boots, {'on trial' if decision.trial else 'as the good one'}"
        missing = self.complete.with_pieces(self.replay.pieces(point))
        return f"slot {decision.slot.value} boots with {missing} wrong sectors" if missing else ""
