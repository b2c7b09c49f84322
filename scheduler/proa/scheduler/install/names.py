"""Names and labels of what is installed, and where it is on the API server. Removal finds by them what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.scheduler.kube import paths
from proa.scheduler.kube.stream import Object

SCHEDULER: Final = "proa-scheduler"
"""The scheduler's account, workload, rights and lease."""
PROXY: Final = "proa-proxy"
"""The proxies' account, workload and rights."""
OWN_STATUS: Final = "proa-own-status"
"""The policy that lets a proxy write the status of its own node alone."""
COMPONENT: Final = "proa.dev/component"
"""Label of our two namespaces: ``scheduler`` or ``proxy``."""
PORT: Final = 8080
"""Where the scheduler answers for health and metrics."""
NAMESPACES: Final = "/api/v1/namespaces"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
COLLECTIONS: Final[Mapping[str, str]] = {
    "Deployment": "/apis/apps/v1/deployments",
    "Lease": "/apis/coordination.k8s.io/v1/leases",
    "ValidatingAdmissionPolicyBinding": f"{_ADMISSION}/validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": f"{_ADMISSION}/validatingadmissionpolicies",
    "CustomResourceDefinition": paths.DEFINITIONS,
    "DaemonSet": paths.DAEMON_SETS,
    "PodDisruptionBudget": paths.BUDGETS,
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "RoleBinding": f"{_RBAC}/rolebindings",
    "Role": f"{_RBAC}/roles",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "Namespace": NAMESPACES,
}
"""What is installed, by kind, in the order in which it is taken away."""


def labels(component: str) -> dict[str, str]:
    """The labels of everything that belongs to a component."""
    return {"app.kubernetes.io/name": "proa", "app.kubernetes.io/component": component.removeprefix("proa-")}


def about(kind: str, name: str, namespace: str) -> Object:
    """As much of a document as says what it is about."""
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}}


def place(item: Object) -> str:
    """The path of the object that a document is about."""
    collection, metadata = COLLECTIONS[item["kind"]], item["metadata"]
    if space := metadata.get("namespace"):
        collection = paths.within(collection, space)
    return paths.named(collection, metadata["name"])
