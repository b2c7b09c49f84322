"""What the planner does, and says, in each situation: one node, or a few, at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    Booted,
    Condition,
    LastError,
    NodeStatus,
    Observed,
    Order,
    Phase,
    Proof,
    Result,
    Standby,
)
from proa.core.runtime.errors import ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.kube.times import text
from proa.scheduler.objects.annotations import UNREADABLE
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.planner import Plan, Planner, plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    CONTROL_PLANE,
    ZONE,
    DrainView,
    Mark,
    NodeOSView,
    NodeView,
    Record,
    RolloutView,
    Snapshot,
)
from proa.scheduler.spec.amounts import Amount
from proa.scheduler.spec.rollout import (
    Budget,
    Canary,
    ControlPlane,
    DaemonSet,
    Drain,
    Failure,
    Health,
    OnFailure,
    OnTimeout,
    Operator,
    Requirement,
    Retry,
    RolloutSpec,
    Selector,
    Staging,
    Turns,
    Zones,
)
from proa.scheduler.spec.rolloutstatus import Blocker, CanaryStatus, RolloutStatus

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
FIRST_ID = int(timedelta(days=4, hours=12).total_seconds())
"""Of an object that had no order before."""
NEW = "sha256:" + "2" * 64
OLD = "sha256:" + "1" * 64
RELEASE = f"registry.example/node@{NEW}"
SPEC = RolloutSpec(RELEASE, max_unavailable=1, health=Health(ready_seconds=60))
RUNS_OLD = Booted("a", "1", OLD, "1" * 64, "boot-1", True)
TRIES_NEW = Booted("b", "2", NEW, "2" * 64, "boot-2", False)
RUNS_NEW = dataclasses.replace(TRIES_NEW, committed=True)
EMPTY = Standby("b")
HAS_NEW = Standby("b", "2", NEW, "2" * 64, "staged", True, False)
HAS_OLD = Standby("a", "1", OLD, "1" * 64, "fallback", True, True)
WELL = (Condition("Healthy", "True"),)
STUCK = Blocker("n1", "shop/web", "shop/all", reason="pod shop/web: disruption budget shop/all never lets one go")
MARK = Mark("workers", NEW, NOW - timedelta(minutes=5), True, "boot-1")
Part = tuple[NodeView, NodeOSView | None]


def order(verb: Verb, number: int = 1, issued: datetime = NOW, **rest: object) -> Order:
    release = "" if verb is Verb.COMMIT else RELEASE
    return dataclasses.replace(Order(number, verb, 1, release, issued=text(issued)), **rest)  # type: ignore[arg-type]


def says(
    booted: Booted = RUNS_OLD,
    standby: Standby = HAS_NEW,
    seen: Order | None = None,
    result: Result = Result.DONE,
    **rest: object,
) -> NodeStatus:
    observed = Observed(seen.id, seen.action.value, result.value) if seen else None
    status = NodeStatus(booted=booted, standby=standby, observed_order=observed, phase=Phase.GOOD)
    return dataclasses.replace(status, **rest)  # type: ignore[arg-type]


def node(name: str = "n1", *, zone: str = "", control_plane: bool = False, **rest: object) -> NodeView:
    labels = ({ZONE: zone} if zone else {}) | ({CONTROL_PLANE: ""} if control_plane else {})
    view = NodeView(name, f"uid-{name}", labels, boot_id="boot-1", ready_since=NOW - timedelta(hours=1))
    return dataclasses.replace(view, **rest)  # type: ignore[arg-type]


def os(
    name: str = "n1", status: NodeStatus | None = None, given: Order | None = None, record: Record | None = None
) -> NodeOSView:
    return NodeOSView(name, f"os-{name}", f"uid-{name}", given, status or says(), record)


def marked(name: str = "n1", mark: Mark = MARK, **rest: object) -> NodeView:
    return node(name, **{"mark": mark, "unschedulable": True} | rest)  # type: ignore[arg-type]


def planned(*parts: Part, spec: RolloutSpec = SPEC, status: RolloutStatus | None = None, **rest: object) -> Plan:
    view = RolloutView("workers", "uid", 3, spec, status or RolloutStatus(release=spec.release, attempt=spec.attempt))
    nodes = {one.name: one for one, _ in parts}
    oses = {one.name: its for one, its in parts if its is not None}
    rollouts = {"workers": view}
    snapshot = Snapshot(nodes, oses, rollouts)
    return plan(dataclasses.replace(snapshot, **rest), NOW)  # type: ignore[arg-type]


def ready(name: str = "n1", **rest: object) -> Part:
    return node(name, **rest), os(name)  # type: ignore[arg-type]


def done(name: str = "n1", **rest: object) -> Part:
    return node(name, **rest), os(name, says(RUNS_NEW, HAS_OLD))  # type: ignore[arg-type]


def unfetched(name: str = "n1", **rest: object) -> Part:
    return node(name, **rest), os(name, says(standby=EMPTY))  # type: ignore[arg-type]


def trial(name: str = "n1", given: Order | None = None, status: NodeStatus | None = None, **rest: object) -> Part:
    given = given or order(Verb.BOOT)
    view = marked(name, **{"boot_id": "boot-2", "ready_since": NOW - timedelta(minutes=2)} | rest)  # type: ignore[arg-type]
    return view, os(name, status or says(TRIES_NEW, HAS_OLD, given, conditions=WELL), given)


def change(**changes: object) -> RolloutSpec:
    return dataclasses.replace(SPEC, **changes)  # type: ignore[arg-type]


# why a node does or does not move: every reason once

CANARY = Canary(1, "10m")
PROVED = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n2",), text(NOW - timedelta(minutes=2))))
UNPROVED = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n2",)))
HALTED = RolloutStatus(release=RELEASE, halted="failed on 1 nodes")
BOOT = order(Verb.BOOT)
COMMIT = order(Verb.COMMIT, 2, trial=Proof("boot-2", "2" * 64))
LATE = order(Verb.BOOT, issued=NOW - timedelta(minutes=20))
LATE_COUNTED = Record("workers", NEW, failures=1, failed=True, order=1, mark=MARK.since, reason="BootTimeout")
CLOSED = (Budget("0 22 * * *", "2h"),)
OPEN = (Budget("0 11 * * *", "65m"),)
REASONS: dict[Reason, Callable[[], Plan]] = {
    Reason.UpToDate: lambda: planned(done()),
    Reason.BackOnOld: lambda: planned(
        ready(), spec=change(failure=Failure(0, OnFailure.ROLLBACK)), status=HALTED
    ),
    Reason.Staging: lambda: planned(
        (node(), os(status=says(standby=EMPTY, seen=order(Verb.STAGE), result=Result.RUNNING), given=order(Verb.STAGE)))
    ),
    Reason.Draining: lambda: planned((marked(), os())),
    Reason.Booting: lambda: planned((marked(), os(given=BOOT))),
    Reason.Proving: lambda: planned(trial(ready_since=NOW - timedelta(seconds=59))),
    Reason.Committing: lambda: planned(trial()),
    Reason.Finishing: lambda: planned(
        (
            marked(boot_id="boot-2", ready_since=NOW - timedelta(seconds=30)),
            os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT),
        )
    ),
    Reason.Next: lambda: planned(ready()),
    Reason.StageNext: lambda: planned(unfetched()),
    Reason.Paused: lambda: planned(ready(), spec=change(paused=True)),
    Reason.Held: lambda: planned(ready(hold="debugging")),
    Reason.Excluded: lambda: planned(ready(excluded=True)),
    Reason.ControlPlaneExcluded: lambda: planned(
        ready(control_plane=True), spec=change(order=Turns(control_plane=ControlPlane.EXCLUDE))
    ),
    Reason.Conflict: lambda: planned(
        ready(), rollouts={name: RolloutView(name, name, 1, SPEC) for name in ("workers", "others")}
    ),
    Reason.Halted: lambda: planned(ready(), status=HALTED),
    Reason.ForeignTrial: lambda: planned((node(), os(status=says(TRIES_NEW, HAS_OLD)))),
    Reason.ForeignMark: lambda: planned((marked(mark=UNREADABLE), os())),
    Reason.NothingToReturnTo: lambda: planned(
        (node(), os(status=says(RUNS_NEW, EMPTY))),
        spec=change(failure=Failure(0, OnFailure.ROLLBACK)),
        status=HALTED,
    ),
    Reason.TakingBack: lambda: planned(
        (marked(), os(given=LATE, record=LATE_COUNTED)), spec=change(failure=Failure(1))
    ),
    Reason.LetGo: lambda: planned((marked(), os()), rollouts={}),
    Reason.New: lambda: planned((node(), None)),
    Reason.Recreated: lambda: planned((node(uid="another"), os())),
    Reason.AgentSilent: lambda: planned((node(), NodeOSView("n1", "os-n1", "uid-n1"))),
    Reason.NotReady: lambda: planned(ready(ready=False)),
    Reason.BackingOff: lambda: planned(
        (node(), os(record=Record("workers", NEW, failures=1, not_before=NOW + timedelta(minutes=3))))
    ),
    Reason.Parked: lambda: planned(
        (node(), os(record=Record("workers", NEW, parks=1, not_before=NOW + timedelta(minutes=3))))
    ),
    Reason.GivenUp: lambda: planned(
        (node(), os(record=Record("workers", NEW, failures=3, failed=True))), spec=change(failure=Failure(1))
    ),
    Reason.NoFreeSlot: lambda: planned(ready(), (node("n2", ready=False), os("n2"))),
    Reason.NoBudget: lambda: planned(ready(), spec=change(max_unavailable=0)),
    Reason.WindowClosed: lambda: planned(ready(), spec=change(budgets=CLOSED)),
    Reason.WindowTooShort: lambda: planned(ready(), spec=change(budgets=OPEN)),
    Reason.AwaitingCanary: lambda: planned(
        ready(), ready("n2"), spec=change(canary=CANARY), status=UNPROVED
    ),
    Reason.Soaking: lambda: planned(ready(), done("n2"), spec=change(canary=CANARY), status=PROVED),
    Reason.StagingOthers: lambda: planned(ready(), unfetched("n2")),
    Reason.StagingFull: lambda: planned(unfetched("n1"), unfetched("n0"), spec=change(staging=Staging(1))),
    Reason.OtherZone: lambda: planned(
        ready(zone="b"), ready("n2", zone="a"), spec=change(max_unavailable=2)
    ),
    Reason.ControlPlaneLater: lambda: planned(ready(control_plane=True), ready("n2")),
    Reason.ControlPlaneFirst: lambda: planned(
        ready(), ready("n2", control_plane=True), spec=change(order=Turns(control_plane=ControlPlane.FIRST))
    ),
    Reason.ControlPlaneBusy: lambda: planned(
        ready(control_plane=True), ready("n2", control_plane=True, ready=False), spec=change(max_unavailable=2)
    ),
    Reason.Undrainable: lambda: planned(ready(), undrainable={"n1": (STUCK,)}),
    Reason.OwnNodeLast: lambda: planned(ready(), ready("n2"), own_node="n1"),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_each_reason_is_given_where_it_holds(reason: Reason) -> None:
    assert REASONS[reason]().verdicts["n1"].reason is reason


def test_a_node_that_can_never_be_drained_is_told_of_and_others_go_on() -> None:
    found = planned(ready(), ready("n2"), undrainable={"n1": (STUCK,)})
    assert [action.node for action in found.actions] == ["n2"]
    assert found.verdicts["n1"].detail == STUCK.reason
    assert found.statuses["workers"].blockers == (STUCK,)


def test_nobody_waits_for_a_node_that_can_never_be_drained() -> None:
    undrainable = {"n1": (STUCK,)}
    zones = planned(ready(zone="a"), ready("n2", zone="b"), undrainable=undrainable)
    assert [action.node for action in zones.actions] == ["n2"]
    control_plane = planned(ready(), ready("n2", control_plane=True), undrainable=undrainable)
    assert [action.node for action in control_plane.actions] == ["n2"]


def test_every_reason_can_be_given() -> None:
    assert set(REASONS) == set(Reason)


def test_every_node_of_a_rollout_has_a_verdict() -> None:
    for make in REASONS.values():
        for name in make().verdicts:
            assert name.startswith("n")


# one node's way


def acts(made: Plan) -> list[Action]:
    return list(made.actions)


def test_a_new_node_gets_its_object() -> None:
    assert acts(planned((node(), None))) == [Create("n1")]


def test_a_node_made_anew_loses_the_object_of_the_one_before() -> None:
    assert acts(planned((node(uid="another"), os()))) == [Forget("n1", "os-n1")]


def test_a_node_without_the_release_fetches_it() -> None:
    assert acts(planned(unfetched())) == [Give("n1", FIRST_ID, Verb.STAGE, RELEASE, None, "1h")]


def test_a_node_that_has_it_is_cordoned() -> None:
    assert acts(planned(ready())) == [Cordon("n1", Mark("workers", NEW, NOW, True, "boot-1", HAS_NEW.root_hash))]


def test_the_cordon_of_a_person_is_not_taken_for_ours() -> None:
    (action,) = acts(planned((node(unschedulable=True), os())))
    assert isinstance(action, Cordon)
    assert not action.mark.cordoned


def test_a_node_that_is_away_already_costs_no_place_but_none_is_left_for_others() -> None:
    made = planned((node(unschedulable=True), os()), ready("n2"))
    assert [action.node for action in made.actions] == ["n1"]
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot


def test_a_cordoned_node_is_drained_until_its_deadline() -> None:
    made = planned((marked(), os()))
    assert made.actions == ()
    assert made.drains == {"n1": MARK.since + timedelta(minutes=15)}
    assert made.wake == MARK.since + timedelta(minutes=15)


def test_a_drained_node_is_ordered_to_boot() -> None:
    made = planned((marked(), os()), drains={"n1": DrainView(True)})
    assert acts(made) == [Give("n1", FIRST_ID, Verb.BOOT, RELEASE, None, "20m")]


@pytest.mark.parametrize(
    ("on_timeout", "counted", "reason"),
    [(OnTimeout.PARK, (0, 1, False), Reason.Parked), (OnTimeout.ABORT, (1, 0, False), Reason.BackingOff)],
)
def test_a_drain_that_takes_too_long_ends(
    on_timeout: OnTimeout, counted: tuple[int, int, bool], reason: Reason
) -> None:
    spec = change(drain=Drain(timeout="2m", on_timeout=on_timeout))
    blocked = DrainView(False, (Blocker("n1", "shop/cart-0", "shop/cart", reason="shop/cart allows no disruption"),))
    made = planned((marked(), os()), spec=spec, drains={"n1": blocked})
    note, uncordon = acts(made)
    assert isinstance(note, Note)
    assert (note.record.failures, note.record.parks, note.record.failed) == counted
    assert "shop/cart allows no disruption" in note.message
    assert note.record.not_before == NOW + timedelta(minutes=5)
    assert uncordon == Uncordon("n1", "DrainTimeout")
    assert made.verdicts["n1"].reason is reason


def test_force_goes_on_after_the_deadline() -> None:
    spec = change(drain=Drain(timeout="2m", on_timeout=OnTimeout.FORCE))
    made = planned((marked(), os()), spec=spec)
    assert made.actions == ()
    assert made.forced == {"n1"}


def test_the_time_of_a_drain_begins_anew_when_the_scheduler_was_away() -> None:
    spec = change(drain=Drain(timeout="2m"))
    made = planned((marked(), os()), spec=spec, since=NOW - timedelta(minutes=1))
    assert made.drains == {"n1": NOW + timedelta(minutes=1)}


def test_what_blocks_a_drain_stands_in_the_status() -> None:
    blocker = Blocker("n1", "shop/cart-0", "shop/cart", reason="no disruption is allowed")
    made = planned((marked(), os()), drains={"n1": DrainView(False, (blocker,))})
    assert made.statuses["workers"].blockers == (blocker,)
    assert made.verdicts["n1"].detail == "no disruption is allowed"


@pytest.mark.parametrize("cordoned", [True, False])
def test_a_person_who_uncordons_is_obeyed(cordoned: bool) -> None:
    mark = dataclasses.replace(MARK, cordoned=cordoned)
    made = planned((marked(mark=mark, unschedulable=False), os()))
    note, uncordon = acts(made)
    assert isinstance(note, Note)
    assert (note.reason, note.record.parks, note.record.failures) == ("Uncordoned", 1, 0)
    assert uncordon == Uncordon("n1", "Uncordoned")


def test_a_node_that_is_held_while_it_drains_is_given_back() -> None:
    assert acts(planned((marked(hold="debugging"), os()))) == [Uncordon("n1", "Held")]


def test_another_release_takes_a_node_out_of_its_drain() -> None:
    mark = dataclasses.replace(MARK, release=OLD)
    assert acts(planned((marked(mark=mark), os()))) == [Uncordon("n1", "Revoked")]


def test_a_boot_order_is_not_given_twice() -> None:
    assert acts(planned((marked(), os(given=BOOT)), drains={"n1": DrainView(True)})) == []


def test_an_order_that_was_carried_out_before_the_reboot_is_waited_for() -> None:
    made = planned((marked(), os(status=says(seen=BOOT), given=BOOT)), drains={"n1": DrainView(True)})
    assert acts(made) == []
    assert made.verdicts["n1"].reason is Reason.Booting


def test_a_node_that_does_not_come_back_counts_against_the_release() -> None:
    late = order(Verb.BOOT, issued=NOW - timedelta(minutes=20))
    (note,) = acts(planned((marked(ready=False), os(given=late))))
    assert isinstance(note, Note)
    assert (note.reason, note.record.failed, note.record.order) == ("BootTimeout", True, 1)


def test_nobody_is_blamed_for_the_time_in_which_the_scheduler_was_away() -> None:
    late = order(Verb.BOOT, issued=NOW - timedelta(hours=3))
    made = planned((marked(ready=False), os(given=late)), since=NOW - timedelta(minutes=19))
    assert acts(made) == []
    assert made.wake == NOW + timedelta(minutes=1)


def test_a_dead_node_that_was_counted_is_given_back_and_holds_its_place_as_not_ready() -> None:
    dead = marked(ready=False), os(status=says(seen=LATE, result=Result.RUNNING), given=LATE, record=LATE_COUNTED)
    made = planned(dead, ready("n2"), spec=change(failure=Failure(1)))
    assert acts(made) == [Uncordon("n1", "BootTimeout")]
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot


def test_an_order_to_reboot_that_nobody_took_up_is_taken_back_before_the_node_is_given_back() -> None:
    spec = change(failure=Failure(1))
    made = planned((marked(), os(given=LATE, record=LATE_COUNTED)), ready("n2"), spec=spec)
    assert acts(made) == [Give("n1", 2, Verb.NONE, timeout="5m")]
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot
    back = order(Verb.NONE, 2)
    assert acts(planned((marked(), os(given=back, record=LATE_COUNTED)), spec=spec)) == [Uncordon("n1", "BootTimeout")]


def test_an_order_that_was_counted_is_taken_back_although_a_person_took_the_mark_away() -> None:
    made = planned((node(), os(given=LATE, record=LATE_COUNTED)), ready("n2"), spec=change(failure=Failure(1)))
    assert acts(made) == [Give("n1", 2, Verb.NONE, timeout="5m")]


SILENT = NodeOSView("n1", "os-n1", "uid-n1")
ANOTHERS = NodeOSView("n1", "os-n1", "uid-0")
OLD_MARK = dataclasses.replace(MARK, since=NOW - timedelta(minutes=35))


def test_a_marked_node_that_says_nothing_is_counted_and_given_back_in_time() -> None:
    """Its object was deleted in the middle, and its agent is silent since."""
    young = dataclasses.replace(MARK, since=OLD_MARK.since + timedelta(seconds=1))
    soon = planned((marked(mark=young), SILENT), ready("n2"))
    assert (acts(soon), soon.wake) == ([], NOW + timedelta(seconds=1))
    (note,) = acts(planned((marked(mark=OLD_MARK), SILENT), ready("n2")))
    assert isinstance(note, Note)
    assert (note.reason, note.record.failures, note.record.failed) == ("AgentSilent", 1, False)
    counted = dataclasses.replace(SILENT, record=note.record)
    assert acts(planned((marked(mark=OLD_MARK), counted), ready("n2"))) == [Uncordon("n1", "AgentSilent")]
    assert [action.node for action in planned((node(), counted), ready("n2")).actions] == ["n2"]


NOWHERE = NodeStatus(standby=HAS_NEW, phase=Phase.GOOD)
"""Of a node that runs from no slot."""


def test_an_order_that_a_node_has_not_taken_up_is_taken_back_also_where_it_does_not_say_what_runs() -> None:
    counted = Record("workers", NEW, failures=1, order=1, mark=OLD_MARK.since, reason="AgentSilent")
    untaken = os("n1", NOWHERE, order(Verb.BOOT, 1, OLD_MARK.since), counted)
    made = planned((marked(mark=OLD_MARK), untaken), ready("n2"))
    assert acts(made) == [Give("n1", 2, Verb.NONE, timeout="5m")]
    back = dataclasses.replace(untaken, order=order(Verb.NONE, 2))
    assert acts(planned((marked(mark=OLD_MARK), back), ready("n2"))) == [Uncordon("n1", "AgentSilent")]


@pytest.mark.parametrize("failures", [0, 1], ids=["fetched-long-ago", "counted"])
def test_a_marked_node_that_does_not_say_what_runs_has_its_time_from_the_mark_on(failures: int) -> None:
    """Whatever it was ordered before the mark, and whether that was counted."""
    before = order(Verb.BOOT if failures else Verb.STAGE, 1, NOW - timedelta(days=3))
    record = Record("workers", NEW, failures=1, order=1) if failures else None
    its = os(
        "n1", dataclasses.replace(NOWHERE, observed_order=Observed(1, before.action.value, "Failed")), before, record
    )
    young = dataclasses.replace(MARK, since=OLD_MARK.since + timedelta(seconds=1))
    soon = planned((marked(mark=young), its), ready("n2"))
    assert (acts(soon), soon.wake) == ([], NOW + timedelta(seconds=1))
    (note,) = acts(planned((marked(mark=OLD_MARK), its), ready("n2")))
    assert isinstance(note, Note)
    assert (note.reason, note.record.failures, note.record.mark) == ("AgentSilent", 1 + failures, OLD_MARK.since)
    counted = dataclasses.replace(its, record=note.record)
    assert acts(planned((marked(mark=OLD_MARK), counted), ready("n2"))) == [Uncordon("n1", "AgentSilent")]


@pytest.mark.parametrize(("its", "first"), [(None, Create("n1")), (ANOTHERS, Forget("n1", "os-n1"))])
def test_a_marked_node_without_an_object_is_given_back_in_time(its: NodeOSView | None, first: Action) -> None:
    assert acts(planned((marked(), its))) == [first]
    assert acts(planned((marked(mark=OLD_MARK), its))) == [first, Uncordon("n1", "AgentSilent")]


@pytest.mark.parametrize("mark", [MARK, None])
def test_a_trial_whose_order_was_taken_back_too_late_is_brought_to_its_end(mark: Mark | None) -> None:
    back = order(Verb.NONE, 2)
    made = planned(trial(given=back, status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=WELL), mark=mark))
    assert acts(made) == [Give("n1", 3, Verb.COMMIT, "", Proof("boot-2", "2" * 64), "5m")]


def test_a_node_of_the_control_plane_that_is_ordered_to_reboot_is_away_also_without_our_mark() -> None:
    ordered = node("n1", control_plane=True), os("n1", given=order(Verb.BOOT))
    made = planned(ordered, ready("n2", control_plane=True), spec=change(max_unavailable=2))
    assert acts(made) == []
    assert made.verdicts["n2"].reason is Reason.ControlPlaneBusy


def test_why_a_rollout_was_halted_fits_into_its_status_whatever_nodes_are_called() -> None:
    names = [f"n{number}.{'x' * 240}" for number in range(6)]
    made = planned(*((node(name), os(name, record=GIVEN_UP)) for name in names))
    status = made.statuses["workers"]
    assert status.phase == "Halted"
    assert parse(RolloutStatus, document(status), "status") == status


def test_a_trial_without_our_mark_is_not_ordered_back() -> None:
    spec = change(failure=Failure(0, OnFailure.ROLLBACK))
    assert acts(planned(trial(), spec=spec, status=HALTED)) == [Give("n1", 2, Verb.ROLLBACK, RELEASE, None, "20m")]
    assert acts(planned(trial(mark=None, unschedulable=False), spec=spec, status=HALTED)) == []


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        (trial(ready=False), "not Ready"),
        (trial(ready_since=NOW - timedelta(seconds=10)), "Ready for 10 s"),
        (trial(boot_id="boot-1"), "kubelet still reports another boot"),
        (trial(mark=dataclasses.replace(MARK, boot_id="boot-2")), "has not rebooted"),
        (trial(mark=dataclasses.replace(MARK, root_hash="9" * 64)), "another root hash than what was staged"),
        (trial(status=says(TRIES_NEW, HAS_OLD, BOOT)), "not told of its health checks"),
        (
            trial(status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=(Condition("Healthy", "False", message="disk"),))),
            "health checks: disk",
        ),
    ],
)
def test_a_trial_is_not_committed_before_everything_is_seen(part: Part, missing: str) -> None:
    made = planned(part)
    assert acts(made) == []
    assert missing in made.verdicts["n1"].detail


def test_a_trial_that_is_well_is_committed_by_its_boot_id_and_root_hash() -> None:
    proof = Proof("boot-2", "2" * 64)
    assert acts(planned(trial())) == [Give("n1", 2, Verb.COMMIT, "", proof, "5m")]


def test_daemon_sets_are_looked_at_and_waited_for() -> None:
    spec = change(health=Health(daemon_sets=(DaemonSet("kube-system", "cni"),)))
    made = planned(trial(), spec=spec)
    assert acts(made) == []
    waiting = planned(trial(), spec=spec, daemon_sets={"n1": "kube-system/cni"})
    assert "kube-system/cni" in waiting.verdicts["n1"].detail
    assert len(planned(trial(), spec=spec, daemon_sets={"n1": ""}).actions) == 1


def test_a_commit_is_ordered_once() -> None:
    assert acts(planned(trial(given=COMMIT, status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=WELL)))) == []


def test_a_commit_that_nobody_answers_counts_once() -> None:
    late = dataclasses.replace(COMMIT, issued=text(NOW - timedelta(minutes=20)))
    part = trial(given=late, status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=WELL))
    (note,) = acts(planned(part))
    assert isinstance(note, Note)
    assert (note.reason, note.record.failed) == ("CommitTimeout", True)
    counted = (part[0], dataclasses.replace(part[1] or os(), record=note.record))
    assert acts(planned(counted, spec=change(failure=Failure(1)))) == []


def test_a_committed_node_is_uncordoned_and_its_time_is_kept() -> None:
    part = marked(boot_id="boot-2"), os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT)
    made = planned(part)
    assert acts(made) == [Uncordon("n1", "Done")]
    assert made.statuses["workers"].recent_seconds == (300,)


def test_the_time_of_a_node_that_was_not_watched_all_the_time_is_not_kept() -> None:
    part = marked(boot_id="boot-2"), os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT)
    assert planned(part, since=NOW - timedelta(minutes=1)).statuses["workers"].recent_seconds == ()


def test_a_node_that_comes_back_counts_against_the_release() -> None:
    status = says(
        dataclasses.replace(RUNS_OLD, boot_id="boot-3"),
        HAS_NEW,
        BOOT,
        Result.FAILED,
        phase=Phase.ROLLED_BACK,
        last_error=LastError("TRIAL_RETURNED", "unit web.service failed"),
    )
    (note,) = acts(planned((marked(boot_id="boot-3"), os(status=status, given=BOOT))))
    assert isinstance(note, Note)
    assert (note.reason, note.message, note.record.failed) == ("RolledBack", "unit web.service failed", True)


def test_a_node_that_nobody_ordered_to_commit_does_not() -> None:
    status = says(
        dataclasses.replace(RUNS_OLD, boot_id="boot-3"),
        HAS_NEW,
        BOOT,
        Result.FAILED,
        phase=Phase.ROLLED_BACK,
        last_error=LastError("NO_COMMIT_ORDER", "healthy, and never ordered to commit"),
    )
    (note,) = acts(planned((marked(boot_id="boot-3"), os(status=status, given=BOOT))))
    assert isinstance(note, Note)
    assert (note.record.failures, note.record.failed) == (1, False)


def test_a_release_that_cannot_be_fetched_has_other_turns_and_then_counts() -> None:
    given = order(Verb.STAGE)
    status = says(standby=EMPTY, seen=given, result=Result.FAILED, last_error=LastError("NOT_FOUND", "no such tag"))
    (first,) = acts(planned((node(), os(status=status, given=given))))
    assert isinstance(first, Note)
    assert (first.reason, first.record.failures, first.record.failed) == ("NOT_FOUND", 1, False)
    before = Record("workers", NEW, failures=2, order=0)
    (last,) = acts(planned((node(), os(status=status, given=given, record=before))))
    assert isinstance(last, Note)
    assert (last.record.failures, last.record.failed) == (3, True)


def test_a_node_that_is_silent_about_its_fetching_stops_holding_up_the_others() -> None:
    given = order(Verb.STAGE, issued=NOW - timedelta(minutes=65))
    silent = node("n2"), os("n2", says(standby=EMPTY), given)
    made = planned(ready(), silent)
    (note,) = acts(made)
    assert isinstance(note, Note)
    assert (note.node, note.reason) == ("n2", "StageTimeout")
    counted = silent[0], dataclasses.replace(silent[1], record=note.record)
    assert [action.node for action in planned(ready(), counted).actions] == ["n1"]


# the rollout


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


def test_nothing_is_done_for_a_rollout_that_cannot_be_read() -> None:
    spec = change(budgets=(Budget("0 0 31 2 *", "1h"),))
    made = planned(ready(), spec=spec)
    assert acts(made) == []
    status = made.statuses["workers"]
    assert status.phase == "Invalid"
    valid = next(one for one in status.conditions if one.type == "Valid")
    assert valid.reason == "InvalidSchedule"
    assert valid.message.startswith("spec.budgets[0].schedule: ")


def test_a_spec_that_contradicts_itself_does_not_act_and_says_what_to_write() -> None:
    made = planned(ready(), spec=change(canary=Canary(0, "1h")))
    assert acts(made) == []
    valid = next(one for one in made.statuses["workers"].conditions if one.type == "Valid")
    assert valid.reason == "InvalidSpec"
    assert "write how many in nodes" in valid.message


def test_what_could_not_be_read_and_can_again_acts_again() -> None:
    planner, (node_view, os_view) = Planner(), ready()
    broken = RolloutView("workers", "uid", 3, SPEC, problem="status.counts is not an object")
    snapshot = Snapshot({"n1": node_view}, {"n1": os_view} if os_view else {}, {"workers": broken})
    assert planner.plan(snapshot, NOW).statuses["workers"].phase == "Invalid"
    mended = dataclasses.replace(snapshot, rollouts={"workers": dataclasses.replace(broken, problem="")})
    assert planner.plan(mended, NOW).statuses["workers"].phase == "Progressing"


def test_rollouts_that_share_a_node_both_stop() -> None:
    rollouts = {
        "all": RolloutView("all", "1", 1, SPEC),
        "some": RolloutView("some", "2", 1, change(node_selector=Selector({ZONE: "a"}))),
        "others": RolloutView("others", "3", 1, change(node_selector=Selector({ZONE: "nowhere"}))),
    }
    made = planned(ready(zone="a"), ready("n2", zone="b"), rollouts=rollouts)
    assert acts(made) == []
    assert {name: status.phase for name, status in made.statuses.items()} == {
        "all": "Conflict",
        "some": "Conflict",
        "others": "Pending",
    }


UNREADABLE_SPEC = change(retry=Retry(backoff="soon"))


def conditions_of(made: Plan, rollout: str = "workers") -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in made.statuses[rollout].conditions}


def two_of(status: RolloutStatus) -> dict[str, RolloutView]:
    return {name: RolloutView(name, name, 3, SPEC, status) for name in ("workers", "others")}


@pytest.mark.parametrize(
    ("before", "refused", "reason"),
    [
        (planned(unfetched()), lambda status: planned(ready(), rollouts=two_of(status)), "Conflict"),
        (planned(done()), lambda status: planned(done(), rollouts=two_of(status)), "Conflict"),
        (
            planned(done()),
            lambda status: planned(done(), spec=UNREADABLE_SPEC, status=status),
            "InvalidSpec",
        ),
    ],
    ids=["progressing", "complete", "invalid"],
)
def test_a_rollout_that_is_refused_is_neither_under_way_nor_complete_until_it_acts_again(
    before: Plan, refused: Callable[[RolloutStatus], Plan], reason: str
) -> None:
    made = refused(before.statuses["workers"])
    assert conditions_of(made) == dict.fromkeys(("Valid", "Progressing", "Complete", "Halted"), ("False", reason))
    again = planned(done(), status=made.statuses["workers"])
    assert conditions_of(again) == conditions_of(planned(done()))


def test_what_was_halted_stays_so_while_it_is_refused() -> None:
    made = planned(ready(), rollouts=two_of(HALTED))
    assert conditions_of(made)["Halted"] == ("True", "Halted")
    assert planned(ready(), status=made.statuses["workers"]).statuses["workers"].phase == "Halted"


def test_all_nodes_that_a_person_holds_are_counted() -> None:
    parts = [
        done("n1", hold="looking"),
        trial("n2", hold="looking"),
        (node("n3", hold="looking"), os("n3", record=GIVEN_UP)),
        ready("n4", hold="looking"),
        ready("n5", hold="looking", excluded=True),
        ready("n6"),
    ]
    made = planned(*parts, spec=change(failure=Failure(1)))
    assert made.statuses["workers"].counts.held == 4
    assert planned(*parts, rollouts=two_of(RolloutStatus())).statuses["others"].counts.held == 4


def test_too_many_failed_nodes_halt_the_rollout_and_those_under_way_finish() -> None:
    failed = node("n2"), os("n2", record=Record("workers", NEW, failures=1, failed=True, reason="RolledBack"))
    made = planned(ready(), failed, trial("n3"))
    status = made.statuses["workers"]
    assert status.phase == "Halted"
    assert "n2 (RolledBack)" in status.halted
    assert status.failed_digests == (NEW,)
    assert [action.node for action in made.actions] == ["n3"]


def test_a_halted_rollout_gives_back_a_node_that_is_being_drained() -> None:
    assert acts(planned((marked(), os()), status=HALTED)) == [Uncordon("n1", "Halted")]


def test_as_many_failed_nodes_as_are_borne_do_not_halt_it() -> None:
    failed = node("n2"), os("n2", record=Record("workers", NEW, failures=3, failed=True))
    made = planned(ready(), failed, spec=change(failure=Failure(1)))
    assert [action.node for action in made.actions] == ["n1"]


def test_a_rollback_takes_updated_nodes_back_with_one_reboot_and_no_download() -> None:
    spec = change(failure=Failure(0, OnFailure.ROLLBACK))
    first = planned(done(), ready("n2"), spec=spec, status=HALTED)
    (cordon,) = acts(first)
    assert isinstance(cordon, Cordon)
    assert cordon.node == "n1"
    assert first.statuses["workers"].phase == "RollingBack"
    mark = dataclasses.replace(cordon.mark, boot_id="boot-2")
    draining = marked(boot_id="boot-2", mark=mark), os(status=says(RUNS_NEW, HAS_OLD))
    made = planned(draining, ready("n2"), spec=spec, status=HALTED, drains={"n1": DrainView(True)})
    assert acts(made) == [Give("n1", FIRST_ID, Verb.ROLLBACK, RELEASE, None, "20m")]


BACK = change(failure=Failure(0, OnFailure.ROLLBACK))


@pytest.mark.parametrize("ready", [True, False])
def test_a_way_back_reaches_nodes_that_are_not_ready_or_given_up(ready: bool) -> None:
    record = Record("workers", NEW, failures=9, failed=True, not_before=NOW + timedelta(hours=1), reason="Unwell")
    lost = node(ready=ready), os(status=says(RUNS_NEW, HAS_OLD), record=record)
    made = planned(lost, done("n2"), spec=BACK, status=HALTED)
    assert [(type(action), action.node) for action in made.actions] == [(Cordon, "n1")]


def test_a_way_back_of_nodes_that_are_not_ready_takes_no_more_at_a_time_than_may_be_away() -> None:
    ill = [(node(f"n{number}", ready=False), os(f"n{number}", says(RUNS_NEW, HAS_OLD))) for number in range(3)]
    assert [action.node for action in planned(*ill, spec=BACK, status=HALTED).actions] == ["n0"]
    assert acts(planned(*ill, spec=BACK, status=HALTED, pending=frozenset({"n0"}))) == []
    assert acts(planned((marked("n0", ready=False), ill[0][1]), *ill[1:], spec=BACK, status=HALTED)) == []


@pytest.mark.parametrize(
    ("ill_since", "spec", "status", "goes_on"),
    [
        (timedelta(minutes=6), BACK, HALTED, True),
        (timedelta(minutes=4), BACK, HALTED, False),
        (timedelta(minutes=6), SPEC, None, False),
    ],
    ids=["the-way-back", "ill-for-a-moment", "the-way-there"],
)
def test_a_node_that_is_ill_goes_back_although_its_kubelet_ends_no_pod(
    ill_since: timedelta, spec: RolloutSpec, status: RolloutStatus | None, goes_on: bool
) -> None:
    spec = dataclasses.replace(spec, drain=Drain(timeout="5m"))
    runs = says(RUNS_NEW, HAS_OLD) if status else says()
    mark = dataclasses.replace(MARK, boot_id=runs.booted.boot_id if runs.booted else "")
    ill = marked(mark=mark, ready=False, ready_since=NOW - ill_since), os(status=runs)
    made = planned(ill, spec=spec, status=status, drains={"n1": DrainView(False, (STUCK,))})
    rollback = [Give("n1", FIRST_ID, Verb.ROLLBACK, RELEASE, None, "20m")]
    assert acts(made) == rollback if goes_on else isinstance(acts(made)[0], Note)


def test_a_node_whose_way_back_fails_too_often_is_given_up() -> None:
    refused = order(Verb.ROLLBACK, 4)
    record = Record("workers", NEW, failures=9, failed=True, order=3)
    status = says(RUNS_NEW, HAS_OLD, refused, Result.REFUSED)
    mark = dataclasses.replace(MARK, boot_id="boot-2")
    for failures in (1, 2, 3):
        (note,) = acts(planned((marked(mark=mark), os("n1", status, refused, record)), spec=BACK, status=HALTED))
        assert isinstance(note, Note)
        assert (note.record.failures, note.record.failed, note.record.back) == (failures, True, True)
        record = dataclasses.replace(note.record, order=3)
    record = dataclasses.replace(record, order=4)
    resting = node(), os("n1", says(RUNS_NEW, HAS_OLD), record=record)
    given_up = planned(resting, done("n2"), spec=BACK, status=HALTED)
    assert given_up.verdicts["n1"].reason is Reason.GivenUp
    assert [action.node for action in given_up.actions] == ["n2"]


def test_a_way_back_begins_where_the_commit_has_ended() -> None:
    """The last order is the commit that brought the node here, of before the mark."""
    spec = change(failure=Failure(0, OnFailure.ROLLBACK))
    mark = dataclasses.replace(MARK, boot_id="boot-2")
    after_commit = marked(mark=mark, boot_id="boot-2"), os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT)
    made = planned(after_commit, spec=spec, status=HALTED, drains={"n1": DrainView(done=True)})
    assert acts(made) == [Give("n1", 3, Verb.ROLLBACK, RELEASE, None, "20m")]


def test_a_way_forward_begins_where_the_way_back_has_ended() -> None:
    back = order(Verb.ROLLBACK, 3)
    after_return = marked(), os(status=says(RUNS_OLD, HAS_NEW, back), given=back)
    made = planned(after_return, drains={"n1": DrainView(done=True)})
    assert acts(made) == [Give("n1", 4, Verb.BOOT, RELEASE, None, "20m")]


def test_a_rollback_is_over_when_all_run_the_release_before() -> None:
    spec = change(failure=Failure(0, OnFailure.ROLLBACK))
    assert planned(ready(), ready("n2"), spec=spec, status=HALTED).statuses["workers"].phase == "RolledBack"


def test_another_attempt_resumes_and_forgets_what_failed_before() -> None:
    before = RolloutStatus(
        release=RELEASE, attempt=0, phase="Halted", halted="failed", failed_digests=(NEW,), started_at=text(NOW)
    )
    record = Record("workers", NEW, attempt=0, failures=3, failed=True)
    made = planned((node(), os(record=record)), spec=change(attempt=1), status=before)
    assert [type(action) for action in made.actions] == [Cordon]
    status = made.statuses["workers"]
    assert (status.halted, status.failed_digests, status.attempt) == ("", (), 1)
    assert [(past.phase, past.release) for past in status.history] == [("Halted", RELEASE)]


def test_a_release_that_failed_is_not_tried_again_under_the_same_attempt() -> None:
    other = f"registry.example/node@{OLD}"
    before = RolloutStatus(release=other, failed_digests=(NEW,), started_at=text(NOW))
    made = planned(ready(), status=before)
    assert acts(made) == []
    assert "raise 'attempt'" in made.statuses["workers"].halted


OTHERS = {"others": RolloutView("others", "uid", 1, SPEC)}


@pytest.mark.parametrize(
    "found",
    [
        lambda: planned((marked(), os()), rollouts={}),
        lambda: planned((marked(), os(given=BOOT, status=says(seen=BOOT, result=Result.FAILED))), rollouts={}),
        lambda: planned((marked(), None), rollouts={}),
        lambda: planned((marked(), os()), rollouts=OTHERS),
        lambda: planned((marked(), os()), spec=change(node_selector=Selector({"role": "worker"}))),
        lambda: planned((marked(excluded=True), os())),
    ],
    ids=["deleted", "its-order-is-over", "without-object", "another-one-selects-it", "deselected", "excluded"],
)
def test_a_node_that_its_rollout_lets_go_is_given_back_and_nothing_else(found: Callable[[], Plan]) -> None:
    plan = found()
    assert plan.actions == (Uncordon("n1", "LetGo"),)
    assert plan.verdicts["n1"].reason is Reason.LetGo


def test_a_node_that_is_let_go_and_takes_no_order_up_is_given_back_when_that_is_taken_back() -> None:
    soon = planned((marked(), os(given=BOOT)), rollouts={})
    assert (acts(soon), soon.wake) == ([], NOW + timedelta(minutes=5))
    for record in (None, LATE_COUNTED):
        assert acts(planned((marked(), os(given=LATE, record=record)), rollouts={})) == [
            Give("n1", 2, Verb.NONE, timeout="5m")
        ]
    back = order(Verb.NONE, 2)
    assert acts(planned((marked(), os(given=back)), rollouts={})) == [Uncordon("n1", "LetGo")]


@pytest.mark.parametrize(
    "found",
    [
        lambda: planned((marked(), os(given=BOOT)), rollouts={}),
        lambda: planned((marked(), os(given=BOOT)), rollouts=OTHERS),
        lambda: planned(trial(), rollouts={}),
        lambda: planned((marked(), os()), rollouts={}, pending=frozenset({"n1"})),
    ],
    ids=["ordered-to-reboot", "another-one-selects-it", "on-trial", "a-write-is-under-way"],
)
def test_a_node_that_is_let_go_comes_to_rest_first(found: Callable[[], Plan]) -> None:
    plan = found()
    assert plan.actions == ()
    assert plan.verdicts["n1"].reason is Reason.LetGo


def test_a_node_that_is_let_go_holds_its_place_in_another_rollout() -> None:
    found = planned((marked(), os(given=BOOT)), ready("n2"), rollouts=OTHERS)
    assert found.actions == ()
    assert found.verdicts["n2"].reason is Reason.NoFreeSlot


def test_what_a_rollout_has_begun_that_does_not_act_waits_for_a_person() -> None:
    invalid = {"workers": RolloutView("workers", "uid", 1, SPEC, problem="release: is not there")}
    both = {name: RolloutView(name, name, 1, SPEC) for name in ("workers", "others")}
    for rollouts in (invalid, both):
        assert planned((marked(), os()), rollouts=rollouts).actions == ()
    valid = {**invalid, "others": RolloutView("others", "uid", 1, SPEC)}
    made = planned((marked(), os()), ready("n2"), rollouts=valid)
    assert made.actions == ()
    assert made.verdicts["n1"].reason is Reason.ForeignMark


def test_a_mark_that_cannot_be_read_is_nobodys() -> None:
    assert planned((marked(mark=UNREADABLE), os()), rollouts={}).actions == ()
    made = planned((marked(mark=UNREADABLE), os()), ready("n2"))
    assert made.actions == ()
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot


def test_the_history_is_bounded() -> None:
    status = RolloutStatus(started_at=text(NOW))
    for number in range(30):
        spec = change(release=f"registry.example/node@sha256:{number:064}")
        status = planned(ready(), spec=spec, status=status).statuses["workers"]
    assert len(status.history) == 10


def test_canaries_go_first_stay_the_same_and_must_run_well_for_long_enough() -> None:
    spec = change(canary=Canary(1, "10m"), max_unavailable=2)
    first = planned(unfetched("n2"), unfetched("n1"), spec=spec)
    assert [action.node for action in first.actions] == ["n1"]
    status = first.statuses["workers"]
    assert status.canary == CanaryStatus(NEW, ("n1",))
    proved = planned(done("n1"), unfetched("n2"), spec=spec, status=status)
    assert proved.verdicts["n2"].reason is Reason.Soaking
    assert proved.wake == NOW + timedelta(minutes=10)
    since = text(NOW - timedelta(minutes=10))
    soaked = dataclasses.replace(proved.statuses["workers"], canary=CanaryStatus(NEW, ("n1",), since))
    precedence = planned(done("n1"), unfetched("n2"), spec=spec, status=soaked)
    assert [action.node for action in precedence.actions] == ["n2"]
    assert precedence.statuses["workers"].canary == CanaryStatus(NEW, ("n1",), since, text(NOW))


def test_a_canary_that_falls_ill_begins_its_time_anew() -> None:
    spec = change(canary=Canary(1, "10m"))
    status = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",), text(NOW - timedelta(minutes=9))))
    made = planned(done("n1", ready=False), unfetched("n2"), spec=spec, status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",), "")


GIVEN_UP = Record("workers", NEW, failures=3, failed=True)


@pytest.mark.parametrize(
    "first",
    [
        (),
        (ready("n1", excluded=True),),
        (ready("n1", labels={"role": "other"}),),
        (ready("n1", hold="debugging"),),
        (done("n1", hold="debugging", ready=False),),
        (ready("n1", ready=False),),
        ((node("n1"), os("n1", record=GIVEN_UP)),),
        ((node("n1"), NodeOSView("n1", "os-n1", "uid-n1")),),
        ((node("n1", uid="another"), os("n1")),),
    ],
    ids=["gone", "excluded", "deselected", "held", "held-and-ill", "not-ready", "given-up", "silent", "made-anew"],
)
def test_a_canary_that_cannot_prove_the_release_is_replaced(first: tuple[Part, ...]) -> None:
    selector = Selector(match_expressions=(Requirement("role", Operator.DOES_NOT_EXIST),))
    spec = change(canary=CANARY, failure=Failure(1), node_selector=selector)
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
    made = planned(*first, unfetched("n2"), unfetched("n3"), spec=spec, status=before)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n2",))
    assert made.verdicts["n2"].reason is Reason.StageNext
    assert made.verdicts["n3"].reason is Reason.AwaitingCanary


@pytest.mark.parametrize(
    "first",
    [
        done("n1", ready=False),
        done("n1", hold="debugging"),
        trial("n1", ready=False),
        (node("n1"), os("n1", record=Record("workers", NEW, failures=1, not_before=NOW + timedelta(minutes=3)))),
    ],
    ids=["ill-on-the-release", "held-on-the-release", "under-way", "has-another-turn"],
)
def test_a_canary_that_may_yet_prove_the_release_stays_one(first: Part) -> None:
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
    made = planned(first, unfetched("n2"), spec=change(canary=CANARY), status=before)
    found = made.statuses["workers"].canary
    assert found
    assert found.nodes == ("n1",)


@pytest.mark.parametrize(
    "known",
    [{"undrainable": {"n1": (STUCK,)}}, {"pending": frozenset({"n1"}), "resting": frozenset({"n1"})}],
    ids=["undrainable", "not-accepted"],
)
def test_a_canary_that_nobody_waits_for_is_replaced(known: dict[str, object]) -> None:
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
    made = planned(ready("n1"), ready("n2"), ready("n3"), spec=change(canary=CANARY), status=before, **known)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n2",))
    assert [action.node for action in made.actions] == ["n2"]


def test_a_canary_that_could_never_be_drained_stays_one_where_no_other_node_can_be() -> None:
    before = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n2",)))
    undrainable = {"n1": (STUCK,), "n2": (STUCK,)}
    made = planned(ready("n1"), ready("n2"), spec=change(canary=CANARY), status=before, undrainable=undrainable)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n2",))
    assert made.verdicts["n2"].reason is Reason.Undrainable


def test_a_canary_in_the_place_of_another_runs_for_as_long() -> None:
    status = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n0", "n1"), text(NOW - timedelta(minutes=9))))
    made = planned(done("n1"), done("n2"), unfetched("n3"), spec=change(canary=Canary(2, "10m")), status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1", "n2"), text(NOW))
    assert made.wake == NOW + timedelta(minutes=10)


def test_fewer_canaries_than_before_need_not_soak_anew() -> None:
    since = text(NOW - timedelta(minutes=9))
    status = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1", "n2"), since))
    made = planned(done("n1"), done("n2"), unfetched("n3"), spec=change(canary=CANARY), status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",), since)


def test_fewer_canaries_than_are_wanted_prove_nothing() -> None:
    spec = change(canary=Canary(2, "0s"))
    made = planned(done("n1"), unfetched("n2", hold="debugging"), unfetched("n3", ready=False), spec=spec)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",))


@pytest.mark.parametrize("first", [(), (done("n1", ready=False),), (done("n1", hold="debugging", ready=False),)])
def test_what_the_canaries_have_proved_stays_proved(first: tuple[Part, ...]) -> None:
    proved = CanaryStatus(NEW, ("n1",), text(NOW - timedelta(hours=2)), text(NOW - timedelta(hours=1)))
    status = RolloutStatus(release=RELEASE, canary=proved)
    spec = change(canary=CANARY)
    made = planned(*first, unfetched("n2"), unfetched("n3"), spec=spec, status=status)
    assert [action.node for action in made.actions] == ["n2", "n3"]
    assert made.statuses["workers"].canary == proved


def test_another_attempt_has_to_be_proved_anew() -> None:
    proved = CanaryStatus(NEW, ("n1",), text(NOW - timedelta(hours=2)), text(NOW - timedelta(hours=1)))
    status = RolloutStatus(release=RELEASE, canary=proved)
    made = planned(unfetched("n1"), unfetched("n2"), spec=change(canary=CANARY, attempt=1), status=status)
    assert made.statuses["workers"].canary == CanaryStatus(NEW, ("n1",))
    assert made.verdicts["n2"].reason is Reason.AwaitingCanary


def test_there_are_no_more_canaries_than_a_status_can_name() -> None:
    parts = [unfetched(f"n{number:03}") for number in range(100)]
    found = planned(*parts, spec=change(canary=Canary("100%"))).statuses["workers"]
    assert found.canary
    assert len(found.canary.nodes) == 64
    assert parse(RolloutStatus, document(found), "status") == found


@pytest.mark.parametrize(("nodes", "is_taken"), [(64, True), ("100%", True), (65, False)])
def test_more_canaries_than_that_are_refused_as_a_number(nodes: Amount, is_taken: bool) -> None:
    wanted = {"release": RELEASE, "canary": {"nodes": nodes}}
    with nullcontext() if is_taken else pytest.raises(ProaError, match=r"canary\.nodes 65 is not from 0 to 64"):
        parse(RolloutSpec, wanted, "spec")


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
    again = node("n1", zone="b"), os("n1", record=Record("workers", NEW, failures=1, not_before=NOW))
    made = planned(again, ready("n2", zone="a", control_plane=True))
    assert [action.node for action in made.actions] == ["n1"]


def test_the_order_is_by_tries_zone_and_name() -> None:
    spec = change(max_unavailable=4, order=Turns(zones=Zones.IGNORE))
    again = node("n0", zone="a"), os("n0", record=Record("workers", NEW, parks=1, not_before=NOW))
    made = planned(again, ready("n3", zone="a"), ready("n1", zone="b"), ready("n2", zone="a"), spec=spec)
    assert [action.node for action in made.actions] == ["n2", "n3", "n1", "n0"]


@pytest.mark.parametrize(
    ("status", "wave"),
    [
        (None, "a"),
        (RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",), "")), "Canary"),
    ],
)
def test_the_status_names_the_wave(status: RolloutStatus | None, wave: str) -> None:
    spec = change(canary=Canary(1, "1m")) if status else SPEC
    part = marked(labels={ZONE: "a"}), os()
    assert planned(part, spec=spec, status=status).statuses["workers"].wave == wave


def test_a_condition_keeps_its_time_as_long_as_its_status() -> None:
    before = planned(ready()).statuses["workers"]
    old = tuple(dataclasses.replace(one, last_transition_time="2025-01-01T00:00:00Z") for one in before.conditions)
    after = planned(done(), status=dataclasses.replace(before, conditions=old)).statuses["workers"]
    times = {one.type: one.last_transition_time for one in after.conditions}
    assert times["Valid"] == "2025-01-01T00:00:00Z"
    assert times["Complete"] == text(NOW)


def test_a_plan_that_was_written_asks_for_nothing_more() -> None:
    made = planned(done())
    again = planned(done(), status=made.statuses["workers"])
    assert again.statuses["workers"] == made.statuses["workers"]
    assert acts(again) == []
