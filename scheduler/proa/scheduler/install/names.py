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
DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_COLLECTIONS: Final[Mapping[str, str]] = {
    "CustomResourceDefinition": DEFINITIONS,
    "Namespace": NAMESPACES,
    "ServiceAccount": "/api/v1/serviceaccounts",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
    "Role": f"{_RBAC}/roles",
    "RoleBinding": f"{_RBAC}/rolebindings",
    "ValidatingAdmissionPolicy": f"{_ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{_ADMISSION}/validatingadmissionpolicybindings",
    "PodDisruptionBudget": paths.BUDGETS,
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "Deployment": "/apis/apps/v1/deployments",
    "DaemonSet": paths.DAEMON_SETS,
    "Lease": "/apis/coordination.k8s.io/v1/leases",
}


def labels(component: str) -> dict[str, str]:
    """The labels of everything that belongs to a component."""
    return {"app.kubernetes.io/name": "proa", "app.kubernetes.io/component": component.removeprefix("proa-")}


def about(kind: str, name: str, namespace: str) -> Object:
    """As much of a document as says what it is about."""
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}}


def place(item: Object) -> str:
    """The path of the object that a document is about."""
    collection, metadata = _COLLECTIONS[item["kind"]], item["metadata"]
    if space := metadata.get("namespace"):
        collection = paths.within(collection, space)
    return paths.named(collection, metadata["name"])
