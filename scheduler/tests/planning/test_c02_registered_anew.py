"""A node that was deleted and registered anew while it was down is the same one, if its agent shows that it is."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import NodeStatus, Phase, Proof
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon, Create, Give, Note
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import ZONE, Mark, NodeOSView
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.spec.rollout import Drain, FailurePolicy, Group, RolloutSpec, Selector, Turns, Zones
from proa.scheduler.spec.rolloutstatus import OutstandingNode, RolloutStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.others import CrowdedWorld, crowded
from proa.scheduler.testing.situations import (
    BOOT,
    EMPTY,
    HAS_OLD,
    NEW,
    NOW,
    RELEASE,
    RUNS_NEW,
    RUNS_OLD,
    TRIES_NEW,
    WELL,
    change,
    node,
    node_os,
    planned,
    ready,
    says,
)

SINCE = NOW - timedelta(minutes=5)
OUT = OutstandingNode("n1", "uid-before", NEW, text(SINCE), "boot-1", "2" * 64, "")
STATUS = RolloutStatus(release=RELEASE, outstanding=(OUT,))
MARK = Mark("workers", NEW, SINCE, True, "boot-1", "2" * 64)
ON_TRIAL = says(TRIES_NEW, HAS_OLD, conditions=WELL)
RETURNED = says(dataclasses.replace(RUNS_OLD, boot_id="boot-3"), phase=Phase.ROLLED_BACK)


def anew(said: NodeStatus | None, mark: Mark | None = MARK, **rest: Any) -> Plan:
    """A Node of another UID, what its agent says, and a second node that waits."""
    boot_id = said.booted.boot_id if said and said.booted else "boot-2"
    view = node("n1", mark=mark, unschedulable=mark is not None, boot_id=boot_id)
    os = dataclasses.replace(node_os(), status=said)
    return planned((view, os), ready("n2"), status=rest.pop("status", STATUS), **rest)


def run(world: CrowdedWorld) -> Run:
    simulation = Run(world)
    while simulation.step():
        world.count()
        assert simulation.course.passes < 5000
    return simulation


def test_c02_a_good_release_comes_to_every_node_once_although_nodes_are_registered_anew() -> None:
    world = crowded(a_world(6, RolloutSpec(FIRST), control_planes=1), anew=True)
    run(world)
    assert world.rollouts["workers"].status.phase == "Complete"
    assert (world.most_trials, world.exposed) == (1, [])
    assert world.boots == dict.fromkeys(world.nodes, 1)
    assert not [one for one in world.nodes.values() if one.mark or one.unschedulable]


@pytest.mark.parametrize("borne", [0, 2])
def test_c02_a_bad_release_halts_although_nodes_are_registered_anew(borne: int) -> None:
    behaviour = Behaviour(fate=lambda name, digest: NodeFate.RETURNS)
    spec = RolloutSpec(FIRST, failure=FailurePolicy(borne))
    world = crowded(a_world(6, spec, behaviour=behaviour), anew=True)
    run(world)
    status = world.rollouts["workers"].status
    assert (status.phase, status.counts.failed, world.most_trials) == ("Halted", borne + 1, 1)


@pytest.mark.parametrize("said", [None, ON_TRIAL], ids=["silent", "on-trial"])
def test_c02_it_is_marked_and_cordoned_at_once_and_keeps_its_place(said: NodeStatus | None) -> None:
    made = anew(said, mark=None, spec=change(paused=True))
    cordons = [one for one in made.actions if isinstance(one, Cordon)]
    assert cordons == [Cordon("n1", MARK, again=True)]
    assert made.statuses["workers"].outstanding == (OUT,)
    assert made.statuses["workers"].counts.unavailable == 1
    assert Reason.NoFreeSlot is anew(said, mark=None).verdicts["n2"].reason


def test_c02_it_is_marked_before_it_has_an_object() -> None:
    made = planned((node("n1"), None), ready("n2"), status=STATUS)
    assert {type(one) for one in made.actions} == {Create, Cordon}


def test_c02_its_trial_is_ours_and_is_committed() -> None:
    made = anew(ON_TRIAL)
    assert [one.verb for one in made.actions if isinstance(one, Give)] == [Verb.COMMIT]
    assert made.verdicts["n1"].reason is Reason.Committing
    (out,) = made.statuses["workers"].outstanding
    assert (out.uid, out.since) == ("uid-n1", OUT.since)
    (give,) = made.actions
    assert isinstance(give, Give)
    assert give.proof == Proof("boot-2", "2" * 64)


def test_c02_what_came_back_from_its_trial_counts_against_the_release() -> None:
    made = anew(RETURNED)
    (written,) = made.actions
    assert isinstance(written, Note)
    assert (written.record.reason, written.record.failed) == ("RolledBack", True)


def test_c02_what_has_not_rebooted_yet_is_drained_again() -> None:
    made = anew(says())
    assert made.verdicts["n1"].reason is Reason.Draining
    assert made.statuses["workers"].lost is None


def test_c02_what_runs_the_release_already_is_brought_to_its_end() -> None:
    assert anew(says(RUNS_NEW, HAS_OLD)).verdicts["n1"].reason is Reason.Finishing


@pytest.mark.parametrize(
    "said",
    [
        says(dataclasses.replace(RUNS_OLD, boot_id="boot-9"), EMPTY),
        says(dataclasses.replace(TRIES_NEW, root_hash="9" * 64), HAS_OLD),
    ],
    ids=["another-machine", "another-root"],
)
def test_c02_another_machine_of_the_name_is_not_taken_for_it(said: NodeStatus) -> None:
    status = anew(said).statuses["workers"]
    assert status.lost is not None
    assert (status.lost.count, status.lost.nodes) == (1, ("n1",))


def test_c02_a_trial_on_a_node_that_nobody_remembers_is_foreign_still() -> None:
    made = anew(ON_TRIAL, mark=None, status=RolloutStatus(release=RELEASE))
    assert made.verdicts["n1"].reason is Reason.ForeignTrial


def test_c02_who_never_speaks_is_lost_in_the_end() -> None:
    status = dataclasses.replace(STATUS, outstanding=(dataclasses.replace(OUT, since=text(NOW - timedelta(hours=1))),))
    late = dataclasses.replace(MARK, since=NOW - timedelta(hours=1))
    made = anew(None, late, status=status, spec=change(failure=FailurePolicy(1)))
    assert made.statuses["workers"].lost is not None


@pytest.mark.parametrize("os", [None, dataclasses.replace(node_os(), status=None)], ids=["deleted", "silent"])
def test_c02_who_loses_only_its_object_meanwhile_is_remembered(os: NodeOSView | None) -> None:
    view = node("n1", mark=MARK, unschedulable=True)
    status = RolloutStatus(release=RELEASE, outstanding=(dataclasses.replace(OUT, uid="uid-n1"),))
    assert planned((view, os), status=status).statuses["workers"].outstanding == status.outstanding


def test_c02_explain_tells_the_step_of_one_that_was_taken_up_again() -> None:
    world = crowded(a_world(1, RolloutSpec(FIRST, drain=Drain(timeout="2m"))), anew=True)
    simulation, steps = Run(world), set[NodeStep]()
    while simulation.step():
        planner = Planner()
        planner.plan(world.snapshot(), world.now)
        if (progress := planner.progress("node-0000")) is not None:
            steps.add(progress.step)
    assert NodeStep.TRIAL in steps
    assert NodeStep.FOREIGN not in steps


def test_c02_later_groups_and_other_zones_wait_for_one_that_is_there_anew() -> None:
    """In the very pass that marks it again, too: its Node bears no mark yet, and its object is the former one's."""
    one_zone = Turns(zones=Zones.ONE_AT_A_TIME)
    edge_first = Turns(groups=(Group("edge", Selector({ZONE: "west"})),))
    status = dataclasses.replace(STATUS, outstanding=(dataclasses.replace(OUT, zone="west"),))
    back = node("n1", zone="west", uid="uid-again", boot_id="boot-2"), node_os(given=BOOT)
    for order, reason in ((edge_first, Reason.EarlierGroup), (one_zone, Reason.OtherZone)):
        spec = change(order=order, max_unavailable=9)
        made = planned(back, ready("n2", zone="east"), status=status, spec=spec)
        assert made.verdicts["n2"].reason is reason
        assert [one.node for one in made.actions if isinstance(one, Cordon)] == ["n1"]
