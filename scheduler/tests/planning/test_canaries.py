"""Canaries: which they are, when they have proved the release, and who takes their place."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from datetime import timedelta

import pytest

from proa.core.runtime.errors import ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.kube.times import text
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    NodeOSView,
    NodeRecord,
)
from proa.scheduler.spec.amounts import Amount
from proa.scheduler.spec.rollout import (
    Canary,
    Drain,
    FailurePolicy,
    Operator,
    Requirement,
    RolloutSpec,
    Selector,
    Undrainable,
)
from proa.scheduler.spec.rolloutstatus import CanaryStatus, RolloutStatus
from proa.scheduler.testing.situations import (
    CANARY,
    GIVEN_UP,
    NEW,
    NOW,
    RELEASE,
    STUCK,
    Part,
    change,
    done,
    node,
    node_os,
    planned,
    ready,
    trial,
    unfetched,
)


def test_canaries_go_first_stay_the_same_and_must_run_well_for_long_enough() -> None:
    spec = change(canary=Canary(1, "10m"), max_unavailable=2)
    first = planned(unfetched("n2"), unfetched("n1"), spec=spec)
    assert [action.node for action in first.actions] == ["n1"]
    status = first.statuses["workers"]
    assert status.canary == CanaryStatus(NEW, ("n1",))
    proved = planned(done("n1"), unfetched("n2"), spec=spec, status=status)
    assert proved.verdicts["n2"].reason is Reason.Soaking
    assert proved.wake == NOW + timedelta(minutes=10)
    since = text(NOW - timedelta(minutes=10))
    soaked = dataclasses.replace(proved.statuses["workers"], canary=CanaryStatus(NEW, ("n1",), since))
    precedence = planned(done("n1"), unfetched("n2"), spec=spec, status=soaked)
    assert [action.node for action in precedence.actions] == ["n2"]
    assert precedence.statuses["workers"].canary == CanaryStatus(NEW, ("n1",), since, text(NOW))


def test_a_canary_that_falls_ill_begins_its_time_anew() -> None:
    spec = change(canary=Canary(1, "10m"))
    status = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",), text(NOW - timedelta(minutes=9))))
    made = planned(done("n1", ready=False), unfetched("n2"), spec=spec, status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",), "")


@pytest.mark.parametrize(
    "first",
    [
        (),
        (ready("n1", excluded=True),),
        (ready("n1", labels={"role": "other"}),),
        (ready("n1", hold="debugging"),),
        (done("n1", hold="debugging", ready=False),),
        (ready("n1", ready=False),),
        ((node("n1"), node_os("n1", record=GIVEN_UP)),),
        ((node("n1"), NodeOSView("n1", "os-n1", "uid-n1")),),
        ((node("n1", uid="another"), node_os("n1")),),
    ],
    ids=["gone", "excluded", "deselected", "held", "held-and-ill", "not-ready", "given-up", "silent", "made-anew"],
)
def test_a_canary_that_cannot_prove_the_release_is_replaced(first: tuple[Part, ...]) -> None:
    selector = Selector(match_expressions=(Requirement("role", Operator.DOES_NOT_EXIST),))
    spec = change(canary=CANARY, failure=FailurePolicy(1), node_selector=selector)
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
    made = planned(*first, unfetched("n2"), unfetched("n3"), spec=spec, status=before)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n2",))
    assert made.verdicts["n2"].reason is Reason.StageNext
    assert made.verdicts["n3"].reason is Reason.AwaitingCanary


@pytest.mark.parametrize(
    "first",
    [
        done("n1", ready=False),
        done("n1", hold="debugging"),
        trial("n1", ready=False),
        (
            node("n1"),
            node_os("n1", record=NodeRecord("workers", NEW, failures=1, not_before=NOW + timedelta(minutes=3))),
        ),
    ],
    ids=["ill-on-the-release", "held-on-the-release", "under-way", "has-another-turn"],
)
def test_a_canary_that_may_yet_prove_the_release_stays_one(first: Part) -> None:
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
    made = planned(first, unfetched("n2"), spec=change(canary=CANARY), status=before)
    found = made.statuses["workers"].canary
    assert found
    assert found.nodes == ("n1",)


@pytest.mark.parametrize(
    "known",
    [{"undrainable": {"n1": (STUCK,)}}, {"pending": frozenset({"n1"}), "resting": frozenset({"n1"})}],
    ids=["undrainable", "not-accepted"],
)
def test_a_canary_that_nobody_waits_for_is_replaced(known: dict[str, object]) -> None:
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
    made = planned(ready("n1"), ready("n2"), ready("n3"), spec=change(canary=CANARY), status=before, **known)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n2",))
    assert [action.node for action in made.actions] == ["n2"]


def test_a_canary_that_could_never_be_drained_stays_one_where_no_other_node_can_be() -> None:
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n2",)))
    undrainable = {"n1": (STUCK,), "n2": (STUCK,)}
    skips = change(canary=CANARY, drain=Drain(undrainable=Undrainable.SKIP))
    made = planned(ready("n1"), ready("n2"), spec=skips, status=before, undrainable=undrainable)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n2",))
    assert made.verdicts["n2"].reason is Reason.Undrainable


def test_a_canary_in_the_place_of_another_runs_for_as_long() -> None:
    status = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n0", "n1"), text(NOW - timedelta(minutes=9))))
    made = planned(done("n1"), done("n2"), unfetched("n3"), spec=change(canary=Canary(2, "10m")), status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1", "n2"), text(NOW))
    assert made.wake == NOW + timedelta(minutes=10)


def test_fewer_canaries_than_before_need_not_soak_anew() -> None:
    since = text(NOW - timedelta(minutes=9))
    status = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1", "n2"), since))
    made = planned(done("n1"), done("n2"), unfetched("n3"), spec=change(canary=CANARY), status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",), since)


def test_fewer_canaries_than_are_wanted_prove_nothing() -> None:
    spec = change(canary=Canary(2, "0s"))
    made = planned(done("n1"), unfetched("n2", hold="debugging"), unfetched("n3", ready=False), spec=spec)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",))


@pytest.mark.parametrize("first", [(), (done("n1", ready=False),), (done("n1", hold="debugging", ready=False),)])
def test_what_the_canaries_have_proved_stays_proved(first: tuple[Part, ...]) -> None:
    proved = CanaryStatus(NEW, ("n1",), text(NOW - timedelta(hours=2)), text(NOW - timedelta(hours=1)))
    status = RolloutStatus(release=RELEASE, canary=proved)
    spec = change(canary=CANARY)
    made = planned(*first, unfetched("n2"), unfetched("n3"), spec=spec, status=status)
    assert [action.node for action in made.actions] == ["n2", "n3"]
    assert made.statuses["workers"].canary == proved


def test_another_attempt_has_to_be_proved_anew() -> None:
    proved = CanaryStatus(NEW, ("n1",), text(NOW - timedelta(hours=2)), text(NOW - timedelta(hours=1)))
    status = RolloutStatus(release=RELEASE, canary=proved)
    made = planned(unfetched("n1"), unfetched("n2"), spec=change(canary=CANARY, attempt=1), status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",))
    assert made.verdicts["n2"].reason is Reason.AwaitingCanary


def test_there_are_no_more_canaries_than_a_status_can_name() -> None:
    parts = [unfetched(f"n{number:03}") for number in range(100)]
    found = planned(*parts, spec=change(canary=Canary("100%"))).statuses["workers"]
    assert found.canary
    assert len(found.canary.nodes) == 64
    assert parse(RolloutStatus, document(found), "status") == found


@pytest.mark.parametrize(("nodes", "is_taken"), [(64, True), ("100%", True), (65, False)])
def test_more_canaries_than_that_are_refused_as_a_number(nodes: Amount, is_taken: bool) -> None:
    wanted = {"release": RELEASE, "canary": {"nodes": nodes}}
    with nullcontext() if is_taken else pytest.raises(ProaError, match=r"canary\.nodes 65 is not between 0 and 64"):
        parse(RolloutSpec, wanted, "spec")
