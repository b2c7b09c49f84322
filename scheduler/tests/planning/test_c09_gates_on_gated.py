"""No gate waits for a node that is gated itself: who waits for a lost one is told so, and a person can end it."""

from __future__ import annotations

import dataclasses

import pytest

from proa.core.orders.messages import Action as Verb
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.spec.rollout import Canary, ControlPlane, Turns
from proa.scheduler.testing.situations import Part, change, done, node, node_os, order, planned, ready

FIRST = change(max_unavailable=3, order=Turns(control_plane=ControlPlane.FIRST))
LAST = change(max_unavailable=3, order=Turns(control_plane=ControlPlane.LAST))
SET_ASIDE = [{"excluded": True}, {"hold": "dead"}, {"hold": ""}]
GONE = [{"ready": False}, {"unschedulable": True}]


def lost(**rest: object) -> Part:
    """A control-plane node that is away, and not by our doing."""
    return ready("cp-1", **{"control_plane": True, "ready": False} | rest)


@pytest.mark.parametrize("set_aside", SET_ASIDE)
@pytest.mark.parametrize("gone", GONE)
def test_c09_a_lost_control_plane_node_that_a_person_set_aside_holds_nobody_back(
    gone: dict[str, object], set_aside: dict[str, object]
) -> None:
    away = lost(**{"ready": True} | gone | set_aside)
    assert [one.node for one in planned(away, ready("cp-2", control_plane=True), ready(), spec=FIRST).actions] == [
        "cp-2"
    ]
    assert [one.node for one in planned(away, done("cp-2", control_plane=True), ready(), spec=FIRST).actions] == ["n1"]


@pytest.mark.parametrize("name", ["cp-2", "n1"])
def test_c09_who_waits_for_a_lost_control_plane_node_is_told_who_can_clear_it(name: str) -> None:
    made = planned(lost(), ready("cp-2", control_plane=True), ready(), spec=FIRST)
    assert made.actions == ()
    assert "repair cp-1, or annotate it proa.dev/hold or proa.dev/exclude" in made.verdicts[name].detail
    assert "a person" in made.verdicts[name].reason.who


def test_c09_a_held_control_plane_node_that_is_away_by_our_doing_is_waited_for() -> None:
    ordered = node("cp-1", control_plane=True, hold="late"), node_os("cp-1", given=order(Verb.BOOT))
    made = planned(ordered, ready("cp-2", control_plane=True), spec=FIRST)
    assert made.verdicts["cp-2"].reason is Reason.ControlPlaneBusy


def test_c09_the_schedulers_own_node_does_not_wait_for_control_plane_nodes_that_wait_for_a_lost_one() -> None:
    made = planned(lost(), ready("cp-2", control_plane=True), ready(), spec=LAST, own_node="n1")
    assert [one.node for one in made.actions] == ["n1"]
    well = dataclasses.replace(LAST, max_unavailable=2)
    made = planned(ready("cp-1", control_plane=True), ready(), spec=well, own_node="n1")
    assert [one.node for one in made.actions] == ["cp-1"]


def test_c09_the_lost_node_of_another_rollout_can_be_set_aside_as_well() -> None:
    stranger = lost(hold="dead")
    part = dataclasses.replace(stranger[0], labels={**stranger[0].labels, "pool": "other"}), None
    made = planned(part, ready("cp-2", control_plane=True), spec=change(max_unavailable=2))
    assert [one.node for one in made.actions if one.node == "cp-2"] == ["cp-2"]


def test_c09_no_canary_is_waited_for_that_waits_for_a_lost_control_plane_node() -> None:
    spec = dataclasses.replace(FIRST, canary=Canary(1, "10m"))
    made = planned(lost(hold="dead"), ready("cp-2", control_plane=True), ready(), spec=spec)
    assert [one.node for one in made.actions] == ["cp-2"]
