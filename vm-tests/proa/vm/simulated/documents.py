"""The objects of a cluster that is full (:mod:`proa.vm.simulated.fill`). Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from proa.core.schema.model import document
from proa.scheduler.kube.times import text
from proa.vm.kube.api import Object
from proa.vm.simulated import pods, wording
from proa.vm.simulated.machine import Said, Shape, node_document
from proa.vm.simulated.releases import FACTORY

ATTACHED: Final = 2
"""The first pods on a node belong to DaemonSets."""
NAMESPACES: Final = 20
"""Over which the others are spread, each with a ReplicaSet and a budget."""
_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_IMAGE: Final = "registry.test/load:1"


def made_uid(*about: object) -> str:
    """The same id for the same thing, always."""
    return str(uuid.UUID(hashlib.sha256(repr(about).encode()).hexdigest()[:32]))


@dataclass(frozen=True)
class Place:
    """A node: 10,000 at most."""

    number: int
    zones: int = 3

    @property
    def shape(self) -> Shape:
        """What is fixed about it."""
        return Shape(f"node-{self.number:04}", f"zone-{self.number % self.zones}", number=self.number)

    @property
    def said(self) -> Said:
        """What its kubelet says."""
        return Said(True, made_uid("boot", self.number), text(_SINCE))

    @property
    def uid(self) -> str:
        """Of its Node."""
        return made_uid("node", self.number)


@dataclass(frozen=True)
class Seat:
    """A pod on a node: 100 at most on one."""

    place: Place
    index: int

    @property
    def attached(self) -> bool:
        """Whether it belongs to a DaemonSet."""
        return self.index < ATTACHED

    @property
    def number(self) -> int:
        """Of all pods."""
        return self.place.number * 100 + self.index

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return "each" if self.attached else f"load-{(self.place.number + self.index) % NAMESPACES:02}"

    @property
    def owner(self) -> str:
        """The name of the DaemonSet or ReplicaSet that it belongs to."""
        return f"each-{self.index}" if self.attached else "free"

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.owner}-{self.number:06}"

    @property
    def address(self) -> str:
        """Its IP address, as long as everybody's."""
        number = self.number
        return f"10.{100 + number // 10000 % 100}.{100 + number // 100 % 100}.{100 + number % 100}"


def node(place: Place) -> Object:
    """A Node."""
    return node_document(place.shape, place.said)


def node_os(place: Place, owner: str) -> Object:
    """The NodeOS of a Node with the id ``owner``."""
    owners = [{"apiVersion": "v1", "kind": "Node", "name": place.shape.name, "uid": owner}]
    metadata = {"name": place.shape.name, "ownerReferences": owners}
    return {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": metadata, "spec": {}}


def os_status(place: Place) -> Object:
    """The status of a NodeOS."""
    status = wording.first(FACTORY, _SINCE)
    if status.booted is not None:
        status = dataclasses.replace(status, booted=dataclasses.replace(status.booted, boot_id=place.said.boot_id))
    return document(status)


def pod(seat: Seat, owner: str) -> Object:
    """A pod that is bound; ``owner`` is the id of its DaemonSet or ReplicaSet."""
    kind = "DaemonSet" if seat.attached else "ReplicaSet"
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": seat.owner, "uid": owner, "controller": True}
    metadata = {"name": seat.name, "namespace": seat.namespace, "labels": {"app": seat.owner}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | {"ownerReferences": [reference]},
        "spec": _pod_spec() | {"nodeName": seat.place.shape.name},
    }


def pod_status(made: Object, seat: Seat) -> Object:
    """The patch of the status of a pod that is Ready."""
    now = text(_SINCE)
    patch = pods.running(pods.read(made), ready=True, address=seat.address, now=now)
    patch["status"]["hostIP"] = seat.place.shape.address
    return patch


def _pod_spec() -> Object:
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
    port = {"name": "http", "containerPort": 8080}
    probe = {"httpGet": {"path": "/healthz", "port": "http"}}
    main = {"name": "main", "image": _IMAGE, "resources": resources, "ports": [port], "readinessProbe": probe}
    return {"terminationGracePeriodSeconds": 30, "automountServiceAccountToken": False, "containers": [main]}


def owners(free: Mapping[str, int]) -> Iterator[Object]:
    """All that pods belong to, and their budgets.

    Args:
        free: How many pods a ReplicaSet has, by namespace.
    """
    for index in range(ATTACHED):
        yield _owner("DaemonSet", "each", f"each-{index}", {"updateStrategy": {"type": "OnDelete"}})
    for namespace, replicas in free.items():
        yield _owner("ReplicaSet", namespace, "free", {"replicas": replicas})
        yield {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "free", "namespace": namespace},
            "spec": {"maxUnavailable": "10%", "selector": {"matchLabels": {"app": "free"}}},
        }


def _owner(kind: str, namespace: str, name: str, more: Object) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": _pod_spec()}
    spec = {"selector": {"matchLabels": labels}, "template": template} | more
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
