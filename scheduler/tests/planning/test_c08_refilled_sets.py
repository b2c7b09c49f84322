"""The set that others wait for is the one of the rollout's beginning: who joins later goes along behind it."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest

from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon, Give
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import ZONE, NodeView, RolloutView
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.spec.rollout import Approval, Group, RolloutSpec, Selector, Staging, Turns, Zones
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.situations import (
    BOOT,
    NOW,
    RELEASE,
    Part,
    change,
    done,
    marked,
    node_os,
    planned,
    ready,
    unfetched,
)

STATUS = RolloutStatus(release=RELEASE, started_at=text(NOW - timedelta(hours=5)))
EARLY, LATE = NOW - timedelta(hours=4, minutes=51), NOW - timedelta(hours=1)


def at(part: Part, created: datetime) -> Part:
    view, its = part
    assert its is not None
    return view, dataclasses.replace(its, created=created)


def test_c08_a_group_that_grows_again_and_again_is_updated() -> None:
    """For a day, a node of the old release joins every two minutes."""
    world = a_world(12, RolloutSpec(FIRST, staging=Staging(1)), control_planes=3)
    simulation, joins, number = Run(world), world.now + timedelta(minutes=11), 0
    until = world.now + timedelta(days=1)
    while world.now < until and len([name for name in world.boots if name.startswith("node-")]) < 12:
        simulation.step()
        if world.now >= joins:
            name, joins, number = f"a-joiner-{number:04}", world.now + timedelta(minutes=2), number + 1
            labels = {"topology.kubernetes.io/zone": "zone-0"}
            world.nodes[name] = NodeView(name, f"uid-{name}", labels, ready_since=world.now, boot_id=f"boot-{name}")
    assert number > 10
    assert world.now < until


FIRST_ZONES = tuple(Group(f"group-{number}", Selector({ZONE: f"zone-{number}"}), "1h") for number in (0, 1))


@pytest.mark.parametrize(
    "order", [Turns(zones=Zones.IGNORE, groups=FIRST_ZONES), Turns(groups=FIRST_ZONES, zone_soak="5m")]
)
def test_c08_a_group_that_grows_while_it_soaks_has_soaked_in_the_end(order: Turns) -> None:
    """A node joins the first group every 20 minutes, and the group has to soak for an hour."""
    world = a_world(12, RolloutSpec(FIRST, max_unavailable=2, order=order))
    simulation, joins, number = Run(world), world.now + timedelta(minutes=11), 0
    until = world.now + timedelta(hours=12)
    while world.now < until and len([name for name in world.boots if name.startswith("node-")]) < 12:
        simulation.step()
        if world.now >= joins:
            name, joins, number = f"a-joiner-{number:04}", world.now + timedelta(minutes=20), number + 1
            world.nodes[name] = NodeView(name, f"uid-{name}", {ZONE: "zone-0"}, ready_since=world.now, boot_id=name)
    assert number > 2
    assert world.now < until


def test_c08_joiners_do_not_keep_their_zone_busy() -> None:
    """Where one is under way there whenever another one joins, no other zone would have its turn."""
    busy = marked("n0", zone="a"), node_os("n0", given=BOOT)
    parts = at(busy, EARLY), at(ready("n1", zone="a"), LATE), at(ready("n2", zone="b"), EARLY)
    made = planned(*parts, status=STATUS, spec=change(max_unavailable=2))
    assert made.verdicts["n1"].reason is Reason.JoinedLater


def test_c08_joiners_start_where_all_that_were_there_wait_for_a_person() -> None:
    """Or new nodes of a group that is done would run the old release until somebody approves the next one."""
    order = Turns(groups=(Group("edge", Selector({"edge": ""})),))
    spec = change(approval=Approval.EACH_GROUP, order=order, max_unavailable=2)
    joiner, other = at(ready("n1", labels={"edge": ""}), LATE), at(ready("n2"), EARLY)
    parts = joiner, other, done("n3", labels={"edge": ""})
    held = planned(*parts, rollouts=rollouts(spec, "edge"))
    assert held.verdicts["n2"].reason is Reason.AwaitingApproval
    assert held.verdicts["n1"].reason is Reason.Next
    going = planned(*parts, rollouts=rollouts(spec, "edge", "in_no_group"))
    assert (going.verdicts["n2"].reason, going.verdicts["n1"].reason) == (Reason.Next, Reason.JoinedLater)
    assert going.verdicts["n1"].detail == "n2"


def rollouts(spec: RolloutSpec, *approved: str) -> dict[str, RolloutView]:
    groups = dict.fromkeys(approved, "alice at noon")
    return {"workers": RolloutView("workers", "uid", 3, spec, STATUS, approved_groups=groups)}


def test_c08_a_joiner_waits_for_no_lost_control_plane() -> None:
    lost = at(ready("n0", control_plane=True, ready=False), EARLY)
    waits = at(ready("n2", control_plane=True), EARLY)
    made = planned(at(ready("n1"), LATE), lost, waits, status=STATUS, spec=change(max_unavailable=3))
    assert made.verdicts["n2"].reason is Reason.ControlPlaneBusy
    assert made.verdicts["n1"].reason is Reason.Next


def test_c08_a_joiner_that_has_to_fetch_is_not_waited_for() -> None:
    made = planned(at(ready("n1"), EARLY), at(unfetched("n2"), LATE), status=STATUS)
    assert {one.node for one in made.actions if isinstance(one, Cordon)} == {"n1"}
    assert {one.node for one in made.actions if isinstance(one, Give)} == {"n2"}


def test_c08_one_that_was_there_is_waited_for() -> None:
    made = planned(at(ready("n1"), EARLY), at(unfetched("n2"), EARLY), status=STATUS)
    assert made.verdicts["n1"].reason is Reason.StagingOthers


def test_c08_joiners_have_their_turn_behind_the_others() -> None:
    parts = at(ready("n1", zone="a"), LATE), at(ready("n2", zone="b"), EARLY)
    assert [one.node for one in planned(*parts, status=STATUS).actions] == ["n2"]
    assert [one.node for one in planned(parts[0], status=STATUS).actions] == ["n1"]


def test_c08_the_control_plane_does_not_wait_for_joiners() -> None:
    parts = at(ready("n1"), LATE), at(ready("n2", control_plane=True), EARLY)
    made = planned(*parts, status=STATUS, spec=change(max_unavailable=2))
    assert "n2" in {one.node for one in made.actions}


def test_c08_the_schedulers_own_node_does_not_wait_for_joiners() -> None:
    parts = at(ready("n1"), LATE), at(ready("n2"), EARLY)
    made = planned(*parts, status=STATUS, spec=change(max_unavailable=2), own_node="n2")
    assert {one.node for one in made.actions} == {"n1", "n2"}
