"""Nodes that their rollout lets go are given back, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    OrderResult,
)
from proa.scheduler.objects.annotations import UNREADABLE
from proa.scheduler.planning.actions import Give, Uncordon
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    RolloutView,
)
from proa.scheduler.spec.rollout import (
    Selector,
)
from proa.scheduler.testing.situations import (
    BOOT,
    LATE,
    LATE_COUNTED,
    NOW,
    SPEC,
    acts,
    change,
    marked,
    node_os,
    order,
    planned,
    ready,
    says,
    trial,
)

OTHERS = {"others": RolloutView("others", "uid", 1, SPEC)}


@pytest.mark.parametrize(
    "found",
    [
        lambda: planned((marked(), node_os()), rollouts={}),
        lambda: planned(
            (marked(), node_os(given=BOOT, status=says(seen=BOOT, result=OrderResult.FAILED))), rollouts={}
        ),
        lambda: planned((marked(), None), rollouts={}),
        lambda: planned((marked(), node_os()), rollouts=OTHERS),
        lambda: planned((marked(), node_os()), spec=change(node_selector=Selector({"role": "worker"}))),
        lambda: planned((marked(excluded=True), node_os())),
    ],
    ids=["deleted", "its-order-is-over", "without-object", "another-one-selects-it", "deselected", "excluded"],
)
def test_a_node_that_its_rollout_lets_go_is_given_back_and_nothing_else(found: Callable[[], Plan]) -> None:
    plan = found()
    assert plan.actions == (Uncordon("n1", "LetGo"),)
    assert plan.verdicts["n1"].reason is Reason.LetGo


def test_a_node_that_is_let_go_and_takes_no_order_up_is_given_back_when_that_is_taken_back() -> None:
    soon = planned((marked(), node_os(given=BOOT)), rollouts={})
    assert (acts(soon), soon.wake) == ([], NOW + timedelta(minutes=5))
    for record in (None, LATE_COUNTED):
        assert acts(planned((marked(), node_os(given=LATE, record=record)), rollouts={})) == [
            Give("n1", 2, Verb.NONE, timeout="5m")
        ]
    back = order(Verb.NONE, 2)
    assert acts(planned((marked(), node_os(given=back)), rollouts={})) == [Uncordon("n1", "LetGo")]


@pytest.mark.parametrize(
    "found",
    [
        lambda: planned((marked(), node_os(given=BOOT)), rollouts={}),
        lambda: planned((marked(), node_os(given=BOOT)), rollouts=OTHERS),
        lambda: planned(trial(), rollouts={}),
        lambda: planned((marked(), node_os()), rollouts={}, pending=frozenset({"n1"})),
    ],
    ids=["ordered-to-reboot", "another-one-selects-it", "on-trial", "a-write-is-under-way"],
)
def test_a_node_that_is_let_go_comes_to_rest_first(found: Callable[[], Plan]) -> None:
    plan = found()
    assert plan.actions == ()
    assert plan.verdicts["n1"].reason is Reason.LetGo


def test_a_node_that_is_let_go_holds_its_place_in_another_rollout() -> None:
    found = planned((marked(), node_os(given=BOOT)), ready("n2"), rollouts=OTHERS)
    assert found.actions == ()
    assert found.verdicts["n2"].reason is Reason.NoFreeSlot


def test_what_a_rollout_has_begun_that_does_not_act_waits_for_a_person() -> None:
    invalid = {"workers": RolloutView("workers", "uid", 1, SPEC, problem="release: is not there")}
    both = {name: RolloutView(name, name, 1, SPEC) for name in ("workers", "others")}
    for rollouts in (invalid, both):
        assert planned((marked(), node_os()), rollouts=rollouts).actions == ()
    valid = {**invalid, "others": RolloutView("others", "uid", 1, SPEC)}
    made = planned((marked(), node_os()), ready("n2"), rollouts=valid)
    assert made.actions == ()
    assert made.verdicts["n1"].reason is Reason.ForeignMark


def test_a_mark_that_cannot_be_read_is_nobodys() -> None:
    assert planned((marked(mark=UNREADABLE), node_os()), rollouts={}).actions == ()
    made = planned((marked(mark=UNREADABLE), node_os()), ready("n2"))
    assert made.actions == ()
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot
