"""The drain of one node: what is asked for when, what is told to people, and when nothing is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.scheduler.drain.nodedrain import LATE, PATIENCE, SOON, DrainRequest, Look, NodeDrain
from proa.scheduler.drain.pods import BudgetView, PodFate, PodView, fate
from proa.scheduler.drain.undrainable import undrainable
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.spec.rollout import Drain, Selector, UnmanagedPods

START = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = ("ReplicaSet", "web")
WEB = PodView("shop/web-1", "p1", {"app": "web"}, OWNER)
BUDGET = BudgetView("shop/web", Selector({"app": "web"}))
FULL = ApiError(429, "would violate", reason="TooManyRequests", causes=(Cause("DisruptionBudget", "x"),))
WISH, FORCED = DrainRequest(Drain()), DrainRequest(Drain(), forced=True)


class Case:
    """A node whose pods the test sets."""

    def __init__(self, *pods: PodView) -> None:
        self.drain = NodeDrain("n1")
        self.pods = {pod.key: pod for pod in pods}
        self.now = 0.0

    def look(
        self, request: DrainRequest = WISH, attached: Sequence[str] = (), budgets: Sequence[BudgetView] = (BUDGET,)
    ) -> Look:
        when = START + timedelta(seconds=self.now)
        return self.drain.look(self.pods, attached, request, budgets, when, self.now)

    def answer(self, error: ApiError | None = None, key: str = WEB.key) -> None:
        self.drain.tries[key].answered(error, self.now)

    def put(self, pod: PodView) -> None:
        self.pods[pod.key] = pod


def ending(pod: PodView = WEB, seconds: float = 30) -> PodView:
    return dataclasses.replace(pod, deleting=START + timedelta(seconds=seconds))


def test_an_empty_node_is_drained() -> None:
    assert Case().look() == Look(done=True)


def test_a_pod_is_evicted_and_is_left_until_it_is_gone() -> None:
    case = Case(WEB)
    assert case.look() == Look(evict=(WEB,))
    case.drain.tries[WEB.key].under_way = True
    assert case.look() == Look()  # the answer wakes
    case.answer()
    case.put(ending())
    assert case.look() == Look(wake=30 + LATE.total_seconds())
    del case.pods[WEB.key]
    assert case.look() == Look(done=True)
    assert case.drain.tries == {}


def test_what_belongs_to_the_node_stays() -> None:
    stays = PodView("kube-system/net-1", "p2", {}, ("DaemonSet", "net"))
    assert Case(stays).look() == Look(done=True)


def test_a_budget_is_asked_again_and_told_only_after_a_while() -> None:
    case = Case(WEB)
    case.look()
    case.answer(FULL)
    look = case.look()
    assert (look.evict, look.blockers, look.done) == ((), (), False)
    assert look.wake is not None
    assert 0 < look.wake <= 2
    case.now = SOON
    look = case.look()
    assert look.evict == (WEB,)
    (blocker,) = look.blockers
    assert (blocker.node, blocker.pod, blocker.budget) == ("n1", WEB.key, "shop/web")
    assert "shop/web" in blocker.reason
    case.now += 10
    assert case.look().blockers == (blocker,)  # with the time at which it began


def test_a_blocker_that_has_gone_begins_anew() -> None:
    case = Case(WEB)
    case.look()
    case.answer(FULL)
    case.now = SOON
    first = case.look().blockers
    case.put(ending(seconds=60))
    assert case.look().blockers == ()
    case.put(WEB)
    case.now += 5
    (second,) = case.look().blockers
    assert second.since > first[0].since


def test_an_accepted_eviction_without_effect_is_asked_for_again_and_told() -> None:
    case = Case(WEB)
    case.look()
    case.answer()
    case.now = PATIENCE - 1
    assert case.look() == Look(wake=1)
    case.now = PATIENCE
    assert case.look().evict == (WEB,)
    case.answer()
    assert "still runs" in case.look().blockers[0].reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ApiError(403, "no right to evict", reason="Forbidden"), "no right to evict"),
        (ApiError(0, "no answer in time"), "no answer in time"),
        (ApiError(500, "This pod has more than one PodDisruptionBudget", reason="InternalError"), "several"),
    ],
)
def test_why_a_pod_stays_is_told(error: ApiError, said: str) -> None:
    case = Case(WEB)
    case.look()
    case.answer(error)
    case.now = SOON
    assert said in case.look().blockers[0].reason


def test_a_pod_of_the_same_name_is_another_pod() -> None:
    case = Case(WEB)
    case.look()
    case.answer(FULL)
    other = dataclasses.replace(WEB, uid="p2")
    case.put(other)
    assert case.look().evict == (other,)


def test_what_the_policy_protects_is_told_at_once_and_never_evicted() -> None:
    bare = PodView("shop/bare", "p3", {})
    case = Case(bare)
    look = case.look()
    assert (look.evict, look.done, look.wake) == ((), False, None)
    assert "unmanagedPods" in look.blockers[0].reason
    assert case.look(DrainRequest(Drain(unmanaged_pods=UnmanagedPods.DELETE))).evict == (bare,)


def test_force_deletes_what_is_left_whatever_protects_it() -> None:
    bare = PodView("shop/bare", "p3", {})
    look = Case(WEB, bare).look(FORCED)
    assert (look.evict, look.delete, look.done) == ((), (WEB, bare), False)


def test_a_pod_that_does_not_end_is_told_and_force_goes_on_without_it() -> None:
    case = Case(ending())
    case.now = 30 + LATE.total_seconds() - 1
    look = case.look(FORCED)
    assert (look.done, look.wake, look.blockers) == (False, 1, ())
    case.now += 1
    look = case.look()
    assert (look.done, len(look.blockers)) == (False, 1)
    assert case.look(FORCED).done


def test_volumes_of_evicted_pods_must_be_detached() -> None:
    case = Case()
    case.drain.volumes = {"shop/data": "v1", "shop/logs": "v2", "shop/share": ""}
    look = case.look(attached=["v2", "v1"])
    assert (look.done, [one.volume for one in look.blockers]) == (False, ["v1", "v2"])
    assert look.blockers[0].reason == "volume v1: it is still attached, for claim shop/data"
    assert [one.volume for one in case.look(attached=["v2"]).blockers] == ["v2"]
    assert case.look(FORCED, attached=["v1", "v2"]).done
    assert case.look() == Look(done=True)


def test_volumes_are_told_once_no_pod_is_left() -> None:
    case = Case(WEB)
    case.drain.volumes = {"shop/data": "v1"}
    assert case.look(attached=["v1"]).blockers == ()


def test_a_volume_that_was_never_a_pods_of_ours_is_not_waited_for() -> None:
    """It would not be detached before the reboot: that of a DaemonSet's pod, of a finished one, or nobody's at all."""
    stays = PodView("kube-system/store-1", "p2", {}, ("DaemonSet", "store"), claims=("kube-system/store",))
    ended = PodView("shop/job-1", "p3", {}, ("Job", "job"), finished=True, claims=("shop/job",))
    assert Case(stays, ended).look(attached=["v1", "v2", "v3"]) == Look(done=True)


@pytest.mark.parametrize(("finished", "waits"), [(False, False), (True, True)])
def test_a_volume_that_a_pod_that_stays_shares_is_not_waited_for(finished: bool, waits: bool) -> None:
    """As long as it runs: the volumes of a pod that has finished are detached."""
    case = Case(PodView("shop/net-1", "p2", {}, ("DaemonSet", "net"), finished=finished, claims=("shop/data",)))
    case.drain.volumes = {"shop/data": "v1"}
    assert case.look(attached=["v1"]).done is not waits


def test_what_is_told_fits_into_the_status() -> None:
    """One name that is too long would make the API server refuse the status of the whole rollout."""
    waiting = Case()
    waiting.drain.volumes = {"shop/data": "v" * 500}
    (volume,) = waiting.look(attached=["v" * 500]).blockers
    budgets = [BudgetView(f"shop/{letter * 200}", Selector()) for letter in "abc"]
    case = Case(WEB)
    case.look(budgets=budgets)
    case.answer(FULL)
    case.now = SOON
    (pod,) = case.look(budgets=budgets).blockers
    bare = PodView("n" * 63 + "/" + "p" * 253, "p3", {})
    foreseen = undrainable([bare, WEB], Drain(), budgets, "n1")
    assert len(foreseen) == 2
    for one in (volume, pod, *foreseen):
        assert len(one.volume) <= 253
        assert len(one.budget) <= 320
        assert len(one.reason) <= 256


@st.composite
def views(draw: st.DrawFn) -> PodView:
    return PodView(
        key=f"ns/{draw(st.sampled_from('abcd'))}",
        uid=draw(st.sampled_from("12")),
        labels={"app": draw(st.sampled_from(("web", "db")))},
        owner=draw(st.sampled_from((("", ""), OWNER, ("DaemonSet", "net")))),
        mirror=draw(st.booleans()),
        finished=draw(st.booleans()),
        empty_dir=draw(st.booleans()),
        claims=draw(st.sampled_from(((), ("ns/data",)))),
        deleting=draw(st.none() | st.integers(-100, 100).map(lambda number: START + timedelta(seconds=number))),
    )


ERRORS = st.sampled_from((None, FULL, ApiError(404, "gone"), ApiError(403, "no"), ApiError(0, "away")))
WISHES = st.builds(
    DrainRequest,
    st.builds(Drain, delete_empty_dir=st.booleans(), unmanaged_pods=st.sampled_from(UnmanagedPods)),
    st.booleans(),
)
ROUNDS = st.lists(st.tuples(st.lists(views(), max_size=4), WISHES, ERRORS, st.integers(0, 40)), max_size=6)


@settings(max_examples=50)
@given(ROUNDS)
def test_it_is_never_done_while_a_pod_is_left(rounds: list[tuple[list[PodView], DrainRequest, Any, int]]) -> None:
    case = Case()
    for pods, request, error, seconds in rounds:
        case.pods = {pod.key: pod for pod in pods}
        case.now += seconds
        look = case.look(request)
        when = START + timedelta(seconds=case.now)
        left = [pod for pod in case.pods.values() if fate(pod, request.policy)[0] is not PodFate.STAYS]
        if request.forced:
            left = [pod for pod in left if pod.deleting is None or when < pod.deleting + LATE]
        assert look.done is (not left)
        asked = look.delete if request.forced else look.evict
        assert not (look.evict and request.forced)
        assert not (look.delete and not request.forced)
        assert all(pod.deleting is None and fate(pod, request.policy)[0] is not PodFate.STAYS for pod in asked)
        assert look.wake is None or look.wake > 0
        for pod in asked:
            case.answer(error, pod.key)


def test_what_is_hopeless_is_told_before() -> None:
    never = dataclasses.replace(BUDGET, never="maxUnavailable is 0")
    bare = PodView("shop/bare", "p3", {})
    stays = PodView("kube-system/net", "p4", {"app": "web"}, ("DaemonSet", "net"))
    assert undrainable([WEB, stays], Drain(), [BUDGET], "n1") == ()
    assert [one.pod for one in undrainable([WEB, bare, stays], Drain(), [never], "n1")] == ["shop/bare", "shop/web-1"]
    two = undrainable([WEB], Drain(), [BUDGET, BudgetView("shop/all", Selector())], "n1")
    assert [one.budget for one in two] == ["shop/all, shop/web"]
    assert undrainable([ending()], Drain(), [never], "n1") == ()
