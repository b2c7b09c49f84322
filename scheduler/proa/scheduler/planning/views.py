"""What the planner sees: nodes, their orders and what they say, rollouts, and how drains stand. Plain values only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from proa.core.orders.messages import FIRST, NodeStatus, Order
from proa.core.schema import model
from proa.scheduler.kube.times import read
from proa.scheduler.spec import rules
from proa.scheduler.spec.rollout import Alert, RolloutSpec
from proa.scheduler.spec.rolloutstatus import AlertsStatus, Blocker, RolloutStatus

MARK: Final = "proa.dev/mark"
"""Annotation of a Node: it is ours to bring back. Set and taken away together with the cordon."""
FENCE: Final = "proa.dev/fence"
"""Annotation of a Node: the fence of the leader that set the mark."""
HOLD: Final = "proa.dev/hold"
"""Annotation of a Node by a person: it is not started; the value says why."""
EXCLUDE: Final = "proa.dev/exclude"
"""Annotation of a Node by a person: no rollout counts it."""
PAUSED: Final = "proa.dev/paused"
"""Annotation of an OSRollout by ``kubectl proa pause``: no more nodes start. What is in git knows nothing of it."""
ATTEMPT: Final = "proa.dev/attempt"
"""Annotation of an OSRollout by ``kubectl proa resume --attempt``: the attempt, where the spec has a lower one."""
APPROVED: Final = "proa.dev/approved"
"""Annotation of an OSRollout by ``kubectl proa approve``: the release that a person has approved, who, and when."""
APPROVED_GROUPS: Final = "approved.proa.dev/"
"""How annotations of an OSRollout by ``kubectl proa approve --group`` begin: the same for a group, whose name follows.

An annotation each, so that two people who approve two groups at once do not take one another's approval away.
"""
IN_NO_GROUP: Final = "in_no_group"
"""What follows for the nodes that are in no group: no group can have that name."""
RECORD: Final = "proa.dev/record"
"""Annotation of a NodeOS: what went wrong there, and when it has its next turn."""
ZONE: Final = "topology.kubernetes.io/zone"
CONTROL_PLANE: Final = rules.CONTROL_PLANE
QUORUM: Final = frozenset({CONTROL_PLANE, "node-role.kubernetes.io/master", "node-role.kubernetes.io/etcd"})
"""Labels and taints of nodes that a quorum may depend on: they go one at a time."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Our mark on a node."""

    rollout: str = model.field("Whose turn it is.")
    release: str = model.field("The digest that the node is taken to; in a rollback, the one that it is taken from.")
    since: datetime = model.field("When it was set.")
    cordoned: bool = model.field("Whether the cordon is ours; not if a person had set one before.")
    boot_id: str = model.field("The boot that ran then.", name="bootID")
    root_hash: str = model.field("Of what the node is to boot; empty if its agent did not say.", default="")


@dataclass(frozen=True, slots=True)
class NodeView:
    """A Node.

    Attributes:
        ready_since: When the Ready condition became what it is, by our clock; of what was so before we looked, at most
            as long ago as the node's own clock says.
        ready_said: The same as the node says it.
        boot_id: What its kubelet reports.
        fence: Of the leader that set the mark.
        hold: Why a person holds it; none if nobody does.
        attached: Volumes that are attached to it, by their unique names.
        leaving: Why it is about to go for good, as the cluster says; empty if it is not.
        zone: Its zone; empty where it has no label.
        role: What tells that it is of the control plane or has a member of etcd, where no label does: a taint, or its
            static pods; empty if nothing does.
        control_plane: Whether it is of the control plane, or has a member of etcd.
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    ready: bool = True
    ready_since: datetime | None = None
    unschedulable: bool = False
    boot_id: str = ""
    mark: Mark | None = None
    fence: int = -1
    hold: str | None = None
    excluded: bool = False
    attached: tuple[str, ...] = ()
    leaving: str = ""
    role: str = ""
    ready_said: str = field(default="", compare=False)
    zone: str = field(init=False)
    control_plane: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "zone", self.labels.get(ZONE, ""))
        object.__setattr__(self, "control_plane", bool(self.role) or not QUORUM.isdisjoint(self.labels))


def with_static_pods(nodes: Mapping[str, NodeView], hosts: Iterable[str]) -> Mapping[str, NodeView]:
    """Nodes, of which those with static pods of the control plane are of it, whatever became of labels and taints."""
    known = {name for name in hosts if name in nodes and not nodes[name].control_plane}
    changed = {name: dataclasses.replace(nodes[name], role="static pods") for name in known}
    return {**nodes, **changed} if changed else nodes


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What went wrong on a node on the way to one release."""

    rollout: str = model.field("Whose release it was.")
    release: str = model.field("Its digest.")
    attempt: int = model.field("In which attempt.", default=0)
    failures: int = model.field("Orders that failed.", default=0)
    parks: int = model.field("Drains that took too long, and cordons that a person removed.", default=0)
    not_before: datetime | None = model.field("When it has its next turn.", default=None)
    failed: bool = model.field("Whether it counts against the release.", default=False)
    order: int = model.field("The id of the last order that was counted.", default=0)
    mark: datetime | None = model.field(
        "The mark of the attempt that was counted last: that attempt is over.", default=None
    )
    reason: str = model.field("The last reason, in one word.", default="")
    message: str = model.field("The same in a sentence.", default="")
    back: bool = model.field("Whether the attempts are those of a rollback.", default=False)
    settings: str = model.field("The hash of the settings that the node was to have.", default="")


