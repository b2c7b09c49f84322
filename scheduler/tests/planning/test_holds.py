"""What holds for a group of nodes is what each of them would be told alone."""

from __future__ import annotations

import dataclasses

import pytest

from proa.scheduler.planning.holds import Keeper, at_rest, before_start
from proa.scheduler.simulation.behaviour import Behaviour, Chances
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.spec.rollout import (
    Canary,
    ControlPlane,
    FailurePolicy,
    Group,
    Operator,
    Requirement,
    RolloutSpec,
    Selector,
    Staging,
    Turns,
    Zones,
)
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.lagging import FIRST, a_world

GROUPS = (
    Group("edge", Selector(match_expressions=(Requirement("tier", Operator.IN, ("a",)),)), "2m"),
    Group("stores", Selector({"tier": "b"}), "1m"),
)


@pytest.mark.parametrize("control_plane", ControlPlane)
@pytest.mark.parametrize("zones", Zones)
@pytest.mark.parametrize("canaries", [0, 2])
@pytest.mark.parametrize("groups", [(), GROUPS])
def test_a_group_is_told_what_each_is_told(
    zones: Zones, control_plane: ControlPlane, canaries: int, groups: tuple[Group, ...]
) -> None:
    spec = RolloutSpec(
        FIRST,
        max_unavailable=3,
        order=Turns(zones, control_plane, groups, "0s" if zones is Zones.IGNORE else "1m"),
        canary=Canary(canaries, "1m") if canaries else Canary(),
        staging=Staging(4),
        failure=FailurePolicy("100%"),
    )
    behaviour = Behaviour(fate=Chances(returns=15, unfetched=15, undrainable=10).fate)
    world = a_world(12, spec, control_planes=2, behaviour=behaviour)
    world.own_node = "node-0005"
    for name, changes in (("node-0006", {"hold": "debugging"}), ("node-0007", {"ready": False})):
        world.nodes[name] = dataclasses.replace(world.nodes[name], **changes)
    for number, (name, view) in enumerate(sorted(world.nodes.items())):
        world.nodes[name] = dataclasses.replace(view, labels={**view.labels, "tier": "abc"[number % 3]})
    stuck = {"node-0008": (Blocker("node-0008", "shop/web", reason="no budget lets it go"),)}
    simulation, told = Run(world), set()
    for _ in range(60):
        simulation.step()
        simulation.planner.plan(dataclasses.replace(world.snapshot(), undrainable=stuck), world.now)
        context = simulation.planner.context("workers")
        assert context is not None
        for gates in (at_rest, before_start):
            keeper = Keeper(gates, context)
            for progress in context.rollout_pass.progresses:
                found = keeper.verdict(progress)
                assert found == next(gates(context, progress), None)
                told.add(found.reason.name if found else "")
    assert {"", "Held", "NotReady"} <= told


@pytest.mark.parametrize(("hold", "boots"), [("debugging", 0), ("", 0), (None, 1)])
def test_a_person_who_holds_a_node_need_not_say_why(hold: str | None, boots: int) -> None:
    world = a_world(1, RolloutSpec(FIRST))
    world.nodes["node-0000"] = dataclasses.replace(world.nodes["node-0000"], hold=hold)
    simulation, marked = Run(world), False
    for _ in range(60):
        simulation.step()
        marked |= world.nodes["node-0000"].mark is not None
    assert (world.boots.get("node-0000", 0), marked) == (boots, bool(boots))
