"""One look at a live cluster. Nothing is watched, and of each page only what the planner sees is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Protocol, TypeVar

from proa.scheduler.kube import paths, reading
from proa.scheduler.kube.stream import Object
from proa.scheduler.planning.views import DrainView, NodeView, RolloutView, Snapshot
from proa.scheduler.spec.rolloutstatus import Blocker

V = TypeVar("V")


class Pages(Protocol):
    """What is asked of :class:`proa.scheduler.kube.api.Api`."""

    def pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Object]:
        """A collection, page by page."""
        ...


def snapshot(api: Pages, *, own_node: str = "", since: datetime | None = None) -> Snapshot:
    """What is known of the cluster now.

    Pods are not looked at: what keeps nodes from being drained is what the rollouts' statuses say about it.

    Args:
        api: The API server.
        own_node: Where the scheduler runs; empty if that does not matter.
        since: Since when all that happens has been seen; none if no node is to be blamed for silence.

    Raises:
        ApiError: For any answer that is not 2xx, or none; ``CLUSTER_MISSING`` where Proa is not installed.
    """
    rollouts = _all(api, paths.OS_ROLLOUTS, reading.rollout)
    nodes = _all(api, paths.NODES, reading.node)
    oses = _all(api, paths.NODE_OSES, reading.node_os)
    return Snapshot(nodes, oses, rollouts, drains_of(nodes, rollouts), own_node=own_node, since=since)


def drains_of(nodes: Mapping[str, NodeView], rollouts: Mapping[str, RolloutView]) -> dict[str, DrainView]:
    """How drains stand, as the rollouts' statuses tell it."""
    told: dict[str, list[Blocker]] = {}
    for view in rollouts.values():
        for blocker in view.status.blockers:
            told.setdefault(blocker.node, []).append(blocker)
    return {name: DrainView(False, tuple(found)) for name, found in told.items() if name in nodes and nodes[name].mark}


def _all(api: Pages, path: str, project: Callable[[Object, V | None], V]) -> dict[str, V]:
    return {str(item["metadata"]["name"]): project(item, None) for page in api.pages(path) for item in page["items"]}
