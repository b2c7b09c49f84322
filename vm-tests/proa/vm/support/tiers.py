"""What a run of the tiers of tests reports."""

from __future__ import annotations

from dataclasses import dataclass

from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count, Seconds


@dataclass(frozen=True)
class TierReport(Part):
    """A tier."""

    name: str = field("Its name.", enum=["lint", "unit", "rollouts", "contract", "vm"])
    ok: bool = field("Whether all of it passed.")
    passed: Count = field("Tests that passed; of `lint`, its checks.")
    failed: Count = field("Tests that failed. A run that ended without a report counts as one.")
    skipped: Count = field("Tests that were skipped.")
    seconds: Seconds = field("How long it took.")
    cpu_seconds: Seconds = field(
        "Processor time of all its processes: what does not depend on what else the machine does."
    )


@dataclass(frozen=True)
class SlowCase(Part):
    """A test."""

    tier: str = field("Its tier.")
    name: str = field("Its file and name.")
    seconds: Seconds = field("How long it took, with its fixtures.")


@dataclass(frozen=True)
class TiersReport(Report, schema="proa.test/v1"):
    """`build/test/summary.json` of `make test`.

    It is written after every tier, so it is there when one fails or all is interrupted.
    """

    ok: bool = field("Whether every tier passed.")
    interrupted: bool = field("Whether it was ended early; tiers that never began are missing then.")
    seconds: Seconds = field("From start to end. Less than the sum where tiers ran at the same time.")
    tiers: tuple[TierReport, ...] = field("In the order in which they were asked for.")
    slowest: tuple[SlowCase, ...] = field("The twenty slowest tests of all tiers, the slowest first.")
