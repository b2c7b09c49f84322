"""Nodes that vanish between their order to reboot and their proof count, where nobody can delete that with them."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from proa.core.runtime.errors import ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Give
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import DrainView
from proa.scheduler.report.explain import explain
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.spec.rollout import FailurePolicy, OnFailure, RolloutSpec
from proa.scheduler.spec.rolloutstatus import LostNodes, OutstandingNode, RolloutStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.others import CrowdedWorld, crowded
from proa.scheduler.testing.situations import (
    BOOT,
    NEW,
    NOW,
    OLD,
    RELEASE,
    change,
    done,
    marked,
    node_os,
    planned,
    ready,
)

OUT = OutstandingNode("gone", "uid-gone", NEW, text(NOW - timedelta(minutes=5)), "boot-1", "2" * 64, "a")


def status(*outstanding: OutstandingNode, **rest: object) -> RolloutStatus:
    changes: dict[str, object] = {"release": RELEASE, "outstanding": outstanding} | rest
    return dataclasses.replace(RolloutStatus(), **changes)  # type: ignore[arg-type]  # by name


def late(one: OutstandingNode) -> OutstandingNode:
    return dataclasses.replace(one, since=text(NOW - timedelta(minutes=20)))


def told(made: Plan) -> RolloutStatus:
    return made.statuses["workers"]


def repaired(spec: RolloutSpec, hours: int) -> CrowdedWorld:
    """A node repair controller, and a release from which no node comes back."""
    behaviour = Behaviour(fate=lambda name, digest: NodeFate.NEVER_BACK)
    world = crowded(a_world(12, spec, behaviour=behaviour), repairs=timedelta(minutes=5))
    simulation, until = Run(world), world.now + timedelta(hours=hours)
    for _ in range(20_000):
        more = simulation.step()
        world.repair()
        if not more:
            world.advance(world.now + timedelta(minutes=1))
        if world.now > until:
            break
    return world


def test_c01_a_bad_release_that_a_repair_controller_hides_halts_after_the_first_node() -> None:
    world = repaired(RolloutSpec(FIRST), 12)
    found = world.rollouts["workers"].status
    assert (found.phase, found.counts.failed, len(world.replaced)) == ("Halted", 1, 1)
    assert world.replaced[0] in found.halted


def test_c01_starts_back_off_while_nodes_vanish() -> None:
    world = repaired(RolloutSpec(FIRST, failure=FailurePolicy("90%")), 12)
    assert len(world.replaced) <= 8


def test_c01_a_node_that_is_ordered_to_reboot_is_remembered_in_the_rollouts_status() -> None:
    made = planned((marked(zone="a"), node_os()), drains={"n1": DrainView(True)})
    assert isinstance(made.actions[0], Give)
    (out,) = told(made).outstanding
    assert (out.node, out.uid, out.release, out.boot_id, out.zone) == ("n1", "uid-n1", NEW, "boot-1", "a")
    assert parse(RolloutStatus, document(told(made)), "status") == told(made)
    again = planned((marked(zone="a"), node_os(given=BOOT)), status=told(made))
    assert told(again).outstanding == (out,)


def test_c01_one_whose_order_does_not_show_yet_is_remembered() -> None:
    made = planned((marked(), node_os()), drains={"n1": DrainView(True)})
    lagging = planned((marked(), node_os()), status=told(made), pending=frozenset({"n1"}))
    assert told(lagging).outstanding == told(made).outstanding


def test_c01_who_has_proved_the_release_is_forgotten() -> None:
    assert told(planned(done("gone"), status=status(OUT))).outstanding == ()


def test_c01_a_node_that_is_gone_keeps_its_place_until_its_time_is_over() -> None:
    made = planned(ready("n2"), status=status(OUT))
    assert made.actions == ()
    assert "gone (gone on its turn)" in str(made.verdicts["n2"]) or made.verdicts["n2"].reason is Reason.OtherZone
    assert (told(made).outstanding, told(made).lost) == ((OUT,), None)
    assert made.wake == NOW + timedelta(minutes=15)
    over = planned(ready("n2"), status=status(late(OUT)), spec=change(failure=FailurePolicy(1)))
    assert over.verdicts["n2"].reason is Reason.NodesLost
    assert (told(over).outstanding, told(over).lost) == ((), LostNodes(1, ("gone",), text(NOW)))
    assert over.wake == NOW + timedelta(minutes=5)


def test_c01_nothing_is_complete_while_one_may_still_come_back() -> None:
    made = planned(done("n2"), status=status(OUT))
    assert told(made).phase == "Progressing"


def test_c01_zone_and_control_plane_of_one_that_is_gone_are_kept_as_well() -> None:
    spec = change(max_unavailable=3)
    assert planned(ready("n2", zone="b"), spec=spec, status=status(OUT)).verdicts["n2"].reason is Reason.OtherZone
    cp = dataclasses.replace(OUT, control_plane=True)
    made = planned(ready("n2", zone="a", control_plane=True), spec=spec, status=status(cp))
    assert made.verdicts["n2"].reason is Reason.ControlPlaneBusy


def test_c01_too_many_lost_nodes_halt_and_are_named() -> None:
    made = planned(ready("n2"), status=status(lost=LostNodes(1, ("gone",), text(NOW))))
    assert told(made).halted == "failed on 1 nodes, 0 allowed: gone (Lost)"
    assert told(made).counts.failed == 1


def test_c01_nodes_lost_on_another_release_or_on_the_way_back_do_not_count() -> None:
    other = dataclasses.replace(late(OUT), release=OLD)
    assert told(planned(ready("n2"), status=status(other))).lost is None
    spec = change(failure=FailurePolicy(action=OnFailure.ROLLBACK))
    back = planned(done("n2"), spec=spec, status=status(late(OUT), halted="failed on 1 nodes"))
    assert told(back).lost is None


def test_c01_another_attempt_forgets_the_lost_and_remembers_who_is_out() -> None:
    lost = status(OUT, lost=LostNodes(1, ("n9",), text(NOW)), attempt=0)
    made = planned(ready("n2"), spec=change(attempt=1), status=lost)
    assert (told(made).lost, told(made).outstanding) == (None, (OUT,))


def test_c01_explain_knows_a_node_that_is_gone() -> None:
    world = a_world(1, RolloutSpec(FIRST))
    view = world.rollouts["workers"]
    world.rollouts["workers"] = dataclasses.replace(view, status=dataclasses.replace(view.status, outstanding=(OUT,)))
    with pytest.raises(ProaError, match="was removed from the cluster after its order to reboot"):
        explain(world.snapshot(), "gone", world.now)
