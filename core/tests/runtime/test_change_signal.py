"""The bell: no ring is lost, none is heard twice."""

from __future__ import annotations

import threading

from proa.core.runtime.change_signal import Bell


def test_a_ring_before_one_listens_is_heard() -> None:
    bell = Bell()
    bell.ring()
    assert bell.wait(0, 0) == 1
    assert bell.wait(1, 0) == 1


def test_it_wakes_whoever_waits() -> None:
    bell = Bell()
    threading.Timer(0.02, bell.ring).start()
    assert bell.wait(0, 5) == 1


def test_many_rings_are_one_wake() -> None:
    bell = Bell()
    for _ in range(5):
        bell.ring()
    assert bell.wait(0, 0) == bell.rings == 5


def test_nobody_waits_for_a_bell_that_is_closed() -> None:
    bell = Bell()
    threading.Timer(0.02, bell.close).start()
    assert bell.wait(0) == 0
    assert bell.closed
    assert bell.wait(0) == 0
