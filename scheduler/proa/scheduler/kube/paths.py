"""Where objects are on the API server, and what a path is about."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

NODES: Final = "/api/v1/nodes"
PODS: Final = "/api/v1/pods"
BUDGETS: Final = "/apis/policy/v1/poddisruptionbudgets"
CLAIMS: Final = "/api/v1/persistentvolumeclaims"
VOLUMES: Final = "/api/v1/persistentvolumes"
DAEMON_SETS: Final = "/apis/apps/v1/daemonsets"
DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

STATIC_PODS: Final = "/api/v1/namespaces/kube-system/pods"
STATIC_PODS_SELECTOR: Final = "tier=control-plane"
"""What installers such as kubeadm run of the control plane as static pods: API server, controllers, scheduler, etcd."""


def named(collection: str, name: str, subresource: str = "") -> str:
    """The path of one object of a collection, or of its subresource."""
    return f"{collection}/{quote(name, safe='')}" + (f"/{subresource}" if subresource else "")


def within(collection: str, namespace: str) -> str:
    """The path of a collection in one namespace: ``/api/v1/namespaces/NAMESPACE/pods`` of ``/api/v1/pods``."""
    stem, _, plural = collection.rpartition("/")
    return f"{stem}/namespaces/{quote(namespace, safe='')}/{plural}"


def leases(namespace: str) -> str:
    """The leases of a namespace."""
    return within("/apis/coordination.k8s.io/v1/leases", namespace)


def events(namespace: str) -> str:
    """The events of a namespace; those about objects without one are in ``default``."""
    return within("/apis/events.k8s.io/v1/events", namespace)


def resource(path: str) -> str:
    """What kind of thing a path is about: ``nodes``, ``nodeoses/status``, ``pods/eviction``; empty for another one."""
    parts = path.split("?", 1)[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    return "/".join(part for part in (*rest[:1], *rest[2:3]) if part)
