"""Rules for every test of the repository."""

from __future__ import annotations

import gc
import signal

import pytest
from hypothesis import settings

# A busy machine is no failure, and what is tried is the same each time: a change is judged by what it changes.
settings.register_profile("proa", deadline=None, derandomize=True)
settings.load_profile("proa")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what runs in its background with SIGINT ignored, and every program that a test
    # starts inherits that: a test that interrupts one would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of every later collection of garbage: it stays to the end anyway."""
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A skipped test is a failed one: a tier that lacks its parts must not look green."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
