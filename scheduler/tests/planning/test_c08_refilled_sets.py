"""The set that others wait for is the one of the rollout's beginning: who joins later goes along behind it."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon, Give
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import NodeView
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.spec.rollout import RolloutSpec, Staging
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.situations import NOW, RELEASE, Part, change, planned, ready, unfetched

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
