"""What became of the tiers of tests: ``build/test/summary.json`` (``proa.test/v1``), made of the reports of pytest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from proa.core.schema.model import document
from proa.vm.support.tiers import SlowCase, TierReport, TiersReport

SLOWEST: Final = 20
"""How many tests are named."""


@dataclass(frozen=True)
class Case:
    """A test, with the seconds that it took together with its fixtures."""

    name: str
    seconds: float
    outcome: str
    """``passed``, ``failed`` or ``skipped``."""


@dataclass(frozen=True)
class Result:
    """What became of a tier.

    Attributes:
        name: Of the tier.
        ok: Whether all of it passed.
        seconds: How long it took.
        cpu_seconds: Of processor time, all processes together: it does not depend on how busy the machine is.
        cases: Its tests; of `lint`, its checks.
        broken: Commands that failed otherwise than by a test: each counts as one failure.
    """

    name: str
    ok: bool
    seconds: float
    cpu_seconds: float
    cases: Sequence[Case]
    broken: int = 0

    def outcomes(self) -> dict[str, int]:
        """How many passed, failed and were skipped."""
        found = [case.outcome for case in self.cases]
        return {
            "passed": found.count("passed"),
            "failed": found.count("failed") + self.broken,
            "skipped": found.count("skipped"),
        }


def read(report: Path) -> list[Case]:
    """The tests of a JUnit report; none if there is no such report, or only a part of one."""
    try:
        root = ElementTree.parse(report).getroot()  # noqa: S314 -- pytest has just written it
    except (OSError, ElementTree.ParseError):
        return []
    found: dict[str, Case] = {}
    for element in root.iter("testcase"):
        case = _case(element)
        before = found.get(case.name)  # one that fails and whose fixture then fails at its end is there twice
        if before is not None:
            outcome = "failed" if "failed" in (before.outcome, case.outcome) else case.outcome
            case = Case(case.name, before.seconds + case.seconds, outcome)
        found[case.name] = case
    return list(found.values())


def _case(element: ElementTree.Element) -> Case:
    signs = {child.tag for child in element}
    outcome = "failed" if signs & {"failure", "error"} else "skipped" if "skipped" in signs else "passed"
    name = f"{element.get('file') or element.get('classname')}::{element.get('name')}"
    return Case(name, float(element.get("time", 0.0)), outcome)


def summary(results: Iterable[Result], seconds: float, *, interrupted: bool = False) -> dict[str, Any]:
    """The document.

    Args:
        results: Of the tiers so far.
        seconds: How long all of it took; less than the sum where tiers ran at the same time.
        interrupted: Whether it was ended early.
    """
    ran = list(results)
    every = [(result.name, case) for result in ran for case in result.cases]
    slowest = sorted(every, key=lambda one: one[1].seconds, reverse=True)[:SLOWEST]
    report = TiersReport(
        ok=not interrupted and all(result.ok for result in ran),
        interrupted=interrupted,
        seconds=round(seconds, 1),
        tiers=tuple(_tier(result) for result in ran),
        slowest=tuple(SlowCase(tier, case.name, round(case.seconds, 1)) for tier, case in slowest),
    )
    return document(report)


def _tier(result: Result) -> TierReport:
    seconds, cpu_seconds = round(result.seconds, 1), round(result.cpu_seconds, 1)
    return TierReport(result.name, result.ok, **result.outcomes(), seconds=seconds, cpu_seconds=cpu_seconds)


def table(told: Mapping[str, Any]) -> Iterator[str]:
    """The document as lines for a person."""
    for one in told["tiers"]:
        verdict = "passed" if one["ok"] else "FAILED"
        counts = f"{one['passed']} passed, {one['failed']} failed, {one['skipped']} skipped"
        yield f"  {one['name']:<9} {verdict}  {one['seconds']:6.0f} s  {one['cpu_seconds']:6.0f} s of CPU  {counts}"
    if told["slowest"]:
        yield "  The slowest:"
    yield from (f"  {one['seconds']:6.0f} s  {one['tier']:<9} {one['name']}" for one in told["slowest"])
