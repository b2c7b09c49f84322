"""The controller, step by step: who leads, what was seen, and what it makes of a rollout."""

from __future__ import annotations

import threading

import pytest

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.scheduler.control.controller import BLIND, GATHER, LONGEST_WAIT
from proa.scheduler.kube import paths
from proa.scheduler.planning.actions import Uncordon
from proa.scheduler.spec.crd import NODE_OSES
from proa.scheduler.testing.controlled import Case, assert_all_is_well, since


def test_a_whole_rollout(case: Case) -> None:
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)
    assert [reason for _, reason in case.ears.heard if reason == "UpdateDone"] == ["UpdateDone"] * 3
    assert len([one for one in case.eyes.done if isinstance(one, Uncordon)]) == 3
    case.clock.sleep(10)
    case.step()
    assert len(case.status["recentSeconds"]) == 3
    before = len(case.server.log)
    pauses = {case.turn() for _ in range(5)}
    assert len(case.server.log) == before  # nothing is asked for any more
    assert min(pauses) > 1


def test_it_never_waits_for_nothing_at_all_without_having_done_something(case: Case) -> None:
    """A step that gives no pause has written something, or something has changed; else it is a busy loop."""
    for _ in range(150):
        case.show()
        before = case.server.version
        pause = case.controller.step()
        if pause < 0.01:
            case.show()
            again, known = case.controller.step(), case.server.version
            assert again >= 0.01 or known != before
        case.agents()
        case.clock.sleep(5)
    assert case.phase == "Complete"


@pytest.mark.parametrize("turns", range(2, 40, 3))
def test_another_leader_goes_on_from_anywhere(turns: int) -> None:
    case = Case()
    for _ in range(turns):
        case.turn()
    fence = case.elector.fence + 1
    case.start()
    case.elector.fence = fence
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_who_does_not_lead_does_nothing(case: Case) -> None:
    case.elector.leading = False
    assert case.step() == LONGEST_WAIT
    assert case.server.log == []


def test_who_leads_no_more_drains_no_more(case: Case) -> None:
    case.until(lambda: case.wanted_nodes() != [])
    case.elector.leading = False
    before = len(case.server.log)
    case.step()
    assert (case.drains.wanted, case.controller.last) == ({}, None)
    assert len(case.server.log) == before


@pytest.mark.parametrize("number", range(4))
def test_nothing_is_done_before_all_was_seen(case: Case, number: int) -> None:
    case.seen[number].synced = False
    assert 0 < case.step() < 1
    assert case.server.log == []


@pytest.mark.parametrize("number", range(4))
def test_nothing_is_done_on_what_is_old(case: Case, number: int) -> None:
    case.until(lambda: case.wanted_nodes() != [])
    case.clock.sleep(60)
    case.seen[number].stale_since = case.clock.monotonic() - 1
    before = len(case.server.log)
    assert 0 < case.step() < 1
    assert len(case.server.log) == before
    case.seen[number].stale_since = None
    case.step()
    assert len(case.server.log) > before


@pytest.mark.parametrize(("seconds", "blames"), [(BLIND - 1, True), (BLIND + 1, False)])
def test_who_was_blind_blames_nobody_for_that_time(case: Case, seconds: float, blames: bool) -> None:
    case.step()
    begun = since(case)
    case.clock.sleep(seconds)
    case.seen[0].stale_since = case.clock.monotonic() - seconds
    case.step()
    case.seen[0].stale_since = None
    case.step()
    assert since(case) == (begun if blames else case.clock.now())


class Stop(threading.Event):
    """Is set after so many looks; its waits take no time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == GATHER
        return False


class Sleeper(ChangeSignal):
    """Lets the clock go on instead of waiting."""

    def __init__(self, clock: VirtualClock, extra: float) -> None:
        super().__init__()
        self.clock, self.extra = clock, extra

    def wait(self, heard: int, seconds: float | None = None) -> int:
        assert seconds is not None
        assert seconds <= LONGEST_WAIT
        self.clock.sleep(seconds + self.extra)
        return self.count


@pytest.mark.parametrize(("extra", "blames"), [(1.0, True), (BLIND + 1, False)])
def test_who_stood_still_blames_nobody_for_that_time(case: Case, extra: float, blames: bool) -> None:
    case.show()
    begun = case.clock.now()
    case.controller.changed = Sleeper(case.clock, extra)
    case.controller.run(Stop(2))
    assert len(case.eyes.passes) == 2
    found = case.eyes.passes[-1].snapshot.since
    assert (found == begun) is blames
    assert case.controller.last is None  # it has laid down what it did
    assert case.drains.wanted == {}


def test_nothing_is_planned_from_what_is_before_a_write_of_ours(case: Case) -> None:
    case.until(lambda: case.cordoned != [])
    before = list(case.cordoned)
    writes = len(case.server.writes)
    for number in (0, 1):
        case.seen[number].reached = 0
    for _ in range(3):
        case.controller.step()  # without a show
        case.clock.sleep(1)
    nodes = [one for one in case.server.writes[writes:] if one.path.startswith((paths.NODES, NODE_OSES))]
    assert (case.cordoned, nodes) == (before, [])


def test_a_person_who_pauses_while_a_status_is_written_loses_nothing(case: Case) -> None:
    case.until(lambda: len(case.boots) == 2)
    case.until(lambda: len(case.status.get("recentSeconds", ())) > 0)
    known = case.status["recentSeconds"]
    case.show()
    case.server.change(case.rollout, metadata={"generation": 2}, spec={"paused": True})
    case.controller.step()
    case.until(lambda: case.phase == "Paused")
    assert case.status["recentSeconds"][: len(known)] == known
    case.server.change(case.rollout, metadata={"generation": 3}, spec={"paused": False})
    case.until(lambda: case.phase == "Complete")
    case.turn()
    assert len(case.status["recentSeconds"]) == 3


def test_a_term_that_follows_at_once_is_another_term(case: Case) -> None:
    case.step()
    case.clock.sleep(5)
    case.step()
    assert since(case) != case.clock.now()
    case.elector.fence += 2
    case.step()
    assert since(case) == case.clock.now()
