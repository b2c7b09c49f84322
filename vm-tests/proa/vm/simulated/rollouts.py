"""Rollouts over simulated nodes: made, changed and waited for; and a witness who sees all that happens to the nodes."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any, Final, Self

from proa.core.runtime.errors import ProaError
from proa.scheduler.kube import paths
from proa.scheduler.planning.views import MARK, RECORD
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.vm.kube.api import MERGE, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.follow import DELETED, LISTED, Follower
from proa.vm.simulated.releases import release
from proa.vm.support.waiting import LIMIT, until

NEW: Final = release("v2")
QUICK: Final[Object] = {
    "maxUnavailable": 1,
    "nodeSelector": {},
    "health": {"readySeconds": 0, "timeout": "60s"},
    "drain": {"timeout": "60s"},
    "expectedDuration": "10s",
}
"""A spec without waiting."""


def start(cluster: ControlPlane, name: str = "workers", target: str = NEW, **spec: Any) -> None:
    """Make a rollout; ``spec`` on top of :data:`QUICK`."""
    body = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": name}}
    cluster.api.post(OS_ROLLOUTS, {**body, "spec": {**QUICK, "release": target, **spec}})


def change(cluster: ControlPlane, name: str = "workers", **spec: Any) -> None:
    """Change a rollout."""
    cluster.api.patch(f"{OS_ROLLOUTS}/{name}", {"spec": spec}, MERGE)


def status(cluster: ControlPlane, name: str = "workers") -> Object:
    """The status of a rollout; empty before it has one."""
    found: Object = cluster.api.get(f"{OS_ROLLOUTS}/{name}").get("status", {})
    return found


def wait_phase(cluster: ControlPlane, phase: str, name: str = "workers", seconds: float = LIMIT) -> Object:
    """Wait until a rollout has come to a phase; its status then.

    Raises:
        ProaError: ``TIMEOUT``.
    """

    def reached() -> Object | None:
        found = status(cluster, name)
        return found if found.get("phase") == phase else None

    try:
        return until(reached, f"phase {phase}", seconds)
    except ProaError as error:
        told = json.dumps({key: value for key, value in status(cluster, name).items() if key != "conditions"})
        raise ProaError(error.code, f"{error.message}: {told}", at=name, hint=error.hint) from error


def node(cluster: ControlPlane, name: str) -> Object:
    """A Node."""
    found: Object = cluster.api.get(f"{paths.NODES}/{name}")
    return found


def annotate(cluster: ControlPlane, name: str, **annotations: str | None) -> None:
    """What a person writes on a Node: ``hold="why"`` becomes ``proa.dev/hold``; none takes it away."""
    told = {f"proa.dev/{key}": value for key, value in annotations.items()}
    cluster.api.patch(f"{paths.NODES}/{name}", {"metadata": {"annotations": told}}, MERGE)


def cordoned(cluster: ControlPlane, name: str) -> bool:
    """Whether a Node takes no pods."""
    return bool(node(cluster, name)["spec"].get("unschedulable"))


def marked(cluster: ControlPlane, name: str) -> bool:
    """Whether a Node has the scheduler's mark."""
    return MARK in node(cluster, name)["metadata"].get("annotations", {})


def record(cluster: ControlPlane, name: str) -> Object:
    """What is written down on a NodeOS about what went wrong; empty if nothing."""
    item = cluster.api.find(f"{NODE_OSES}/{name}") or {"metadata": {}}
    found: Object = json.loads(item["metadata"].get("annotations", {}).get(RECORD, "{}"))
    return found


def traces(cluster: ControlPlane) -> list[str]:
    """What is left on Nodes of cordons and annotations of ours; empty if all is as it was."""
    found = []
    for item in cluster.api.items(paths.NODES):
        name = item["metadata"]["name"]
        found += [f"{name}: {key}" for key in item["metadata"].get("annotations", {}) if key.startswith("proa.dev/")]
        found += [f"{name}: cordoned"] if item["spec"].get("unschedulable") else []
    return found


def events(cluster: ControlPlane, reason: str) -> list[str]:
    """The notes of all events with a reason."""
    found = cluster.api.items("/apis/events.k8s.io/v1/events")
    return [str(item.get("note", "")) for item in found if item.get("reason") == reason]


@dataclass
class _Seen:
    """What was seen of one node.

    Attributes:
        orders: Its orders, by id, as ``ACTION``.
        notes: What was written down about it, each text once, in order.
        cordons: How often it was cordoned.
        marks: How often it was marked by us.
    """

    orders: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cordons: int = 0
    marks: int = 0


class Witness:
    """Follows Nodes and their orders by a way of its own, and notes all that happens to them, as long as the block.

    Args:
        cluster: The control plane.
    """

    def __init__(self, cluster: ControlPlane) -> None:
        self.nodes: dict[str, _Seen] = {}
        """What was seen, by node."""
        self.most_away = 0
        """How many nodes were cordoned or not Ready at a time, at most."""
        self.wrong: list[str] = []
        """What must never happen: an order that was changed, or that did not grow by one."""
        self._away: dict[str, bool] = {}
        self._cordoned: dict[str, bool] = {}
        self._marked: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()
        self._followers = (
            Follower(cluster.api, paths.NODES, self._node),
            Follower(cluster.api, NODE_OSES, self._os),
        )

    def __enter__(self) -> Self:
        for follower in self._followers:
            follower.start()
        for follower in self._followers:
            until(follower.synced.is_set, "the witness to see all")
        return self

    def __exit__(self, *_: object) -> None:
        for follower in self._followers:
            follower.stop()

    def orders(self, name: str) -> list[str]:
        """The actions that a node was ordered, in order."""
        with self._lock:
            seen = self.nodes.get(name, _Seen())
            return [seen.orders[number] for number in sorted(seen.orders)]

    def seen(self, name: str) -> _Seen:
        """All that was seen of a node."""
        with self._lock:
            return self.nodes.setdefault(name, _Seen())

    def _node(self, kind: str, item: Object) -> None:
        if kind == LISTED:
            return
        with self._lock:
            name = item["metadata"]["name"]
            if kind == DELETED:
                self._away.pop(name, None)
                self._cordoned.pop(name, None)
                self._marked.pop(name, None)
                return
            seen = self.nodes.setdefault(name, _Seen())
            off = bool(item["spec"].get("unschedulable"))
            mark = item["metadata"].get("annotations", {}).get(MARK, "")
            seen.cordons += off and not self._cordoned.get(name, False)
            seen.marks += bool(mark) and mark != self._marked.get(name, "")
            self._cordoned[name], self._marked[name] = off, mark
            ready = any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in item.get("status", {}).get("conditions", ())
            )
            self._away[name] = off or not ready
            self.most_away = max(self.most_away, sum(self._away.values()))

    def _os(self, kind: str, item: Object) -> None:
        if kind in (LISTED, DELETED):
            return
        with self._lock:
            name = item["metadata"]["name"]
            seen = self.nodes.setdefault(name, _Seen())
            note = item["metadata"].get("annotations", {}).get(RECORD, "")
            if note and (not seen.notes or seen.notes[-1] != note):
                seen.notes.append(note)
            order = item.get("spec", {}).get("order")
            if not order:
                return
            number, action, uid = order["id"], order["action"], item["metadata"]["uid"]
            known = seen.orders.setdefault(number, action)
            last = self._last.get(uid, number - 1)
            if known != action or number not in (last, last + 1):
                self.wrong.append(f"{name}: order {number} {action}, of {seen.orders}")
            self._last[uid] = number
