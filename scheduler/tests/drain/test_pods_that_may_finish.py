"""Pods that may finish before anything is evicted from their node: for so long, and no longer."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from proa.scheduler.drain.nodedrain import DrainRequest, Look, NodeDrain
from proa.scheduler.drain.pods import PodView, may_finish
from proa.scheduler.drain.undrainable import undrainable
from proa.scheduler.planning.actions import Uncordon
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.status import WAITS
from proa.scheduler.planning.views import DrainView, RolloutView
from proa.scheduler.report import source
from proa.scheduler.spec.rollout import Drain, Selector, WaitFor
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutStatus
from proa.scheduler.testing.situations import MARK, NOW, change, marked, node_os, planned

START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(minutes=10)
POLICY = Drain(timeout="15m", wait_for=WaitFor(Selector({"job": "nightly"}), "10m"))
WISH = DrainRequest(POLICY, wait_until=UNTIL)
JOB = PodView("shop/job-1", "p1", {"job": "nightly"}, ("Job", "job"))
WEB = PodView("shop/web-1", "p2", {"app": "web"}, ("ReplicaSet", "web"))
BARE = dataclasses.replace(JOB, owner=("", ""))


class Case:
    def __init__(self, *pods: PodView) -> None:
        self.drain, self.pods, self.now = NodeDrain("n1"), {pod.key: pod for pod in pods}, 0.0

    def look(self) -> Look:
        return self.drain.look(self.pods, (), WISH, (), START + timedelta(seconds=self.now), self.now)


def test_nothing_is_evicted_before_it_has_finished() -> None:
    case = Case(JOB, WEB)
    look = case.look()
    assert (look.evict, look.blockers, look.done, look.began, look.wake) == ((), (), False, None, 600)
    assert look.waits == (Blocker("n1", "shop/job-1", reason=f"{WAITS}pod shop/job-1", since="2026-01-01T00:00:00Z"),)
    case.now = 60
    assert case.look().waits == look.waits  # with the time at which it began
    case.pods[JOB.key] = dataclasses.replace(JOB, finished=True)
    look = case.look()
    assert (look.evict, look.waits, look.began) == ((WEB,), (), START + timedelta(seconds=60))


def test_when_its_time_is_up_it_is_evicted_as_all_others() -> None:
    case = Case(JOB, WEB)
    case.now = 599
    assert case.look().waits
    case.now = 600
    assert case.look().evict == (JOB, WEB)


def test_what_comes_after_the_drain_has_begun_is_waited_for_no_more() -> None:
    case = Case(WEB)
    assert case.look().began == START
    case.pods[JOB.key] = JOB
    case.now = 30
    look = case.look()
    assert (JOB in look.evict, look.waits, look.began) == (True, (), START)


@pytest.mark.parametrize(
    "pod",
    [
        WEB,
        dataclasses.replace(JOB, finished=True),
        dataclasses.replace(JOB, mirror=True),
        dataclasses.replace(JOB, owner=("DaemonSet", "job")),
        dataclasses.replace(JOB, deleting=START),
    ],
    ids=["another", "finished", "of-a-file", "of-a-daemon-set", "ending"],
)
def test_what_is_not_waited_for(pod: PodView) -> None:
    assert may_finish(JOB, POLICY)
    assert not may_finish(pod, POLICY)
    assert not may_finish(JOB, Drain())


def test_a_pod_that_may_finish_is_not_foreseen_to_be_in_the_way() -> None:
    assert undrainable([BARE], Drain(), (), "n1")
    assert undrainable([BARE], POLICY, (), "n1") == ()


# the planner

SPEC = change(drain=POLICY)
WAITED = Blocker("n1", "shop/job-1", reason=f"{WAITS}pod shop/job-1")


def made(drain: DrainView | None = None, minutes: int = 5) -> Plan:
    """The plan for a node that was cordoned so many minutes ago."""
    mark = dataclasses.replace(MARK, since=NOW - timedelta(minutes=minutes))
    return planned((marked(mark=mark), node_os()), spec=SPEC, drains={"n1": drain} if drain else {})


def test_a_node_that_waits_says_for_what_and_until_when() -> None:
    found = made(DrainView(False, waits=(WAITED,)))
    verdict = found.verdicts["n1"]
    assert verdict.reason is Reason.AwaitingPods
    assert verdict.detail == "until 2026-01-05T12:05:00Z, 5m left: shop/job-1"
    assert found.waits == {"n1": NOW + timedelta(minutes=5)}
    assert found.wake == NOW + timedelta(minutes=5)
    assert found.statuses["workers"].blockers == (WAITED,)


def test_a_drain_has_its_time_from_when_there_was_nothing_more_to_wait_for() -> None:
    assert made().drains == {"n1": NOW + timedelta(minutes=20)}
    began = DrainView(False, began=NOW - timedelta(minutes=2))
    assert made(began).drains == {"n1": NOW + timedelta(minutes=13)}
    late = DrainView(False, began=NOW + timedelta(minutes=9))
    assert made(late).drains == {"n1": NOW + timedelta(minutes=20)}


@pytest.mark.parametrize(("minutes", "given_back"), [(24, False), (25, True)])
def test_a_drain_ends_at_the_latest_after_both_times(minutes: int, given_back: bool) -> None:
    actions = made(DrainView(False, (WAITED,)), minutes).actions
    assert (Uncordon("n1", "DrainTimeout") in actions) is given_back


def test_a_person_reads_in_the_status_what_a_drain_waits_for() -> None:
    stuck = Blocker("n1", "shop/web-1", reason="pod shop/web-1: no disruption is allowed")
    view = RolloutView("workers", "u", 1, SPEC, RolloutStatus(blockers=(WAITED, stuck)))
    assert source.drains_of({"n1": marked()}, {"workers": view}) == {"n1": DrainView(False, (stuck,), (WAITED,))}
