"""What else other controllers do to nodes of a rollout: cases beside those that were met first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest

from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import ZONE
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.spec.amounts import Amount
from proa.scheduler.spec.rollout import FailurePolicy, Group, RolloutSpec, Selector, Turns
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.others import CrowdedWorld, crowded

GROUPS = Turns(groups=tuple(Group(f"group-{number}", Selector({ZONE: f"zone-{number}"})) for number in (0, 1)))
FIRST_GROUP = ("node-0000", "node-0003", "node-0006")
Deed = Callable[[CrowdedWorld], None]


def a_crowd(**spec: object) -> CrowdedWorld:
    return crowded(a_world(9, dataclasses.replace(RolloutSpec(FIRST), **spec)))  # type: ignore[arg-type]  # by name


def of(world: CrowdedWorld) -> RolloutStatus:
    return world.rollouts["workers"].status


def acted(world: CrowdedWorld, deed: Deed = lambda _: None) -> CrowdedWorld:
    """The cluster after a day, or when nothing happens any more; before each pass another one acts."""
    simulation, until = Run(world), world.now + timedelta(days=1)
    while world.now < until:
        world.count()
        deed(world)
        if not simulation.step():
            break
    return world


def replace(world: CrowdedWorld, name: str) -> None:
    """Another node, on the old release, is there for it."""
    world.join(name)
    del world.nodes[name]
    world.oses.pop(name, None)


@pytest.mark.parametrize(("most", "lost"), [(0, 2), (2, 4), ("50%", 5)])
def test_c01_a_release_whose_nodes_are_removed_on_trial_halts(most: Amount, lost: int) -> None:
    """Each comes up Ready, and its cloud takes the machine away before it has proved anything."""

    def remove(world: CrowdedWorld) -> None:
        for name, os in list(world.oses.items()):
            booted = os.status.booted if os.status else None
            if booted is not None and not booted.committed and name in world.nodes and world.nodes[name].ready:
                replace(world, name)

    world = acted(a_crowd(max_unavailable=2, failure=FailurePolicy(most)), remove)
    assert of(world).phase == "Halted"
    assert of(world).lost is not None
    assert sum(world.boots.values()) == lost


def drained_by(world: CrowdedWorld) -> list[str]:
    """Nodes that have our mark, and have not been ordered to reboot."""
    return [name for name, node in world.nodes.items() if node.mark is not None and name not in world.boots]


def test_c01_nodes_that_are_removed_while_they_drain_are_no_fault_of_the_release() -> None:
    removed: list[str] = []

    def remove(world: CrowdedWorld) -> None:
        for name in drained_by(world):
            if len(removed) < 4:
                removed.append(name)
                replace(world, name)

    world = acted(a_crowd(max_unavailable=2), remove)
    assert len(removed) == 4
    assert (of(world).phase, of(world).lost, world.most_trials) == ("Complete", None, 2)


def registered_anew(world: CrowdedWorld, name: str) -> None:
    node = world.nodes[name]
    world.nodes[name] = dataclasses.replace(node, uid=f"{node.uid}'", mark=None, unschedulable=False)
    world.lose_object(name)


def test_c02_nodes_that_are_registered_anew_while_they_drain_are_drained_again() -> None:
    again: set[str] = set()

    def register(world: CrowdedWorld) -> None:
        for name in drained_by(world):
            if name not in again:
                again.add(name)
                registered_anew(world, name)

    world = acted(a_crowd(), register)
    assert len(again) == 9
    assert (of(world).phase, world.exposed, world.most_trials) == ("Complete", [], 1)
    assert set(world.boots.values()) == {1}


def test_c02_nodes_that_are_registered_anew_while_they_fetch_fetch_again() -> None:
    again: set[str] = set()

    def register(world: CrowdedWorld) -> None:
        for name, os in list(world.oses.items()):
            if os.status is not None and os.status.phase == "Staging" and name not in again:
                again.add(name)
                registered_anew(world, name)

    world = acted(a_crowd(), register)
    assert len(again) == 9
    assert (of(world).phase, set(world.boots.values())) == ("Complete", {1})


def test_c03_budgets_that_block_every_node_until_it_is_cordoned_block_none() -> None:
    world = a_crowd()
    for name in world.nodes:
        world.shield(name)
    acted(world)
    assert (of(world).phase, world.most_trials) == ("Complete", 1)


def test_c09_a_first_group_that_is_lost_holds_back_no_later_one() -> None:
    world = a_crowd(max_unavailable=4, order=GROUPS)
    for name in FIRST_GROUP:
        world.nodes[name] = dataclasses.replace(world.nodes[name], ready=False, ready_since=world.now)
    acted(world)
    assert (of(world).progress, world.boots.keys() & set(FIRST_GROUP)) == ("6/9", set())


def test_c09_canaries_that_are_lost_before_their_turn_are_others() -> None:
    lost: list[str] = []

    def lose(world: CrowdedWorld) -> None:
        canary = of(world).canary
        for name in canary.nodes if canary else ():
            if len(lost) < 3 and world.nodes[name].ready and world.nodes[name].mark is None:
                lost.append(name)
                world.nodes[name] = dataclasses.replace(world.nodes[name], ready=False, ready_since=world.now)

    spec = {"canary": dataclasses.replace(RolloutSpec(FIRST).canary, nodes=2, soak="1m")}
    world = acted(a_crowd(max_unavailable=4, **spec), lose)
    assert (len(lost), of(world).progress) == (3, "6/9")


def test_c10_a_first_group_that_is_about_to_go_holds_back_no_later_one() -> None:
    world = a_crowd(order=GROUPS)
    for name in FIRST_GROUP:
        world.nodes[name] = dataclasses.replace(world.nodes[name], leaving="Karpenter removes it")
    acted(world)
    assert (of(world).progress, world.boots.keys() & set(FIRST_GROUP)) == ("6/9", set())


def test_c10_a_budget_that_cordoned_nodes_use_up_names_them() -> None:
    world = a_crowd(max_unavailable=2)
    for name in FIRST_GROUP[:2]:
        world.nodes[name] = dataclasses.replace(world.nodes[name], unschedulable=True)
    acted(world)
    verdict = plan(world.snapshot(), world.now).verdicts[FIRST_GROUP[2]]
    assert (verdict.reason, world.boots) == (Reason.NoFreeSlot, {})
    assert verdict.detail.endswith("node-0000 (cordoned), node-0003 (cordoned)")


def test_c13_a_first_group_without_agents_holds_back_no_later_one() -> None:
    world = a_crowd(max_unavailable="50%", order=GROUPS)
    world.strangers.update(FIRST_GROUP)
    for name in FIRST_GROUP:
        world.oses[name] = dataclasses.replace(world.oses[name], status=None)
    acted(world)
    assert (of(world).phase, of(world).progress, of(world).counts.no_agent) == ("Complete", "6/6", 3)
    assert world.most_trials == 3, "half of six"
