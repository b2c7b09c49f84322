"""The change signal: none is lost, none is seen twice."""

from __future__ import annotations

import threading

from proa.core.runtime.change_signal import ChangeSignal


def test_a_ring_before_one_listens_is_heard() -> None:
    changed = ChangeSignal()
    changed.notify()
    assert changed.wait(0, 0) == 1
    assert changed.wait(1, 0) == 1


def test_it_wakes_whoever_waits() -> None:
    changed = ChangeSignal()
    threading.Timer(0.02, changed.notify).start()
    assert changed.wait(0, 5) == 1


def test_many_rings_are_one_wake() -> None:
    changed = ChangeSignal()
    for _ in range(5):
        changed.notify()
    assert changed.wait(0, 0) == changed.count == 5


def test_nobody_waits_for_a_bell_that_is_closed() -> None:
    changed = ChangeSignal()
    threading.Timer(0.02, changed.close).start()
    assert changed.wait(0) == 0
    assert changed.closed
    assert changed.wait(0) == 0
