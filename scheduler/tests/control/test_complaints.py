"""An API server that cannot be asked is told of at once, then seldom, and when it answers again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from proa.core.runtime.clock import VirtualClock
from proa.scheduler.control import log
from proa.scheduler.control.complaints import AGAIN, Complaints


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged, as level, message and address."""
    found: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = json.loads(log.Lines().format(record))
            found.append(f"{line['level']} {line['server']} {line['message']}, {line['seconds']} s")

    handler = Catch()
    log.LOGGER.addHandler(handler)
    level = log.LOGGER.level
    log.LOGGER.setLevel("INFO")
    yield found
    log.LOGGER.removeHandler(handler)
    log.LOGGER.setLevel(level)


def test_p05_an_api_server_that_is_away_is_told_of_at_once_then_seldom(said: list[str]) -> None:
    problem, clock = ["connection refused"], VirtualClock()
    complaints = Complaints(lambda: problem[0], "https://api.example:6443", clock)
    for _ in range(int(3 * AGAIN)):
        complaints.look()
        clock.sleep(1.0)
    where = "https://api.example:6443 the API server"
    assert said == [f"warning {where} cannot be asked, {seconds} s" for seconds in (0, 60, 120)]
    problem[0] = ""
    complaints.look()
    complaints.look()
    assert said[3:] == [f"info {where} answers again, 180 s"]


def test_p05_who_can_be_asked_is_not_told_of(said: list[str]) -> None:
    Complaints(lambda: "", "https://api.example:6443", VirtualClock()).look()
    assert said == []
