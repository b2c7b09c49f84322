"""Rules for every test of the repository."""

from __future__ import annotations

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A skipped test is a failed one: a tier that lacks its parts must not look green."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
