"""What Prometheus says against a start: nothing is believed but an answer that is there, fresh and empty."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from proa.core.schema.model import document, parse
from proa.scheduler.kube.times import text
from proa.scheduler.planning.gates import BELIEVED
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import AlertsView, RolloutView, Snapshot, alerts_of
from proa.scheduler.report.explain import explain
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.simulate import resume, run
from proa.scheduler.spec.rollout import Alert, Budget, FailurePolicy, HealthPolicy, OnFailure, RolloutSpec
from proa.scheduler.spec.rolloutstatus import MAX_ALERT, AlertsStatus, RolloutStatus
from proa.scheduler.testing.lagging import FIRST, a_world
from proa.scheduler.testing.situations import HALTED, NOW, RELEASE, Part, change, done, marked, planned, ready

CRITICAL = (Alert("critical", "ALERTS"), Alert("latency", "x > 1"))
ASKS = change(health=HealthPolicy(alerts=CRITICAL))
FIRING = ("critical: NodeDown node=n7",)


def said(firing: tuple[str, ...] = (), error: str = "", ago: timedelta = timedelta(0), **rest: Any) -> Any:
    return {"workers": AlertsView(CRITICAL, NOW - ago, firing, error, **rest)}


def looks(*parts: Part, alerts: Any = None, **rest: Any) -> Plan:
    return planned(*(parts or (ready(),)), **{"spec": ASKS, "alerts": alerts or {}, **rest})


def reason(made: Plan, name: str = "n1") -> Reason:
    return made.verdicts[name].reason


def test_a_node_starts_only_once_all_is_quiet() -> None:
    first = looks()
    assert (first.actions, sorted(first.asks), reason(first)) == ((), ["workers"], Reason.AlertsUnknown)
    assert first.statuses["workers"].phase == "Progressing"  # the answer is on its way
    quiet = looks(alerts=said())
    assert [action.node for action in quiet.actions] == ["n1"]


def test_an_alert_that_fires_is_told_in_the_status_and_holds_all_back() -> None:
    made = looks(ready(), ready("n2"), alerts=said(FIRING, since=NOW - timedelta(minutes=3)))
    assert made.actions == ()
    assert (reason(made), made.verdicts["n1"].detail) == (Reason.AlertsFiring, FIRING[0])
    assert reason(made, "n2") is Reason.NoFreeSlot
    status = made.statuses["workers"]
    assert status.alerts == AlertsStatus(FIRING, "", text(NOW - timedelta(minutes=3)))
    assert status.phase == "Waiting"
    assert looks(alerts=said(), status=status).statuses["workers"].alerts is None


@pytest.mark.parametrize(
    ("alerts", "detail"),
    [
        ({}, "it has not answered yet"),
        ({"another": AlertsView(CRITICAL, NOW)}, "it has not answered yet"),
        ({"workers": AlertsView(CRITICAL[:1], NOW)}, "it has not answered yet"),
        (said(error="critical: it cannot be reached"), "critical: it cannot be reached"),
        (said(ago=BELIEVED), "it was last asked at 2026-01-05T11:59:30Z"),
    ],
    ids=["nothing", "of-another", "of-other-queries", "an-error", "too-old"],
)
def test_what_is_not_known_holds_back(alerts: Any, detail: str) -> None:
    made = looks(alerts=alerts)
    assert (made.actions, reason(made), made.verdicts["n1"].detail) == ((), Reason.AlertsUnknown, detail)
    assert made.asks == {"workers"}


def test_an_answer_counts_until_it_is_too_old() -> None:
    assert looks(alerts=said(ago=BELIEVED - timedelta(seconds=1))).actions


@pytest.mark.parametrize(
    ("parts", "changes"),
    [
        ((ready(), (marked("n2"), None)), {}),
        ((done(),), {}),
        ((ready(hold="debugging"),), {}),
        ((ready(),), {"paused": True}),
        ((ready(),), {"budgets": (Budget("0 22 * * *", "1h"),)}),
        ((ready(),), {"max_unavailable": 0}),
    ],
    ids=["no-place", "done", "held", "paused", "no-window", "no-budget"],
)
def test_nothing_is_asked_while_no_node_could_start(parts: tuple[Part, ...], changes: dict[str, Any]) -> None:
    assert looks(*parts, spec=dataclasses.replace(ASKS, **changes)).asks == frozenset()


def test_a_rollout_without_queries_asks_nothing() -> None:
    made = looks(spec=change())
    assert (made.asks, [action.node for action in made.actions]) == (frozenset(), ["n1"])


def test_the_way_back_asks_nothing() -> None:
    spec = dataclasses.replace(ASKS, failure=FailurePolicy(0, OnFailure.ROLLBACK))
    made = looks(done(), spec=spec, status=HALTED, alerts=said(FIRING))
    assert [action.node for action in made.actions] == ["n1"]
    assert made.asks == frozenset()


def test_a_status_holds_whatever_is_said() -> None:
    made = looks(alerts=said(tuple("x" * 2000 for _ in range(16)), "y" * 2000))
    told = made.statuses["workers"]
    assert told.alerts
    assert {len(one) for one in (*told.alerts.firing, told.alerts.error)} == {MAX_ALERT}
    assert parse(RolloutStatus, document(told), "status") == told


def test_people_read_it_in_the_status() -> None:
    told = AlertsStatus(FIRING, "", text(NOW - timedelta(minutes=20)))
    view = RolloutView("workers", "u", 1, ASKS, RolloutStatus(release=RELEASE, alerts=told))
    view_of, its = ready()
    snapshot = Snapshot(
        {"n1": view_of}, {"n1": its} if its else {}, {"workers": view}, alerts=alerts_of({"workers": view})
    )
    (gate,) = explain(snapshot, "n1", NOW).gates
    assert (gate.reason, gate.detail, gate.since) == ("AlertsFiring", FIRING[0], told.since)
    quiet = dataclasses.replace(view, status=RolloutStatus(release=RELEASE))
    assert alerts_of({"workers": quiet})["workers"].is_quiet
    assert alerts_of({"workers": dataclasses.replace(view, spec=change())}) == {}


@pytest.mark.parametrize("told", [None, AlertsStatus(FIRING), AlertsStatus(error="it cannot be reached")])
def test_a_forecast_takes_prometheus_for_quiet(told: AlertsStatus | None) -> None:
    world = a_world(3, RolloutSpec(FIRST, health=HealthPolicy(alerts=CRITICAL)))
    view = world.rollouts["workers"]
    world.rollouts["workers"] = dataclasses.replace(view, status=dataclasses.replace(view.status, alerts=told))
    course = run(resume(world.snapshot(), world.now, Behaviour()))
    assert course.statuses["workers"].phase == "Complete"
