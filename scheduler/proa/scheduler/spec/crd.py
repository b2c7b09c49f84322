"""The definitions of the custom resources, made of the dataclasses that the code uses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import NodeStatus, Order
from proa.core.schema.json_schema import structural
from proa.core.schema.model import field
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import RolloutStatus

GROUP: Final = "proa.dev"
VERSION: Final = "v1alpha1"
REVISION: Final = "proa.dev/revision"
"""Annotation of a definition: the hash of what it says, which tells whether it is that of a scheduler."""


@dataclass(frozen=True)
class Rollout:
    """The long-lived desired state of a group of nodes: a node that joins later follows it."""

    spec: RolloutSpec = field("The desired state.")
    status: RolloutStatus | None = field("The observed state.", default=None)


@dataclass(frozen=True)
class NodeOSSpec:
    """What the scheduler asks of the node."""

    VALIDATIONS = (
        {"rule": "!has(oldSelf.order) || has(self.order)", "message": "an order can be replaced, but not removed"},
    )

    order: Order | None = field("The order.", default=None)


@dataclass(frozen=True)
class NodeOS:
    """One node: the order to it, by the scheduler alone, and what it says of itself, by that node alone."""

    VALIDATIONS = (
        {"rule": "!has(oldSelf.status) || has(self.status)", "message": "the status cannot be removed once it is set"},
        {"rule": "!has(oldSelf.spec) || has(self.spec)", "message": "the spec cannot be removed once it is set"},
        {
            "rule": "!has(self.status) || !has(self.status.observedOrder) || self.status.observedOrder.id"
            " <= (has(self.spec) && has(self.spec.order) ? self.spec.order.id : 0)",
            "message": "observedOrder.id names an order that was never given",
        },
    )

    spec: NodeOSSpec = field("What the scheduler orders.", default=NodeOSSpec())
    status: NodeStatus | None = field("What the node reports.", default=None)


@dataclass(frozen=True)
class Resource:
    """A custom resource.

    Attributes:
        kind: Its kind.
        plural: Its name in addresses.
        short: Its short names.
        type: The dataclass of its spec and status.
        unseen: What the API server tells of the status while nobody has written one.
        columns: What ``kubectl get`` shows: name, type and path; those with an ``*`` first only with ``-o wide``.
    """

    kind: str
    plural: str
    short: tuple[str, ...]
    type: type
    columns: tuple[tuple[str, str, str], ...]
    unseen: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where the API server has them."""
        return f"/apis/{GROUP}/{VERSION}/{self.plural}"

    @property
    def definition(self) -> dict[str, Any]:
        """The CustomResourceDefinition."""
        singular = self.kind.lower()
        names = {"kind": self.kind, "listKind": f"{self.kind}List", "plural": self.plural, "singular": singular}
        version = {
            "name": VERSION,
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "additionalPrinterColumns": [_column(*column) for column in self.columns],
            "schema": {"openAPIV3Schema": _root(self.type, self.unseen)},
        }
        spec = {
            "group": GROUP,
            "scope": "Cluster",
            "names": names | {"shortNames": list(self.short), "categories": ["proa"]},
            "versions": [version],
        }
        revision = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}", "annotations": {REVISION: revision}},
            "spec": spec,
        }


def _root(kind: type, unseen: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a whole object: within the status nothing has a default, it is what its writer wrote."""
    found = structural(kind)
    status = structural(kind, defaults=False)["properties"].pop("status")
    if unseen:
        status |= {"default": dict(unseen)}
    return found | {"properties": found["properties"] | {"status": status}}


def _column(name: str, kind: str, path: str) -> dict[str, Any]:
    wide = {"priority": 1} if name.startswith("*") else {}
    return {"name": name.removeprefix("*"), "type": kind, "jsonPath": path} | wide


ROLLOUTS: Final = Resource(
    "OSRollout",
    "osrollouts",
    ("osr",),
    Rollout,
    (
        ("Phase", "string", ".status.phase"),
        ("Progress", "string", ".status.progress"),
        ("Staged", "integer", ".status.counts.staged"),
        ("Updating", "integer", ".status.counts.updating"),
        ("Failed", "integer", ".status.counts.failed"),
        ("Wave", "string", ".status.wave"),
        ("*Paused", "boolean", ".spec.paused"),
        ("*Release", "string", ".spec.release"),
        ("*Settings", "string", ".status.settings"),
        ("*Drifted", "integer", ".status.counts.drifted"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ),
    {"observedGeneration": 0},  # or kstatus takes one for done that no scheduler has seen yet
)
NODES: Final = Resource(
    "NodeOS",
    "nodeoses",
    ("nos",),
    NodeOS,
    (
        ("Phase", "string", ".status.phase"),
        ("Slot", "string", ".status.booted.slot"),
        ("Version", "string", ".status.booted.version"),
        ("Standby", "string", ".status.standby.version"),
        ("Order", "string", ".spec.order.action"),
        ("Result", "string", ".status.observedOrder.result"),
        ("*Step", "string", ".status.progress.step"),
        ("*Percent", "integer", ".status.progress.percent"),
        ("*Settings", "string", ".status.settings.phase"),
        ("Error", "string", ".status.lastError.code"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ),
)
RESOURCES: Final[Mapping[str, Resource]] = {resource.kind: resource for resource in (ROLLOUTS, NODES)}
"""Both, by their kinds."""
NODE_OSES: Final = NODES.path
OS_ROLLOUTS: Final = ROLLOUTS.path