@dataclass(frozen=True, slots=True)
class NodeOSView:
    """A NodeOS.

    Attributes:
        owner: The UID of the Node that it belongs to.
        created: When it was made; none if that is unknown.
    """

    name: str
    uid: str
    owner: str
    order: Order | None = None
    status: NodeStatus | None = None
    record: NodeRecord | None = None
    fence: int = -1
    created: datetime | None = None

    def next_id(self, now: datetime) -> int:
        """The id of the next order.

        An object that was made anew knows nothing of the orders of the one before, and its node takes no id that it has
        seen: the first one is the time, in seconds. Orders come seldom enough for that to be ahead of all before.
        """
        return self.order.id + 1 if self.order else max(1, int((now - FIRST).total_seconds()))


@dataclass(frozen=True, slots=True)
class RolloutView:
    """An OSRollout.

    Attributes:
        problem: Why its spec cannot be read; empty if it can.
        version: The resource version that it was read at: a status is written over this one only.
        approved: Who has approved its release, and when; empty if nobody has.
        approved_groups: The same by group; :data:`IN_NO_GROUP` for nodes in none.
    """

    name: str
    uid: str
    generation: int
    spec: RolloutSpec
    status: RolloutStatus = RolloutStatus()  # noqa: RUF009 -- frozen
    problem: str = ""
    version: str = ""
    approved: str = ""
    approved_groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The digest of its release."""
        return digest_of(self.spec.release)


@dataclass(frozen=True, slots=True)
class DrainView:
    """How the drain of a node stands.

    Attributes:
        done: Whether nothing is left to move, and nothing to detach.
        blockers: What is in the way.
        waits: Pods that may finish before anything is evicted.
        began: When there was nothing more to wait for; none before, and where it is not known.
    """

    done: bool
    blockers: tuple[Blocker, ...] = ()
    waits: tuple[Blocker, ...] = ()
    began: datetime | None = None


ALWAYS: Final = datetime.max.replace(tzinfo=UTC)
"""When an answer was given that counts at any time: one of a forecast."""


@dataclass(frozen=True, slots=True)
class AlertsView:
    """What Prometheus said about a rollout.

    Attributes:
        queries: What it was asked.
        asked_at: When.
        firing: Of which queries the result is not empty, and what is in it.
        error: Why some are not known; empty if all are.
        since: Since when it has not been quiet; when it was asked if it is.
    """

    queries: tuple[Alert, ...]
    asked_at: datetime
    firing: tuple[str, ...] = ()
    error: str = ""
    since: datetime = FIRST

    @property
    def is_quiet(self) -> bool:
        """Whether all is known, and empty."""
        return not self.firing and not self.error


def alerts_of(rollouts: Mapping[str, RolloutView]) -> dict[str, AlertsView]:
    """What Prometheus said as the statuses tell it: the scheduler alone asks it."""
    found = {}
    for name, view in rollouts.items():
        if queries := view.spec.health.alerts:
            told = view.status.alerts or AlertsStatus()
            found[name] = AlertsView(queries, ALWAYS, told.firing, told.error, read(told.since) or FIRST)
    return found


@dataclass(frozen=True)
class Snapshot:
    """All that is known at one moment.

    Attributes:
        drains: By node, of those that are being drained.
        daemon_sets: By node, of those that are being proved: which DaemonSet's pod is not ready; empty if all are.
        pending: Nodes that are left alone: a write of ours may not show yet, or was not accepted.
        resting: Those of them whose writes have all shown, and of which the cluster has not accepted the last one: they
            are not away by that, and nobody waits for them.
        own_node: Where this scheduler runs; empty if nowhere.
        since: Since when this scheduler has seen all that happens; it blames no node for the time before.
        undrainable: By node, of those that could be started next: what would keep it from being drained for ever.
        refused: By node, of those that rest: what was said to the last write.
        alerts: By rollout: what Prometheus said, as far as it was asked.
    """

    nodes: Mapping[str, NodeView]
    oses: Mapping[str, NodeOSView]
    rollouts: Mapping[str, RolloutView]
    drains: Mapping[str, DrainView] = field(default_factory=dict)
    daemon_sets: Mapping[str, str] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    own_node: str = ""
    since: datetime | None = None
    undrainable: Mapping[str, tuple[Blocker, ...]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    alerts: Mapping[str, AlertsView] = field(default_factory=dict)


def digest_of(release: str) -> str:
    """The digest of a reference; empty if it has none."""
    return release.rpartition("@")[2] if "@" in release else ""


def named_group(name: str) -> str:
    """A group that is to be approved, for a sentence."""
    return "nodes in no group" if name == IN_NO_GROUP else f"group {name}"
