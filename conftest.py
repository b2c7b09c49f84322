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

LONGEST_FIRST = (
    *("test_node_return", "test_proof", "test_pages", "test_node_upgrade", "test_boot_chain"),
    *("test_container_contract", "test_kill_matrix_contract", "test_uninstall_contract", "test_manifests_contract"),
    *("test_cluster_faults_contract", "test_api_faults_contract"),
)
"""Files that take minutes; a worker takes a file at a time, and none is to be left with one of these at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the order within a file stays."""
    ranks = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of every later collection of garbage: it stays to the end anyway."""
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A skipped test is a failed one: a tier that lacks its parts must not look green."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
