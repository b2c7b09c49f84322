"""Fixtures shared by the tests of the elector."""

from __future__ import annotations

import pytest

from proa.scheduler.testing.contest import Contest


@pytest.fixture
def contest() -> Contest:
    """A lease that nobody has yet."""
    return Contest()
