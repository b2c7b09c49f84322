"""One look at a live cluster. Nothing is watched, and of each page only what the planner sees is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.drain import undrainable
from proa.scheduler.kube import paths
from proa.scheduler.kube.server import Server, items, unless
from proa.scheduler.kube.stream import Object
from proa.scheduler.objects import reading
from proa.scheduler.planning.status import REFUSED, WAITS
from proa.scheduler.planning.views import DrainView, NodeView, RolloutView, Snapshot, alerts_of, with_static_pods
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.scheduler.spec.rolloutstatus import Blocker


@dataclass(frozen=True)
class ClusterLook:
    """What a verb looks at.

    Attributes:
        snapshot: What is known.
        now: When that was.
        notes: What is not, in sentences.
    """

    snapshot: Snapshot
    now: datetime
    notes: tuple[str, ...] = ()


def look(api: Server, *, rollout: str = "", node: str = "", clock: Clock = SYSTEM) -> ClusterLook:
    """A snapshot of the live cluster.

    Args:
        api: Its API server.
        rollout: The rollout that it is for: what could never be drained is looked at there only; everywhere if empty.
        node: The same of a node.
        clock: The clock.

    Raises:
        ApiError: For any answer that is not 2xx, or none.
    """
    snapshot, now = snapshot_of(api), clock.now()
    snapshot, notes = undrainable.look_ahead(api, snapshot, now, rollout=rollout, node=node)
    return ClusterLook(snapshot, now, notes)


V = TypeVar("V")


def snapshot_of(api: Server, *, since: datetime | None = None) -> Snapshot:
    """What is known of the cluster now.

    Pods are not looked at: what keeps nodes from being drained is what the rollouts' statuses say about it. They also
    say where the scheduler runs.

    Args:
        api: The API server.
        since: Since when all that happens has been seen; none if no node is to be blamed for silence.

    Raises:
        ApiError: For any answer that is not 2xx, or none; ``CLUSTER_MISSING`` where Proa is not installed.
    """
    rollouts = _all(api, OS_ROLLOUTS, reading.rollout)
    static = unless(lambda: list(items(api, paths.STATIC_PODS, {"labelSelector": paths.STATIC_PODS_SELECTOR})), 403)
    nodes = with_static_pods(_all(api, paths.NODES, reading.node), map(reading.host, static or ()))
    oses = _all(api, NODE_OSES, reading.node_os)
    told, refused = _blockers(nodes, rollouts), _refused(nodes, rollouts)
    return Snapshot(
        nodes,
        oses,
        rollouts,
        drains_of(nodes, rollouts),
        own_node=next((view.status.scheduler_node for view in rollouts.values() if view.status.scheduler_node), ""),
        since=since,
        undrainable={name: found for name, found in told.items() if not nodes[name].mark},
        pending=frozenset(refused),
        resting=frozenset(refused),
        refused=refused,
        alerts=alerts_of(rollouts),
    )


def drains_of(nodes: Mapping[str, NodeView], rollouts: Mapping[str, RolloutView]) -> dict[str, DrainView]:
    """How drains stand, as the rollouts' statuses tell it."""
    told = _blockers(nodes, rollouts)
    return {name: _drain(found) for name, found in told.items() if nodes[name].mark}


def _drain(told: Iterable[Blocker]) -> DrainView:
    """How a drain stands of which a status tells this."""
    found = {waits: tuple(one for one in told if one.reason.startswith(WAITS) is waits) for waits in (True, False)}
    return DrainView(False, found[False], found[True])


def _blockers(nodes: Mapping[str, NodeView], rollouts: Mapping[str, RolloutView]) -> dict[str, tuple[Blocker, ...]]:
    """What is in the way on which node: of a drain where it has our mark, else of one that could not even begin."""
    told = (one for view in rollouts.values() for one in view.status.blockers if one.node in nodes)
    return by_node(one for one in told if not one.reason.startswith(REFUSED))


def _refused(nodes: Mapping[str, NodeView], rollouts: Mapping[str, RolloutView]) -> dict[str, str]:
    """By node: what the cluster said to the scheduler's last write, where that was not accepted."""
    told = (one for view in rollouts.values() for one in view.status.blockers if one.node in nodes)
    return {one.node: one.reason.removeprefix(REFUSED) for one in told if one.reason.startswith(REFUSED)}


def by_node(blockers: Iterable[Blocker]) -> dict[str, tuple[Blocker, ...]]:
    """What is in the way, by the name of the node."""
    found: dict[str, tuple[Blocker, ...]] = {}
    for one in blockers:
        found[one.node] = (*found.get(one.node, ()), one)
    return found


def _all(api: Server, path: str, project: Callable[[Object, V | None], V]) -> dict[str, V]:
    return {str(item["metadata"]["name"]): project(item, None) for item in items(api, path)}
