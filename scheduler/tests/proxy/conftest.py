"""Fixtures shared by the tests of the proxy."""

from __future__ import annotations

import pytest

from proa.scheduler.testing.proxied import GOOD, World


@pytest.fixture
def world() -> World:
    """A proxy whose agent has said that the node is good."""
    found = World()
    found.tell(GOOD)
    return found
