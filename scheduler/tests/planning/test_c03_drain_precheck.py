"""What is foreseen puts a node last and warns; it is no veto, unless the policy says so."""

from __future__ import annotations

import dataclasses

import pytest

from proa.core.orders.messages import FIRST as EPOCH
from proa.core.runtime.clock import VirtualClock
from proa.scheduler.drain.undrainable import DrainPrecheck
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import ZONE, Mark
from proa.scheduler.report.preview import preview
from proa.scheduler.simulation.simulate import Patience, Run
from proa.scheduler.spec.rollout import Drain, RolloutSpec, Turns, Undrainable, Zones
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.controlled import Case, assert_all_is_well
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.situations import STUCK, change, planned, ready

SKIP = Drain(undrainable=Undrainable.SKIP)
STAYS = (Blocker("n0", "shop/db", "shop/db", reason="disruption budget shop/db never allows an eviction"),)


def test_c03_it_goes_last_and_is_tried() -> None:
    undrainable = {"n1": (STUCK,)}
    made = planned(ready("n1"), ready("n2"), undrainable=undrainable)
    assert [one.node for one in made.actions] == ["n2"]
    assert made.statuses["workers"].blockers == (STUCK,)
    alone = planned(ready("n1"), undrainable=undrainable)
    assert [one.node for one in alone.actions] == ["n1"]


def test_c03_those_that_are_tried_at_the_end_go_zone_by_zone() -> None:
    zones = {name: {ZONE: f"z{name}"} for name in ("n1", "n2")}
    spec = change(max_unavailable=2, order=Turns(Zones.ONE_AT_A_TIME))
    nodes = [ready(name, labels=labels) for name, labels in zones.items()]
    made = planned(*nodes, spec=spec, undrainable=dict.fromkeys(zones, (STUCK,)))
    assert [one.node for one in made.actions] == ["n1"]
    assert made.verdicts["n2"].reason is Reason.OtherZone


def test_c03_with_skip_it_is_left_alone() -> None:
    made = planned(ready("n1"), spec=change(drain=SKIP), undrainable={"n1": (STUCK,)})
    assert made.actions == ()
    assert made.verdicts["n1"].reason is Reason.Undrainable


@pytest.mark.parametrize(("policy", "second"), [(Drain(), True), (SKIP, False)])
def test_c03_the_first_look_warns_and_the_next_turn_is_tried(policy: Drain, second: bool) -> None:
    precheck = DrainPrecheck(lambda node, _: STAYS, VirtualClock())
    cordon = Cordon("n0", Mark("workers", "d", EPOCH, True, "b"))
    assert not precheck.allows(cordon, policy, 0)
    assert "n0" in precheck.undrainable
    assert precheck.allows(cordon, policy, 1) is second


def test_c03_a_budget_that_an_operator_lifts_after_the_cordon_is_no_obstacle() -> None:
    case = Case()
    case.drains.undrainable = {"n0": STAYS}
    case.until(lambda: case.phase == "Complete", turns=800)
    assert ("n0", "DrainBlocked") in case.ears.heard
    assert list(case.boots)[-1] == "n0"
    assert_all_is_well(case)


def test_c03_one_that_cannot_be_drained_indeed_is_parked_and_does_not_reboot() -> None:
    world = a_world(3, RolloutSpec(FIRST))
    world.undrainable = {"node-0001": (dataclasses.replace(STUCK, node="node-0001"),)}
    simulation = Run(world)
    for _ in range(400):
        simulation.step()
    assert world.boots.keys() == {"node-0000", "node-0002"}
    assert {one.reason for one in simulation.course.troubles} == {"DrainTimeout"}
    assert len(simulation.course.troubles) >= 1


def test_c03_a_plan_promises_no_end_for_it() -> None:
    world = a_world(2, RolloutSpec(FIRST))
    world.undrainable = {"node-0000": (dataclasses.replace(STUCK, node="node-0000"),)}
    report = preview(world.snapshot(), "workers", world.now, Patience(passes=300)).report
    ends = {one.name: one.ends for one in report.nodes}
    assert ends["node-0000"] is None
    assert ends["node-0001"] is not None
    assert report.ends is None
