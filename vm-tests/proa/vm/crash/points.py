"""Where the power may fail: what a disk with a volatile cache may hold at each moment of an operation.

What was flushed is there. Of what came later any part may be: all of it, none, some requests without others, and of a
request some sectors of 512 bytes without others. Where there are few such states all are taken, elsewhere a sample
that is the same each time.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proa.vm.crash.writelog import LoggedWrite

_ALL_SUBSETS: Final = 6
"""Up to so many requests, each subset of them is a state."""
_ALL_SECTORS: Final = 8
"""The same of the sectors of a request."""


@dataclass(frozen=True, order=True)
class CrashPoint:
    """What of the log is on the disk.

    Attributes:
        durable: All entries before the one with this number.
        also: Further ones, in their order.
        torn: One more, in part: its number, and a bit for each sector that was written, the first the lowest.
    """

    durable: int
    also: tuple[int, ...] = ()
    torn: tuple[int, int] = (-1, 0)


def epochs(entries: Sequence[LoggedWrite], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The entries from ``start`` to ``end`` in groups, each ended by what flushes: nothing of it is certain before."""
    first = start
    for number in range(start, end):
        if entries[number].flushes:
            yield first, number + 1
            first = number + 1
    if first < end:
        yield first, end


def points(entries: Sequence[LoggedWrite], start: int, end: int, wanted: int, seed: int = 0) -> list[CrashPoint]:
    """The states that an operation may be cut off in, in the order of the log.

    Args:
        entries: The log.
        start: The operation's first entry; all before it is on the medium.
        end: The one after its last.
        wanted: How many, if there are so many; every prefix of the log is always among them.
        seed: Of the sample.
    """
    found = {CrashPoint(first, tuple(range(first, last))) for first, last in _prefixes(entries, start, end)}
    chance = random.Random(seed)  # noqa: S311 -- the same each time, on purpose
    groups = [
        (first, [number for number in range(first, last) if entries[number].size])
        for first, last in epochs(entries, start, end)
    ]
    for first, writes in groups:
        found |= set(_few(entries, first, writes))
    groups = [(first, writes) for first, writes in groups if writes]
    for _ in range(20 * wanted if groups else 0):
        if len(found) >= wanted:
            break
        found.add(_any(entries, *chance.choice(groups), chance))
    return sorted(found)


def _prefixes(entries: Sequence[LoggedWrite], start: int, end: int) -> Iterator[tuple[int, int]]:
    barrier = start
    for number in range(start, end):
        yield barrier, number
        if entries[number].flushes:
            barrier = number + 1
    yield barrier, end


def _few(entries: Sequence[LoggedWrite], first: int, writes: list[int]) -> Iterator[CrashPoint]:
    """All subsets of a small epoch, and of its small requests' sectors beside what came before them."""
    if len(writes) > _ALL_SUBSETS:
        return
    for count in range(len(writes) + 1):
        for chosen in itertools.combinations(writes, count):
            yield CrashPoint(first, chosen)
    for place, number in enumerate(writes):
        if entries[number].sectors <= _ALL_SECTORS:
            for mask in range(1, (1 << entries[number].sectors) - 1):
                yield CrashPoint(first, tuple(writes[:place]), (number, mask))


def _any(entries: Sequence[LoggedWrite], first: int, writes: list[int], chance: random.Random) -> CrashPoint:
    """Up to some request of an epoch, its last one every other time: some missing, and one perhaps in part."""
    reach = len(writes) if chance.random() < 0.5 else chance.randrange(len(writes)) + 1
    missing = chance.choice((0, 1, min(8, reach), reach // 2))
    gone = set(chance.sample(writes[:reach], missing))
    kept = [number for number in writes[:reach] if number not in gone]
    if not kept or chance.random() < 0.5:
        return CrashPoint(first, tuple(kept))
    torn = kept.pop(chance.choice((-1, chance.randrange(len(kept)))))
    sectors = entries[torn].sectors
    cut = (1 << chance.randrange(1, sectors + 1)) - 1
    return CrashPoint(first, tuple(kept), (torn, chance.choice((cut, chance.getrandbits(sectors)))))
