"""Crash replay: each recorded operation is cut off at each of its points, and what is left is judged.

At a seeded sample of the points the disk is written out whole: the agent is given its order again and must come to the
end that it would have come to, and some of the disks boot in a virtual machine.
"""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.slots import open_image
from proa.vm.crash.judge import Completeness, Judge
from proa.vm.crash.operations import Operation, Recording
from proa.vm.crash.points import CrashPoint, points
from proa.vm.crash.replay import Replay
from proa.vm.crash.writelog import WriteLog
from proa.vm.support.copies import copy_sparse

WANTED: Final = 1000
"""Points of an operation, where there are so many."""
_SHOWN: Final = 5


@dataclass(frozen=True)
class CrashRow(Part):
    """An operation."""

    operation: str = field("What was cut off.")
    requests: Count = field("Writes that it made.")
    flushes: Count = field("Times that it flushed the disk's cache.")
    points: Count = field("Crash points judged.")
    good: Count = field("Of these, how many boot the good slot.")
    trial: Count = field("And how many boot a trial, complete to the byte.")
    again: Count = field("Points at which the order was given again and came to its end.")
    booted: Count = field("Points from which a virtual machine booted.")
    lost: tuple[str, ...] = field("What was lost, and where; nothing may be.")


@dataclass(frozen=True)
class CrashReport(Report, schema="proa.crash-replay/v1"):
    """`build/crash-replay/report.json` of `make crash-replay`."""

    seed: Count = field("Of the samples.")
    rows: tuple[CrashRow, ...] = field("One operation each, in the order in which they were done.")


@dataclass(frozen=True)
class CrashPlan:
    """How much is tried.

    Attributes:
        points: Of each operation, at least, where there are so many.
        again: At how many of them the order is given again.
        boots: From how many a machine boots.
        seed: Of all samples.
        boot: Boots a disk and fails unless a node comes up; told the disk, the slot that must come up, and the name of
            the attempt.
    """

    points: int = WANTED
    again: int = 10
    boots: int = 0
    seed: int = 1
    boot: Callable[[Path, Slot, str], None] = lambda disk, slot, name: None


def replayed(recording: Recording, plan: CrashPlan, folder: Path) -> Iterator[CrashRow]:
    """Judge every operation of a recording; a row each.

    Args:
        recording: What was done.
        plan: How much is tried.
        folder: For disks that are not kept.

    Raises:
        ProaError: ``TOOL`` or ``DISK_FULL``.
    """
    copy = folder / "replay.raw"
    copy_sparse(recording.before, copy)
    with closing(Replay(copy, WriteLog(recording.log))) as replay:
        for operation in recording.operations:
            with closing(_Trial(replay, operation, plan, folder)) as trial:
                yield trial.row()
    copy.unlink()


class _Trial:
    """One operation, cut off again and again."""

    def __init__(self, replay: Replay, operation: Operation, plan: CrashPlan, folder: Path) -> None:
        self._replay, self._operation, self._plan, self._folder = replay, operation, plan, folder
        self._entries = replay.log.entries[slice(*operation.span)]
        replay.advance(operation.span[0])
        other = operation.promise.good.other
        partitions = open_image(replay.image).partitions
        slot = (partitions[other.root_name], partitions[other.uki_name])
        self._complete = Completeness(slot, replay.image, operation.after)
        self._judge = Judge(replay, operation.promise, self._complete)

    def close(self) -> None:
        """Close what it compares with."""
        self._complete.close()

    def row(self) -> CrashRow:
        """Judge all points, and try some."""
        found = points(self._replay.log.entries, *self._operation.span, self._plan.points, self._plan.seed)
        chance = random.Random(self._plan.seed)  # noqa: S311 -- the same each time, on purpose
        again = set(chance.sample(found, min(self._plan.again, len(found))))
        boots = set(chance.sample(found, min(self._plan.boots, len(found))))
        lost = self._judge.trespasses(self._entries)
        for number, point in enumerate(found):
            decision = self._judge.see(point)
            if point in boots:
                lost += self._tried(point, functools.partial(self._boot, slot=decision.slot, number=number))
            if point in again:
                lost += self._tried(point, self._again)
        self._replay.advance(self._operation.span[1])
        return self._row(len(again), len(boots), [*lost, *self._judge.lost])

    def _row(self, again: int, booted: int, lost: Sequence[str]) -> CrashRow:
        boots = self._judge.boots
        requests = sum(entry.size > 0 for entry in self._entries)
        flushes = sum(entry.flushes for entry in self._entries)
        trials = boots["trial"]
        return CrashRow(
            self._operation.name, requests, flushes, boots.total(), boots.total() - trials, trials, again, booted,
            tuple(lost[:_SHOWN]),
        )  # fmt: skip

    def _tried(self, point: CrashPoint, what: Callable[[Path], None]) -> list[str]:
        disk = self._replay.export(point, self._folder / "point.raw")
        try:
            what(disk)
        except ProaError as error:
            return [f"{point}: {error}"]
        finally:
            disk.unlink()
        return []

    def _boot(self, disk: Path, *, slot: Slot, number: int) -> None:
        self._plan.boot(disk, slot, f"{self._operation.name}-{number}")

    def _again(self, disk: Path) -> None:
        """Give the order again; the disk must come to the state that the whole operation leaves."""
        root = self._folder / "again"
        shutil.copytree(self._operation.record, root, symlinks=True)
        try:
            self._operation.again(disk, root)
        finally:
            shutil.rmtree(root)
        if wrong := self._judge.end(disk):
            raise ProaError(Code.REHEARSAL, wrong, at=disk)
