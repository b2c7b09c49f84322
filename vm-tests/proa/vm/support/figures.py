"""The figures of a benchmark: what was measured, what it should be at most, and whether it is."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.schema.model import Part, Report, document, field

_HEADINGS: Final = f"{'':<52} {'value':>8}     {'floor':>8} {'ratio':>6}  {'goal':<10} met"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: What was measured.
        value: The result.
        unit: Its unit; empty for a count.
        floor: The peer or the limit of the same run; none if there is none.
        most: What it should be at most; none if there is no goal.
        whole: Whether all was done that the figure is about: no goal is met by leaving something out.
    """

    name: str
    value: float
    unit: str = ""
    floor: float | None = None
    most: float | None = None
    whole: bool = True

    @property
    def goal(self) -> str:
        """The goal in words; empty if there is none."""
        if self.most is None:
            return "" if self.whole else "all done"
        return f"<= {self.most:.4g} {self.unit}".rstrip() if self.most else "0"

    @property
    def met(self) -> bool:
        """Whether the goal is met; what has none meets it."""
        return self.whole and (self.most is None or self.value <= self.most)

    @property
    def row(self) -> BenchRow:
        """It as a row of a report."""
        floor = None if self.floor is None else round(self.floor, 2)
        ratio = round(self.value / self.floor, 2) if self.floor else None
        return BenchRow(self.name, round(self.value, 2), self.unit, floor, ratio, self.goal, self.met)


@dataclass(frozen=True)
class BenchRow(Part):
    """A figure."""

    figure: str = field("What was measured.")
    value: float = field("The result.")
    unit: str = field("Of value and floor.")
    floor: float | None = field("The peer or limit measured in the same run; null if there is none.")
    ratio: float | None = field("value / floor.")
    goal: str = field("What the value should be; empty if there is no goal.")
    ok: bool = field("Whether the goal is met.")


@dataclass(frozen=True)
class BenchReport(Report, schema="proa.bench/v1"):
    """`build/bench/NAME.json` of `make bench-NAME`."""

    machine: Mapping[str, Any] = field("The machine of the measurement.")
    rows: tuple[BenchRow, ...] = field("One figure each.")


def write(path: Path, rows: Iterable[BenchRow]) -> None:
    """Write the report of a benchmark, with the machine that it ran on."""
    load = [round(value, 1) for value in os.getloadavg()]
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "load": load}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(BenchReport(machine, tuple(rows))), indent=2) + "\n")


def lines(figures: Iterable[Figure]) -> Iterator[str]:
    """The table."""
    yield _HEADINGS
    for one in figures:
        floor = f"{one.floor:8.2f} {one.value / one.floor:6.2f}" if one.floor else " " * 15
        met = ("yes" if one.met else "NO") if one.goal else ""
        yield f"{one.name:<52} {one.value:8.2f} {one.unit:<3} {floor}  {one.goal:<10} {met}".rstrip()


def missed(figures: Iterable[Figure]) -> list[str]:
    """What does not meet its goal, a line each."""
    found = []
    for one in figures:
        if not one.met:
            value = f"{one.value:.2f} {one.unit}".rstrip()
            found.append(f"{one.name.strip()}: {value}, goal {one.goal}{'' if one.whole else ', and not all was done'}")
    return found
