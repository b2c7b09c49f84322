"""Fixtures shared by the tests of the controller."""

from __future__ import annotations

import pytest

from proa.scheduler.testing.controlled import Case


@pytest.fixture
def case() -> Case:
    """A cluster of three nodes, and its controller."""
    return Case()
