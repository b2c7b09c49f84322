"""Rules for every test of the repository."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

LONGEST_FIRST = ("return", "upgrade", "docs", "boot-chain")
"""Groups of tests (``xdist_group``) that take minutes, so that no worker is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the order within a file stays."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return min(
        (LONGEST_FIRST.index(name) for name in _groups(item) if name in LONGEST_FIRST), default=len(LONGEST_FIRST)
    )


def _groups(item: pytest.Item) -> Iterator[str]:
    return (marker.args[0] for marker in item.iter_markers("xdist_group"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A skipped test is a failed one: a tier that lacks its parts must not look green."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
