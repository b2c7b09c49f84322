"""The definitions of the custom resources, made of the dataclasses that the code uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.schema.json_schema import structural
from proa.scheduler.spec.objects import GROUP, VERSION, NodeOS, Rollout


@dataclass(frozen=True)
class Resource:
    """A custom resource.

    Attributes:
        kind: Its kind.
        plural: Its name in addresses.
        short: Its short names.
        type: The dataclass of its spec and status.
        columns: What ``kubectl get`` shows: name, type and path; those with an ``*`` first only with ``-o wide``.
    """

    kind: str
    plural: str
    short: tuple[str, ...]
    type: type
    columns: tuple[tuple[str, str, str], ...]

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
            "schema": {"openAPIV3Schema": _root(self.type)},
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Cluster",
                "names": names | {"shortNames": list(self.short), "categories": ["proa"]},
                "versions": [version],
            },
        }


def _root(kind: type) -> dict[str, Any]:
    """The schema of a whole object: the status has no defaults, it is what its writer wrote."""
    found = structural(kind)
    status = structural(kind, defaults=False)["properties"].pop("status")
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
        ("Age", "date", ".metadata.creationTimestamp"),
    ),
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
        ("Error", "string", ".status.lastError.code"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ),
)
RESOURCES: Final[Mapping[str, Resource]] = {resource.kind: resource for resource in (ROLLOUTS, NODES)}
"""Both, by their kinds."""
