"""Why a node does or does not move: every reason once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    NodeStatus,
    Order,
    OrderResult,
)
from proa.core.settings.document import parse
from proa.scheduler.kube.times import text
from proa.scheduler.objects.annotations import UNREADABLE
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    AlertsView,
    DrainView,
    NodeOSView,
    NodeRecord,
    RolloutView,
)
from proa.scheduler.simulation.node_status import UNSET, tried
from proa.scheduler.spec.rollout import (
    Alert,
    Approval,
    Budget,
    ControlPlane,
    Drain,
    FailurePolicy,
    Group,
    HealthPolicy,
    OnFailure,
    Selector,
    SettingsDisruption,
    Staging,
    Turns,
    Undrainable,
    WaitFor,
)
from proa.scheduler.spec.rolloutstatus import CanaryStatus, LostNodes, RolloutStatus, ZoneStatus
from proa.scheduler.testing.situations import (
    BOOT,
    CANARY,
    COMMIT,
    EMPTY,
    HALTED,
    HAS_OLD,
    LATE,
    LATE_COUNTED,
    NEW,
    NOW,
    RELEASE,
    RUNS_NEW,
    SPEC,
    STUCK,
    TRIES_NEW,
    Part,
    change,
    done,
    marked,
    node,
    node_os,
    order,
    planned,
    ready,
    says,
    trial,
    unfetched,
)

PROVED = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n2",), text(NOW - timedelta(minutes=2))))
LOST = LostNodes(1, ("n3",), text(NOW))
UNPROVED = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n2",)))
CLOSED = (Budget("0 22 * * *", "2h"),)
OPEN = (Budget("0 11 * * *", "65m"),)
FETCH = order(Verb.STAGE)
EDGE = {"tier": "edge"}
GROUPS = Turns(groups=(Group("edge", Selector(EDGE), "1h"),))
ZONE_A = RolloutStatus(release=RELEASE, zone=ZoneStatus("a", text(NOW)))
LONG_UNDER_WAY = RolloutStatus(release=RELEASE, started_at=text(NOW - timedelta(hours=5)))
JOINER = node(), dataclasses.replace(node_os(), created=NOW)
CRITICAL = (Alert("critical", "ALERTS"),)
ASKS = change(health=HealthPolicy(alerts=CRITICAL))
PATIENT = Drain(wait_for=WaitFor(Selector({"job": "nightly"}), "1h"))


CALM = change(settings={"sysctl": {"vm.swappiness": 10}})
CONFIGURE = order(Verb.CONFIGURE, settings='{"sysctl":{"vm.swappiness":10}}')
CALM_STATUS = RolloutStatus(release=RELEASE, settings=parse(CONFIGURE.settings).digest)
SETTABLE = says(RUNS_NEW, HAS_OLD, CONFIGURE, settings=UNSET)


def settable(status: NodeStatus = SETTABLE, given: Order | None = None, **rest: Any) -> Part:
    """A node that runs the release, and can be configured."""
    return node(boot_id="boot-2", **rest), node_os(status=status, given=given)


def said(firing: tuple[str, ...]) -> dict[str, AlertsView]:
    return {"workers": AlertsView(CRITICAL, NOW, firing)}


REASONS: dict[Reason, Callable[[], Plan]] = {
    Reason.UpToDate: lambda: planned(done()),
    Reason.BackOnOld: lambda: planned(
        ready(), spec=change(failure=FailurePolicy(0, OnFailure.ROLLBACK)), status=HALTED
    ),
    Reason.Staging: lambda: planned(
        (node(), node_os(status=says(standby=EMPTY, seen=FETCH, result=OrderResult.RUNNING), given=FETCH))
    ),
    Reason.Draining: lambda: planned((marked(), node_os())),
    Reason.AwaitingPods: lambda: planned(
        (marked(), node_os()), spec=change(drain=PATIENT), drains={"n1": DrainView(False, waits=(STUCK,))}
    ),
    Reason.Booting: lambda: planned((marked(), node_os(given=BOOT))),
    Reason.Proving: lambda: planned(trial(ready_since=NOW - timedelta(seconds=59))),
    Reason.Committing: lambda: planned(trial()),
    Reason.Configuring: lambda: planned(settable(), spec=CALM),
    Reason.ProvingSettings: lambda: planned(
        settable(tried(SETTABLE, parse(CONFIGURE.settings)), CONFIGURE, ready_since=NOW), spec=CALM, status=CALM_STATUS
    ),
    Reason.DisturbsMore: lambda: planned(
        settable(), spec=change(settings={"kubelet": {"maxPods": 9}}, settings_disruption=SettingsDisruption.NONE)
    ),
    Reason.CannotBeSet: lambda: planned(done(), spec=CALM),
    Reason.Finishing: lambda: planned(
        (
            marked(boot_id="boot-2", ready_since=NOW - timedelta(seconds=30)),
            node_os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT),
        )
    ),
    Reason.Next: lambda: planned(ready()),
    Reason.StageNext: lambda: planned(unfetched()),
    Reason.Paused: lambda: planned(ready(), spec=change(paused=True)),
    Reason.AwaitingApproval: lambda: planned(ready(), spec=change(approval=Approval.REQUIRED)),
    Reason.Held: lambda: planned(ready(hold="debugging")),
    Reason.Excluded: lambda: planned(ready(excluded=True)),
    Reason.ControlPlaneExcluded: lambda: planned(
        ready(control_plane=True), spec=change(order=Turns(control_plane=ControlPlane.EXCLUDE))
    ),
    Reason.Conflict: lambda: planned(
        ready(), rollouts={name: RolloutView(name, name, 1, SPEC) for name in ("workers", "others")}
    ),
    Reason.Halted: lambda: planned(ready(), status=HALTED),
    Reason.ForeignTrial: lambda: planned((node(), node_os(status=says(TRIES_NEW, HAS_OLD)))),
    Reason.ForeignMark: lambda: planned((marked(mark=UNREADABLE), node_os())),
    Reason.NothingToReturnTo: lambda: planned(
        (node(), node_os(status=says(RUNS_NEW, EMPTY))),
        spec=change(failure=FailurePolicy(0, OnFailure.ROLLBACK)),
        status=HALTED,
    ),
    Reason.TakingBack: lambda: planned(
        (marked(), node_os(given=LATE, record=LATE_COUNTED)), spec=change(failure=FailurePolicy(1))
    ),
    Reason.LetGo: lambda: planned((marked(), node_os()), rollouts={}),
    Reason.New: lambda: planned((node(), None)),
    Reason.Recreated: lambda: planned((node(uid="another"), node_os())),
    Reason.AgentSilent: lambda: planned((node(), NodeOSView("n1", "os-n1", "uid-n1"))),
    Reason.NotReady: lambda: planned(ready(ready=False)),
    Reason.BackingOff: lambda: planned(
        (node(), node_os(record=NodeRecord("workers", NEW, failures=1, not_before=NOW + timedelta(minutes=3))))
    ),
    Reason.Parked: lambda: planned(
        (node(), node_os(record=NodeRecord("workers", NEW, parks=1, not_before=NOW + timedelta(minutes=3))))
    ),
    Reason.GivenUp: lambda: planned(
        (node(), node_os(record=NodeRecord("workers", NEW, failures=3, failed=True))),
        spec=change(failure=FailurePolicy(1)),
    ),
    Reason.Cordoned: lambda: planned(ready(unschedulable=True)),
    Reason.Leaving: lambda: planned(ready(leaving="it is being deleted")),
    Reason.NodesLost: lambda: planned(
        ready(), spec=change(failure=FailurePolicy(1)), status=RolloutStatus(release=RELEASE, lost=LOST)
    ),
    Reason.NoAgent: lambda: planned((node(), NodeOSView("n1", "os", "uid-n1", created=NOW - timedelta(hours=1)))),
    Reason.WriteRefused: lambda: planned(
        ready(), pending=frozenset({"n1"}), resting=frozenset({"n1"}), refused={"n1": "no"}
    ),
    Reason.AlertsFiring: lambda: planned(ready(), spec=ASKS, alerts=said(("critical: Down",))),
    Reason.AlertsUnknown: lambda: planned(ready(), spec=ASKS),
    Reason.NoFreeSlot: lambda: planned(ready(), (node("n2", ready=False), node_os("n2"))),
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
    Reason.ZoneSoaking: lambda: planned(
        ready(zone="b"), done("n2", zone="a"), spec=change(order=Turns(zone_soak="1h")), status=ZONE_A
    ),
    Reason.WaveUnwell: lambda: planned(
        ready(), done("n2", labels=EDGE, ready=False), spec=change(order=GROUPS, max_unavailable=9)
    ),
    Reason.EarlierGroup: lambda: planned(ready(), ready("n2", labels=EDGE), spec=change(order=GROUPS)),
    Reason.JoinedLater: lambda: planned(JOINER, ready("n2"), status=LONG_UNDER_WAY),
    Reason.GroupSoaking: lambda: planned(ready(), done("n2", labels=EDGE), spec=change(order=GROUPS)),
    Reason.ControlPlaneLater: lambda: planned(ready(control_plane=True), ready("n2")),
    Reason.ControlPlaneFirst: lambda: planned(
        ready(), ready("n2", control_plane=True), spec=change(order=Turns(control_plane=ControlPlane.FIRST))
    ),
    Reason.ControlPlaneBusy: lambda: planned(
        ready(control_plane=True), ready("n2", control_plane=True, ready=False), spec=change(max_unavailable=2)
    ),
    Reason.Undrainable: lambda: planned(
        ready(), spec=change(drain=Drain(undrainable=Undrainable.SKIP)), undrainable={"n1": (STUCK,)}
    ),
    Reason.OwnNodeLast: lambda: planned(ready(), ready("n2"), own_node="n1"),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_each_reason_is_given_where_it_holds(reason: Reason) -> None:
    assert REASONS[reason]().verdicts["n1"].reason is reason


def test_a_node_that_can_never_be_drained_is_told_of_and_others_go_on() -> None:
    skips = change(drain=Drain(undrainable=Undrainable.SKIP))
    found = planned(ready(), ready("n2"), spec=skips, undrainable={"n1": (STUCK,)})
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
