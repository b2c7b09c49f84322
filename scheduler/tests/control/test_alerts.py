"""Prometheus is asked while a node could start, and no more: what is asked when, what is told, what is forgotten."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.control.alerts import AGAIN, ALL, NOWHERE, QUESTION, AlertsAsker
from proa.scheduler.kube.prometheus import UnansweredError
from proa.scheduler.spec.rollout import Alert

CRITICAL, LATENCY = Alert("critical", "ALERTS"), Alert("latency", "x > 1")
WANTED = {"workers": (CRITICAL, LATENCY)}


class Case:
    """An asker whose steps are made by the test, and a Prometheus that says what the test wants."""

    def __init__(self) -> None:
        self.clock, self.changed = VirtualClock(), ChangeSignal()
        self.asked: list[tuple[str, float]] = []
        self.results: dict[str, tuple[str, ...] | UnansweredError] = {}
        self.takes = 0.0
        self.asker = AlertsAsker(self.ask, self.changed, self.clock)

    def ask(self, query: str, seconds: float) -> tuple[str, ...]:
        self.asked.append((query, seconds))
        self.clock.sleep(self.takes)
        found = self.results.get(query, ())
        if isinstance(found, UnansweredError):
            raise found
        return found

    @property
    def said(self) -> tuple[tuple[str, ...], str]:
        view = self.asker.views["workers"]
        return view.firing, view.error


def test_nothing_is_asked_that_nobody_wants() -> None:
    case = Case()
    assert case.asker.step() is None
    case.asker.want(WANTED)
    case.asker.step()
    case.asker.want({})
    assert (case.asker.step(), case.asker.views, len(case.asked)) == (None, {}, 2)


def test_what_is_wanted_is_asked_again_and_again() -> None:
    case = Case()
    case.asker.want(WANTED)
    assert case.asker.step() == AGAIN
    assert case.asked == [("ALERTS", QUESTION), ("x > 1", QUESTION)]
    assert case.said == ((), "")
    case.clock.sleep(AGAIN - 1)
    assert (case.asker.step(), len(case.asked)) == (1.0, 2)
    case.clock.sleep(1)
    case.asker.step()
    assert len(case.asked) == 4


def test_each_start_is_asked_for_anew() -> None:
    case = Case()
    case.asker.want(WANTED)
    case.asker.step()
    case.asker.want({})
    case.asker.want(WANTED)
    assert case.asker.views == {}
    case.asker.step()
    assert len(case.asked) == 4


def test_other_queries_are_asked_at_once() -> None:
    case = Case()
    case.asker.want(WANTED)
    case.asker.step()
    case.asker.want({"workers": (LATENCY,)})
    assert case.asker.views == {}
    case.asker.step()
    assert case.asked[2:] == [("x > 1", QUESTION)]


def test_all_that_fires_is_told_and_since_when() -> None:
    case = Case()
    case.results = {"ALERTS": ("a", "b", "c", "d", "e"), "x > 1": ("shop",)}
    case.asker.want(WANTED)
    case.asker.step()
    assert case.said == (("critical: a, b, c and 2 more", "latency: shop"), "")
    since = case.clock.now()
    case.clock.sleep(AGAIN)
    case.results["x > 1"] = ()
    case.asker.step()
    view = case.asker.views["workers"]
    assert (view.firing, view.since) == (("critical: a, b, c and 2 more",), since)
    assert view.asked_at == since + timedelta(seconds=AGAIN)
    case.results["ALERTS"] = ()
    case.clock.sleep(AGAIN)
    case.asker.step()
    assert case.asker.views["workers"].is_quiet


def test_when_there_is_no_answer_nothing_more_is_asked() -> None:
    case = Case()
    case.results = {"ALERTS": UnansweredError("it cannot be reached")}
    case.asker.want(WANTED)
    case.asker.step()
    assert case.said == ((), "critical: it cannot be reached")
    assert [query for query, _ in case.asked] == ["ALERTS"]


def test_many_slow_answers_take_no_longer_than_they_may() -> None:
    case = Case()
    case.takes = 7.0
    case.asker.want({"workers": tuple(Alert(f"a{number}", f"q{number}") for number in range(16))})
    case.asker.step()
    assert [seconds for _, seconds in case.asked] == [10.0, 10.0, 6.0]
    assert case.said == ((), f"a3: not all queries were answered within {ALL:.0f} s")


def test_a_scheduler_without_prometheus_says_so() -> None:
    asker = AlertsAsker(None, ChangeSignal(), VirtualClock())
    asker.want(WANTED)
    asker.step()
    assert asker.views["workers"].error == NOWHERE


def test_only_news_wake_the_controller() -> None:
    case = Case()
    case.asker.want(WANTED)
    heard = []
    for found in ((), (), ("a",), ("a",), ("b",), ()):
        case.results["ALERTS"] = found
        before = case.changed.count
        case.asker.step()
        heard.append(case.changed.count > before)
        case.clock.sleep(AGAIN)
    assert heard == [True, True, True, False, True, True]


def test_an_answer_that_comes_too_late_is_forgotten() -> None:
    """The spec has changed while it was asked."""
    case = Case()
    other = {"workers": (LATENCY,)}

    def ask(query: str, seconds: float) -> tuple[str, ...]:
        case.asker.want(other)
        return ()

    case.asker = AlertsAsker(ask, case.changed, case.clock)
    case.asker.want(WANTED)
    case.asker.step()
    assert case.asker.views == {}


def test_a_defect_is_raised_where_it_is_asked() -> None:
    def ask(query: str, seconds: float) -> tuple[str, ...]:
        raise ZeroDivisionError

    changed = ChangeSignal()
    asker = AlertsAsker(ask, changed)
    asker.want(WANTED)
    heard = changed.count
    asker.start()
    changed.wait(heard, 5.0)
    assert asker.join()
    with pytest.raises(ProaError) as caught:
        asker.want({})
    assert caught.value.code is Code.INTERNAL


def test_it_asks_in_a_thread_of_its_own_and_ends() -> None:
    asked = threading.Event()

    def ask(query: str, seconds: float) -> tuple[str, ...]:
        asked.set()
        return ()

    asker = AlertsAsker(ask, ChangeSignal())
    asker.start()
    asker.want(WANTED)
    assert asked.wait(5.0)
    assert asker.stop(5.0)
