"""Where the objects of an installation are on the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.scheduler.kube import paths
from proa.scheduler.kube.stream import Object

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


def place(item: Object) -> str:
    """The path of the object that a document is about."""
    collection, metadata = _COLLECTIONS[item["kind"]], item["metadata"]
    if space := metadata.get("namespace"):
        collection = paths.within(collection, space)
    return paths.named(collection, metadata["name"])
