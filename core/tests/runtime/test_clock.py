"""Clocks and deadlines, without waiting."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from proa.core.runtime.clock import SYSTEM, Deadline, VirtualClock
from proa.core.runtime.errors import Code, ProaError


def test_a_virtual_clock_moves_when_slept_on() -> None:
    clock = VirtualClock()
    start = clock.now()
    clock.sleep(90)
    clock.sleep(-1)
    assert clock.monotonic() == 90
    assert clock.now() - start == timedelta(seconds=90)
    assert clock.slept == [90, -1]


def test_the_system_clock_goes_on_and_is_utc() -> None:
    before = SYSTEM.monotonic()
    SYSTEM.sleep(-5)
    assert SYSTEM.monotonic() >= before
    assert SYSTEM.now().tzinfo is UTC


def test_a_deadline_passes() -> None:
    clock = VirtualClock(at=1000)
    deadline = Deadline("the node", 60, clock)
    clock.sleep(59)
    assert deadline.remaining == 1
    deadline.check()
    clock.sleep(1)
    assert deadline.passed
    with pytest.raises(ProaError, match="the node: not within 60 s") as caught:
        deadline.check(at="console.log")
    assert caught.value.code is Code.TIMEOUT
    assert caught.value.at == "console.log"
    clock.sleep(1000)
    assert deadline.remaining == 0


def test_a_deadline_may_have_begun_before() -> None:
    assert Deadline("it", 10, VirtualClock(at=8), started=0).remaining == 2


@pytest.mark.parametrize("seconds", [0, -3])
def test_no_time_at_all_has_passed_at_once(seconds: float) -> None:
    assert Deadline("it", seconds, VirtualClock()).passed
