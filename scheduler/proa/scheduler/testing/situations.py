"""Situations that the planner is put in: a node, or a few, as the API server and their agents tell of them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    Booted,
    Condition,
    NodeStatus,
    Observed,
    Order,
    OrderResult,
    Phase,
    Proof,
    Standby,
)
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Action
from proa.scheduler.planning.planner import Plan, plan
from proa.scheduler.planning.views import (
    CONTROL_PLANE,
    ZONE,
    Mark,
    NodeOSView,
    NodeRecord,
    NodeView,
    RolloutView,
    Snapshot,
)
from proa.scheduler.spec.rollout import (
    Canary,
    HealthPolicy,
    RolloutSpec,
)
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutStatus

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
FIRST_ID = int(timedelta(days=4, hours=12).total_seconds())
"""Of an object that had no order before."""
NEW = "sha256:" + "2" * 64
OLD = "sha256:" + "1" * 64
RELEASE = f"registry.example/node@{NEW}"
SPEC = RolloutSpec(RELEASE, max_unavailable=1, health=HealthPolicy(ready_seconds=60))
RUNS_OLD = Booted("a", "1", OLD, "1" * 64, "boot-1", True)
TRIES_NEW = Booted("b", "2", NEW, "2" * 64, "boot-2", False)
RUNS_NEW = dataclasses.replace(TRIES_NEW, committed=True)
EMPTY = Standby("b")
HAS_NEW = Standby("b", "2", NEW, "2" * 64, "staged", True, False)
HAS_OLD = Standby("a", "1", OLD, "1" * 64, "fallback", True, True)
WELL = (Condition("Healthy", "True"),)
STUCK = Blocker(
    "n1", "shop/web", "shop/all", reason="pod shop/web: disruption budget shop/all never allows an eviction"
)
MARK = Mark("workers", NEW, NOW - timedelta(minutes=5), True, "boot-1")
Part = tuple[NodeView, NodeOSView | None]


def order(verb: Verb, number: int = 1, issued: datetime = NOW, **rest: Any) -> Order:
    """An order of this release, given now."""
    release = "" if verb is Verb.COMMIT else RELEASE
    return dataclasses.replace(Order(number, verb, 1, release, issued=text(issued)), **rest)


def says(
    booted: Booted = RUNS_OLD,
    standby: Standby = HAS_NEW,
    seen: Order | None = None,
    result: OrderResult = OrderResult.DONE,
    **rest: Any,
) -> NodeStatus:
    """What an agent says: by default that it runs the old release, and has fetched the new one."""
    observed = Observed(seen.id, seen.action.value, result.value) if seen else None
    status = NodeStatus(booted=booted, standby=standby, observed_order=observed, phase=Phase.GOOD)
    return dataclasses.replace(status, **rest)


def node(name: str = "n1", *, zone: str = "", control_plane: bool = False, **rest: Any) -> NodeView:
    """A node that has been Ready for an hour, on its first boot."""
    labels = ({ZONE: zone} if zone else {}) | ({CONTROL_PLANE: ""} if control_plane else {})
    view = NodeView(name, f"uid-{name}", labels, boot_id="boot-1", ready_since=NOW - timedelta(hours=1))
    return dataclasses.replace(view, **rest)


def node_os(
    name: str = "n1", status: NodeStatus | None = None, given: Order | None = None, record: NodeRecord | None = None
) -> NodeOSView:
    """A node's object."""
    return NodeOSView(name, f"os-{name}", f"uid-{name}", given, status or says(), record)


def marked(name: str = "n1", mark: Mark = MARK, **rest: Any) -> NodeView:
    """A node that was cordoned for the rollout."""
    changes: dict[str, Any] = {"mark": mark, "unschedulable": True} | rest
    return node(name, **changes)


def planned(*parts: Part, spec: RolloutSpec = SPEC, status: RolloutStatus | None = None, **rest: Any) -> Plan:
    """What the planner makes of these nodes and a rollout; ``rest`` are fields of the snapshot."""
    view = RolloutView("workers", "uid", 3, spec, status or RolloutStatus(release=spec.release, attempt=spec.attempt))
    nodes = {one.name: one for one, _ in parts}
    oses = {one.name: its for one, its in parts if its is not None}
    rollouts = {"workers": view}
    snapshot = Snapshot(nodes, oses, rollouts)
    return plan(dataclasses.replace(snapshot, **rest), NOW)


def ready(name: str = "n1", **rest: Any) -> Part:
    """A node that has fetched the release."""
    return node(name, **rest), node_os(name)


def done(name: str = "n1", **rest: Any) -> Part:
    """A node that runs the release."""
    return node(name, **rest), node_os(name, says(RUNS_NEW, HAS_OLD))


def unfetched(name: str = "n1", **rest: Any) -> Part:
    """A node that has not fetched the release."""
    return node(name, **rest), node_os(name, says(standby=EMPTY))


def trial(name: str = "n1", given: Order | None = None, status: NodeStatus | None = None, **rest: Any) -> Part:
    """A node that tries the release, and is well."""
    given = given or order(Verb.BOOT)
    changes: dict[str, Any] = {"boot_id": "boot-2", "ready_since": NOW - timedelta(minutes=2)} | rest
    view = marked(name, **changes)
    return view, node_os(name, status or says(TRIES_NEW, HAS_OLD, given, conditions=WELL), given)


def change(**changes: Any) -> RolloutSpec:
    """The rollout's spec with other values."""
    return dataclasses.replace(SPEC, **changes)


CANARY = Canary(1, "10m")
HALTED = RolloutStatus(release=RELEASE, halted="failed on 1 nodes")
BOOT = order(Verb.BOOT)
COMMIT = order(Verb.COMMIT, 2, trial=Proof("boot-2", "2" * 64))
LATE = order(Verb.BOOT, issued=NOW - timedelta(minutes=20))
LATE_COUNTED = NodeRecord("workers", NEW, failures=1, failed=True, order=1, mark=MARK.since, reason="BootTimeout")


def acts(made: Plan) -> list[Action]:
    """What a plan does."""
    return list(made.actions)


SILENT = NodeOSView("n1", "os-n1", "uid-n1")
ANOTHERS = NodeOSView("n1", "os-n1", "uid-0")


def two_of(status: RolloutStatus) -> dict[str, RolloutView]:
    """The rollout, and another one that selects the same nodes."""
    return {name: RolloutView(name, name, 3, SPEC, status) for name in ("workers", "others")}


GIVEN_UP = NodeRecord("workers", NEW, failures=3, failed=True)
