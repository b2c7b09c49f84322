"""Groups of nodes that follow one another, and the time for which groups and zones soak."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import timedelta
from typing import Any

import pytest

from proa.core.schema.model import document, parse
from proa.scheduler.kube.times import text
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import ZONE, NodeOSView, NodeRecord, RolloutView, Snapshot
from proa.scheduler.report.explain import explain
from proa.scheduler.report.preview import preview
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.simulation.simulate import Course, resume, run
from proa.scheduler.spec.rollout import (
    Canary,
    ControlPlane,
    FailurePolicy,
    Group,
    OnFailure,
    Operator,
    Requirement,
    RolloutSpec,
    Selector,
    Turns,
    Zones,
)
from proa.scheduler.spec.rolloutstatus import CanaryStatus, GroupStatus, OutstandingNode, RolloutStatus, ZoneStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.situations import (
    ANOTHERS,
    GIVEN_UP,
    HALTED,
    NEW,
    NOW,
    RELEASE,
    SILENT,
    Part,
    change,
    done,
    marked,
    node,
    node_os,
    planned,
    ready,
    unfetched,
)

TIERS = ("edge", "stores")
EDGE, STORES = ({"tier": name} for name in TIERS)


def groups(soak: str = "0s", **rest: Any) -> Turns:
    return Turns(groups=tuple(Group(name, Selector({"tier": name}), soak) for name in TIERS), **rest)


LATER = NOW + timedelta(minutes=3)
IN_TURN = change(order=groups(), max_unavailable=9)
SOAKING = change(order=groups("1h"), max_unavailable=9)


def started(made: Plan) -> list[str]:
    return sorted(name for name, verdict in made.verdicts.items() if verdict.reason is Reason.Next)


def told(made: Plan, name: str) -> tuple[Reason, str]:
    verdict = made.verdicts[name]
    return verdict.reason, verdict.detail


def since(minutes: int, *, soaked: bool = False) -> RolloutStatus:
    """The status of a rollout whose first group is done for so long."""
    when = text(NOW - timedelta(minutes=minutes))
    return RolloutStatus(release=RELEASE, groups=(GroupStatus("edge", when, when if soaked else ""),))


# one after the other


def test_groups_follow_one_another_and_what_is_in_none_comes_last() -> None:
    parts = [ready("n1"), ready("n2", labels=STORES), ready("n3", labels=EDGE), ready("n4", labels=EDGE)]
    first = planned(*parts, spec=IN_TURN)
    assert started(first) == ["n3", "n4"]
    assert told(first, "n1") == (Reason.EarlierGroup, "group edge: n3, n4")
    second = planned(*parts[:2], done("n3", labels=EDGE), done("n4", labels=EDGE), spec=IN_TURN)
    assert started(second) == ["n2"]
    assert told(second, "n1") == (Reason.EarlierGroup, "group stores: n2")
    third = planned(parts[0], done("n2", labels=STORES), done("n3", labels=EDGE), spec=IN_TURN)
    assert started(third) == ["n1"]


def test_a_node_of_several_groups_is_in_the_first_of_them() -> None:
    both = (Group("all", Selector(match_expressions=(Requirement("tier", Operator.EXISTS),))), *groups().groups)
    made = planned(ready("n1"), ready("n2", labels=EDGE), spec=change(order=Turns(groups=both), max_unavailable=9))
    assert told(made, "n1") == (Reason.EarlierGroup, "group all: n2")


def test_all_nodes_fetch_the_release_whatever_their_group() -> None:
    made = planned(unfetched("n1"), unfetched("n2", labels=EDGE), spec=IN_TURN)
    assert {verdict.reason for verdict in made.verdicts.values()} == {Reason.StageNext}


@pytest.mark.parametrize(
    ("before", "waits"),
    [
        ((node(labels=EDGE), node_os(record=NodeRecord("workers", NEW, 0, 1, not_before=LATER))), True),
        (
            (node(labels=EDGE), node_os(record=NodeRecord("workers", NEW, parks=1, not_before=LATER))),
            False,
        ),
        ((node(labels=EDGE), node_os(record=GIVEN_UP)), False),
        (ready(labels=EDGE, ready=False, ready_since=NOW - timedelta(minutes=19)), True),
        (ready(labels=EDGE, ready=False, ready_since=NOW - timedelta(minutes=20)), False),
        (ready(labels=EDGE, hold="debugging"), False),
        (ready(labels=EDGE, unschedulable=True), False),
        (ready(labels=EDGE, leaving="it is being deleted"), False),
        ((node(labels=EDGE), None), True),
        ((node(labels=EDGE), NodeOSView("n1", "os", "uid-n1", created=NOW - timedelta(minutes=9))), True),
        ((node(labels=EDGE), NodeOSView("n1", "os", "uid-n1", created=NOW - timedelta(minutes=10))), False),
    ],
    ids=[
        "has-another-try",
        "parked",
        "given-up",
        "not-ready-for-a-moment",
        "not-ready-for-long",
        "held",
        "cordoned",
        "leaving",
        "new",
        "speaks-soon",
        "never-speaks",
    ],
)
def test_a_group_is_not_done_while_a_node_will_go_on_by_itself(before: Part, waits: bool) -> None:
    spec = dataclasses.replace(IN_TURN, failure=FailurePolicy(3))
    made = planned(before, done("n2", labels=EDGE), ready("n3"), spec=spec)
    assert (made.verdicts["n3"].reason is Reason.EarlierGroup) is waits
    assert (started(made) == ["n3"]) is not waits


def test_a_node_that_was_removed_on_its_turn_may_be_of_any_group() -> None:
    out = (OutstandingNode("n9", "uid-n9", NEW, text(NOW - timedelta(minutes=1)), "boot-1"),)
    status = RolloutStatus(release=RELEASE, outstanding=out)
    made = planned(done("n2", labels=EDGE), ready("n3"), spec=IN_TURN, status=status)
    assert told(made, "n3") == (Reason.EarlierGroup, "group edge: n9")


def test_the_schedulers_own_node_is_waited_for_only_on_its_turn() -> None:
    rests = planned(ready("n1", labels=EDGE), done("n2", labels=EDGE), ready("n3"), spec=IN_TURN, own_node="n1")
    assert started(rests) == ["n3"]
    goes = planned((marked("n1", labels=EDGE), node_os("n1")), done("n2", labels=EDGE), ready("n3"), spec=IN_TURN,
                   own_node="n1")  # fmt: skip
    assert told(goes, "n3") == (Reason.EarlierGroup, "group edge: n1")


@pytest.mark.parametrize("its", [None, SILENT, ANOTHERS, dataclasses.replace(SILENT, created=NOW)])
def test_a_marked_node_whose_object_says_nothing_is_waited_for(its: NodeOSView | None) -> None:
    began = RolloutStatus(release=RELEASE, started_at=text(NOW - timedelta(hours=1)))
    parts = [(marked("n1", labels=EDGE), its), done("n2", labels=EDGE), ready("n3")]
    assert told(planned(*parts, spec=IN_TURN, status=began), "n3") == (Reason.EarlierGroup, "group edge: n1")


def test_what_a_group_has_proved_stays_proved() -> None:
    made = planned(ready("n1"), done("n2", labels=EDGE, ready=False), ready("n3", labels=EDGE), spec=SOAKING,
                   status=since(90, soaked=True))  # fmt: skip
    assert started(made) == ["n1", "n3"]


# the control plane


@pytest.mark.parametrize(("rule", "first"), [(ControlPlane.LAST, "n2"), (ControlPlane.FIRST, "n1")])
def test_the_control_plane_has_its_turn_within_its_group(rule: ControlPlane, first: str) -> None:
    parts = [_labelled("n1", control_plane=True), ready("n2", labels=EDGE), ready("n3")]
    made = planned(*parts, spec=change(order=groups(control_plane=rule), max_unavailable=1))
    assert started(made) == [first]
    assert made.verdicts["n3"].reason is Reason.EarlierGroup


def _labelled(name: str, *, control_plane: bool) -> Part:
    view, its = ready(name, control_plane=control_plane)
    return dataclasses.replace(view, labels={**view.labels, **EDGE}), its


# canaries, and the way back


def test_canaries_are_of_the_first_group_and_no_group_is_done_before_they_are() -> None:
    spec = dataclasses.replace(IN_TURN, canary=Canary(1, "10m"))
    parts = [ready("n1"), ready("n2", labels=STORES), ready("n3", labels=EDGE), ready("n4", labels=EDGE)]
    first = planned(*parts, spec=spec)
    assert started(first) == ["n3"]
    proved = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n3",), text(NOW - timedelta(minutes=1))))
    second = planned(*parts[:2], done("n3", labels=EDGE), parts[3], spec=spec, status=proved)
    assert {verdict.reason for verdict in second.verdicts.values()} == {Reason.UpToDate, Reason.Soaking}
    assert second.statuses["workers"].groups == ()


def test_the_way_back_waits_for_no_group_and_no_soak() -> None:
    spec = dataclasses.replace(SOAKING, failure=FailurePolicy(0, OnFailure.ROLLBACK))
    spec = dataclasses.replace(spec, order=dataclasses.replace(spec.order, zone_soak="1h"))
    status = dataclasses.replace(HALTED, groups=(GroupStatus("edge", text(NOW)),), zone=ZoneStatus("a", text(NOW)))
    made = planned(done("n1"), done("n2", labels=EDGE), spec=spec, status=status)
    assert started(made) == ["n1", "n2"]


# soak


def test_the_next_group_waits_until_the_one_before_has_soaked() -> None:
    parts = [ready("n1"), ready("n2", labels=STORES), done("n3", labels=EDGE)]
    made = planned(*parts, spec=SOAKING)
    said = f"group edge: until {text(NOW + timedelta(hours=1))}, 1h left of 1h"
    assert told(made, "n2") == (Reason.GroupSoaking, said)
    assert made.statuses["workers"].groups == (GroupStatus("edge", text(NOW)),)
    assert made.statuses["workers"].phase == "Soaking"
    assert made.wake == NOW + timedelta(hours=1)
    later = planned(*parts, spec=SOAKING, status=since(60))
    assert started(later) == ["n2"]
    (state,) = later.statuses["workers"].groups
    assert (state.proved_at, state.soaked_at) == (text(NOW - timedelta(hours=1)), text(NOW))


def test_a_group_that_falls_ill_begins_its_time_anew_and_a_person_can_end_it() -> None:
    parts = [ready("n1"), done("n2", labels=EDGE), done("n3", labels=EDGE, ready=False)]
    made = planned(*parts, spec=SOAKING, status=since(59))
    assert made.statuses["workers"].groups == (GroupStatus("edge"),)
    assert told(made, "n1") == (Reason.WaveUnwell, "group edge: n3")
    held = planned(*parts[:2], done("n3", labels=EDGE, ready=False, hold="broken"), spec=SOAKING, status=since(59))
    assert held.statuses["workers"].groups == since(59).groups


def test_another_attempt_soaks_anew() -> None:
    spec = dataclasses.replace(SOAKING, attempt=1)
    made = planned(ready("n1"), done("n2", labels=EDGE), spec=spec, status=since(90, soaked=True))
    assert made.verdicts["n1"].reason is Reason.GroupSoaking
    assert made.statuses["workers"].groups == (GroupStatus("edge", text(NOW)),)


def test_zones_soak_too() -> None:
    spec = change(order=Turns(zone_soak="30m"), max_unavailable=9)
    first = planned(ready("n1", zone="a"), ready("n2", zone="b"), spec=spec)
    assert started(first) == ["n1"]
    busy = planned(ready("n1", zone="a"), ready("n2", zone="b"), spec=spec, pending=frozenset({"n1"}))
    assert busy.statuses["workers"].zone == ZoneStatus("a")
    parts = [done("n1", zone="a"), ready("n2", zone="b")]
    waits = planned(*parts, spec=spec, status=busy.statuses["workers"])
    said = f"zone a: until {text(NOW + timedelta(minutes=30))}, 30m left of 30m"
    assert told(waits, "n2") == (Reason.ZoneSoaking, said)
    assert waits.statuses["workers"].zone == ZoneStatus("a", text(NOW))
    assert waits.wake == NOW + timedelta(minutes=30)
    ago = ZoneStatus("a", text(NOW - timedelta(minutes=30)))
    assert started(planned(*parts, spec=spec, status=RolloutStatus(release=RELEASE, zone=ago))) == ["n2"]


def test_nodes_of_the_zone_that_had_its_turn_last_wait_for_no_soak() -> None:
    spec = change(order=Turns(zone_soak="30m"))
    status = RolloutStatus(release=RELEASE, zone=ZoneStatus("a"))
    made = planned(done("n0", zone="a"), ready("n1", zone="a"), ready("n2", zone="b"), spec=spec, status=status)
    assert started(made) == ["n1"]
    assert made.statuses["workers"].zone == ZoneStatus("a")


def test_a_zone_that_falls_ill_begins_its_time_anew() -> None:
    spec = change(order=Turns(zone_soak="30m"), max_unavailable=9)
    status = RolloutStatus(release=RELEASE, zone=ZoneStatus("a", text(NOW - timedelta(hours=1))))
    made = planned(done("n1", zone="a", ready=False), ready("n2", zone="b"), spec=spec, status=status)
    assert told(made, "n2") == (Reason.WaveUnwell, "zone a: n1")
    assert made.statuses["workers"].zone == ZoneStatus("a")


# what people see


def test_a_status_with_groups_can_be_written_and_read() -> None:
    status = dataclasses.replace(since(5), zone=ZoneStatus("a", text(NOW)))
    assert parse(RolloutStatus, document(status), "status") == status
    spec = document(SOAKING)
    assert parse(RolloutSpec, spec, "spec") == SOAKING


def test_explain_tells_since_when_a_group_soaks_and_how_much_is_left() -> None:
    parts = [ready("n1"), done("n2", labels=EDGE)]
    found = explain(_snapshot(*parts, status=since(45)), "n1", NOW)
    (gate,) = found.gates
    assert (gate.reason, gate.since) == ("GroupSoaking", text(NOW - timedelta(minutes=45)))
    assert "15m left of 1h" in gate.detail


def _snapshot(*parts: Part, status: RolloutStatus) -> Snapshot:
    oses = {one.name: its for one, its in parts if its is not None}
    return Snapshot({one.name: one for one, _ in parts}, oses, {"workers": RolloutView("w", "u", 1, SOAKING, status)})


def simulated(order: Turns, **behaviour: Any) -> Course:
    """Twelve nodes of three zones, of which four are of each tier, and four of none."""
    spec = RolloutSpec(FIRST, max_unavailable=4, order=order, failure=FailurePolicy("100%"))
    world = a_world(12, spec, behaviour=Behaviour(**behaviour))
    for number, (name, view) in enumerate(sorted(world.nodes.items())):
        tier = (*TIERS, "")[number // 4]
        world.nodes[name] = dataclasses.replace(view, labels={**view.labels, "tier": tier})
    return run(resume(world.snapshot(), world.now, world.behaviour))


def test_a_whole_rollout_goes_group_after_group_with_a_soak_between() -> None:
    course = simulated(groups("1h", zones=Zones.IGNORE))
    (status,) = course.statuses.values()
    assert status.phase == "Complete"
    names = [f"node-{number:04}" for number in range(12)]
    for before, after in ((names[:4], names[4:8]), (names[4:8], names[8:])):
        ended = max(way.ended for way in (course.ways[name] for name in before) if way.ended)
        began = min(way.started for way in (course.ways[name] for name in after) if way.started)
        assert timedelta(hours=1) <= began - ended < timedelta(hours=1, minutes=1)
    assert {wave.name.partition("/")[0] for wave in course.waves if "/" in wave.name} == set(TIERS)


def test_a_whole_rollout_soaks_between_zones() -> None:
    course = simulated(Turns(zone_soak="20m"))
    (status,) = course.statuses.values()
    assert status.phase == "Complete"
    waves = course.waves
    assert len(waves) == 3
    for before, after in itertools.pairwise(waves):
        assert after.began_at >= before.ended_at
    assert course.took >= timedelta(minutes=40)


def _stuck(name: str, _: str) -> NodeFate:
    return NodeFate.UNDRAINABLE if name == "node-0001" else NodeFate.WELL


def test_a_node_that_can_never_be_drained_keeps_no_later_group_waiting() -> None:
    course = simulated(groups("10m"), fate=_stuck)
    assert len(course.done) == 11


def test_a_plan_names_the_group_of_each_node() -> None:
    spec = RolloutSpec(FIRST, order=groups())
    world = a_world(2, spec, zones=1)
    world.nodes["node-0001"] = dataclasses.replace(world.nodes["node-0001"], labels=EDGE | {ZONE: "z"})
    report = preview(world.snapshot(), "workers", world.now).report
    assert next((one.name, one.wave.partition("/")[0]) for one in report.nodes) == ("node-0001", "edge")
