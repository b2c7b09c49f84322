"""Fixtures shared by the tests of the scheduler; what they give is in :mod:`proa.scheduler.testing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proa.scheduler.testing.served import HttpServer


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """An HTTP server that answers as the test tells it to."""
    running = HttpServer()
    yield running
    running.close()
