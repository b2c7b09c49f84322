"""How many nodes are started, and which: limits, windows, zones, the control plane, the scheduler's own node."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from proa.scheduler.planning.actions import Cordon
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    NodeOSView,
    NodeRecord,
    RolloutView,
)
from proa.scheduler.spec.rollout import (
    Budget,
    ControlPlane,
    Selector,
    Staging,
    Turns,
    Zones,
)
from proa.scheduler.testing.situations import (
    ANOTHERS,
    NEW,
    NOW,
    SILENT,
    acts,
    change,
    done,
    marked,
    node,
    node_os,
    planned,
    ready,
    unfetched,
)


def test_nodes_with_a_write_of_ours_under_way_are_left_alone_and_counted() -> None:
    made = planned(ready(), ready("n2"), pending=frozenset({"n1"}))
    assert acts(made) == []
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot


def test_no_more_nodes_are_started_than_a_window_bears_that_opens_before_they_are_done() -> None:
    budgets = (Budget("0 10 * * *", "4h", "UTC", 3), Budget("10 12 * * *", "1h", "UTC", 1))
    spec = change(max_unavailable=3, budgets=budgets)
    made = planned(ready(), ready("n2"), spec=spec)
    assert [action.node for action in made.actions] == ["n1"]
    assert "2026-01-05T12:10:00Z" in made.verdicts["n2"].detail
    assert made.wake == NOW + timedelta(minutes=10)


def test_none_is_started_that_would_not_be_done_before_a_window_that_bears_none() -> None:
    budgets = (Budget("0 10 * * *", "4h", "UTC", 3), Budget("10 12 * * *", "1h", "UTC", 0))
    made = planned(ready(), spec=change(budgets=budgets))
    assert made.actions == ()
    assert made.verdicts["n1"].reason is Reason.WindowTooShort
    assert "2026-01-05T12:10:00Z" in made.verdicts["n1"].detail


def test_an_order_to_fetch_that_does_not_show_yet_counts_against_the_limit() -> None:
    spec = change(staging=Staging(1))
    made = planned(unfetched(), unfetched("n2"), spec=spec, pending=frozenset({"n1"}))
    assert acts(made) == []
    assert made.verdicts["n2"].reason is Reason.StagingFull
    rests = planned(unfetched(), unfetched("n2"), spec=spec, pending=frozenset({"n1"}), resting=frozenset({"n1"}))
    assert [action.node for action in rests.actions] == ["n2"]


def test_the_zone_of_a_cordon_that_does_not_show_yet_has_its_turn() -> None:
    parts = [ready("n1", zone="b"), ready("n2", zone="a"), ready("n3", zone="b")]
    made = planned(*parts, spec=change(max_unavailable=3), pending=frozenset({"n1"}))
    assert [action.node for action in made.actions] == ["n3"]
    assert made.verdicts["n2"].reason is Reason.OtherZone


@pytest.mark.parametrize("its", [None, SILENT, ANOTHERS])
def test_the_zone_of_a_marked_node_whose_object_says_nothing_has_its_turn(its: NodeOSView | None) -> None:
    between = marked("n1", zone="b"), its
    made = planned(between, ready("n2", zone="a"), ready("n3", zone="b"), spec=change(max_unavailable=3))
    assert [action.node for action in made.actions if isinstance(action, Cordon)] == ["n3"]


def test_control_plane_nodes_are_started_one_at_a_time_even_in_one_pass() -> None:
    parts = [ready(f"n{number}", control_plane=True) for number in range(3)]
    made = planned(*parts, spec=change(max_unavailable=3, order=Turns(zones=Zones.IGNORE)))
    assert [action.node for action in made.actions] == ["n0"]


def test_control_plane_nodes_of_several_rollouts_are_started_one_at_a_time_even_in_one_pass() -> None:
    specs = {name: change(node_selector=Selector({"pool": name})) for name in ("a", "b")}
    rollouts = {name: RolloutView(name, name, 1, spec) for name, spec in specs.items()}
    parts = [ready(f"n-{name}", control_plane=True) for name in specs]
    pooled = [
        (dataclasses.replace(view, labels={**view.labels, "pool": name}), its)
        for (view, its), name in zip(parts, specs, strict=True)
    ]
    made = planned(*pooled, rollouts=rollouts)
    assert [action.node for action in made.actions] == ["n-a"]
    assert made.verdicts["n-b"].reason is Reason.ControlPlaneBusy


def test_the_schedulers_own_node_goes_after_the_control_plane_and_waits_for_no_zone() -> None:
    parts = [ready("n1", zone="a"), done("n2", zone="a"), ready("n3", zone="b", control_plane=True)]
    assert [action.node for action in planned(*parts, own_node="n1").actions] == ["n3"]


@pytest.mark.parametrize("control_plane", [ControlPlane.FIRST, ControlPlane.LAST])
def test_the_schedulers_own_node_of_the_control_plane_is_no_deadlock(control_plane: ControlPlane) -> None:
    spec = change(order=Turns(control_plane=control_plane))
    made = planned(ready("n1", control_plane=True), ready("n2"), spec=spec, own_node="n1")
    assert [action.node for action in made.actions] == ["n2"]


def test_a_worker_that_failed_once_holds_its_zone_against_the_control_plane() -> None:
    again = node("n1", zone="b"), node_os("n1", record=NodeRecord("workers", NEW, failures=1, not_before=NOW))
    made = planned(again, ready("n2", zone="a", control_plane=True))
    assert [action.node for action in made.actions] == ["n1"]


def test_the_order_is_by_tries_zone_and_name() -> None:
    spec = change(max_unavailable=4, order=Turns(zones=Zones.IGNORE))
    again = node("n0", zone="a"), node_os("n0", record=NodeRecord("workers", NEW, parks=1, not_before=NOW))
    made = planned(again, ready("n3", zone="a"), ready("n1", zone="b"), ready("n2", zone="a"), spec=spec)
    assert [action.node for action in made.actions] == ["n2", "n3", "n1", "n0"]
