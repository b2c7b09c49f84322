"""Rollouts that cannot be read, contradict themselves or share a node: they do not act, and say why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.views import (
    ZONE,
    RolloutView,
    Snapshot,
)
from proa.scheduler.spec.rollout import (
    Budget,
    Canary,
    Retry,
    Selector,
)
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.situations import HALTED, NOW, SPEC, acts, change, done, planned, ready, two_of, unfetched


def test_nothing_is_done_for_a_rollout_that_cannot_be_read() -> None:
    spec = change(budgets=(Budget("0 0 31 2 *", "1h"),))
    made = planned(ready(), spec=spec)
    assert acts(made) == []
    status = made.statuses["workers"]
    assert status.phase == "Invalid"
    valid = next(one for one in status.conditions if one.type == "Valid")
    assert valid.reason == "InvalidSchedule"
    assert valid.message.startswith("spec.budgets[0].schedule: ")


def test_a_spec_that_contradicts_itself_does_not_act_and_says_what_to_write() -> None:
    made = planned(ready(), spec=change(canary=Canary(0, "1h")))
    assert acts(made) == []
    valid = next(one for one in made.statuses["workers"].conditions if one.type == "Valid")
    assert valid.reason == "InvalidSpec"
    assert "set nodes" in valid.message


def test_what_could_not_be_read_and_can_again_acts_again() -> None:
    planner, (node_view, os_view) = Planner(), ready()
    broken = RolloutView("workers", "uid", 3, SPEC, problem="status.counts is not an object")
    snapshot = Snapshot({"n1": node_view}, {"n1": os_view} if os_view else {}, {"workers": broken})
    assert planner.plan(snapshot, NOW).statuses["workers"].phase == "Invalid"
    mended = dataclasses.replace(snapshot, rollouts={"workers": dataclasses.replace(broken, problem="")})
    assert planner.plan(mended, NOW).statuses["workers"].phase == "Progressing"


def test_rollouts_that_share_a_node_both_stop() -> None:
    rollouts = {
        "all": RolloutView("all", "1", 1, SPEC),
        "some": RolloutView("some", "2", 1, change(node_selector=Selector({ZONE: "a"}))),
        "others": RolloutView("others", "3", 1, change(node_selector=Selector({ZONE: "nowhere"}))),
    }
    made = planned(ready(zone="a"), ready("n2", zone="b"), rollouts=rollouts)
    assert acts(made) == []
    assert {name: status.phase for name, status in made.statuses.items()} == {
        "all": "Conflict",
        "some": "Conflict",
        "others": "Pending",
    }


UNREADABLE_SPEC = change(retry=Retry(backoff="soon"))


def conditions_of(made: Plan, rollout: str = "workers") -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in made.statuses[rollout].conditions}


@pytest.mark.parametrize(
    ("before", "refused", "reason"),
    [
        (planned(unfetched()), lambda status: planned(ready(), rollouts=two_of(status)), "Conflict"),
        (planned(done()), lambda status: planned(done(), rollouts=two_of(status)), "Conflict"),
        (
            planned(done()),
            lambda status: planned(done(), spec=UNREADABLE_SPEC, status=status),
            "InvalidSpec",
        ),
    ],
    ids=["progressing", "complete", "invalid"],
)
def test_a_rollout_that_is_refused_is_neither_under_way_nor_complete_until_it_acts_again(
    before: Plan, refused: Callable[[RolloutStatus], Plan], reason: str
) -> None:
    made = refused(before.statuses["workers"])
    false = ("Valid", "Progressing", "Complete", "Halted", "Ready", "Reconciling")
    assert conditions_of(made) == dict.fromkeys(false, ("False", reason)) | {"Stalled": ("True", reason)}
    again = planned(done(), status=made.statuses["workers"])
    assert conditions_of(again) == conditions_of(planned(done()))


def test_what_was_halted_stays_so_while_it_is_refused() -> None:
    made = planned(ready(), rollouts=two_of(HALTED))
    assert conditions_of(made)["Halted"] == ("True", "Halted")
    assert planned(ready(), status=made.statuses["workers"]).statuses["workers"].phase == "Halted"
