"""Empties a control plane between two tests, so that they can share it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proa.scheduler.spec.crd import RESOURCES
from proa.vm.kube.api import MERGE, KubeApi, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.support.waiting import until

_SCOPED: Final = (
    *(f"/apis/apps/v1/{kind}" for kind in ("deployments", "daemonsets", "statefulsets", "replicasets")),
    "/api/v1/pods",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/events.k8s.io/v1/events",
)
"""What lies in namespaces: first what makes pods, then the pods."""
_WHOLE: Final = (*(resource.path for resource in RESOURCES.values()), "/api/v1/nodes")
"""What lies in none."""
_KEPT: Final = frozenset({"kube-system"})
"""Its leases are the API server's own."""
_SECONDS: Final = 60.0


def definitions() -> list[Object]:
    """The CustomResourceDefinitions of Proa."""
    return [resource.definition for resource in RESOURCES.values()]


def wipe(plane: ControlPlane) -> None:
    """Bring the control plane back to what tests expect: running, with our kinds, and with no objects of theirs.

    Namespaces, service accounts, roles and admission policies stay.

    Raises:
        ProaError: ``TIMEOUT`` when something does not go away.
    """
    if plane.apiserver.alive:
        plane.resume_apiserver()
    plane.start()
    plane.apply(definitions())
    for path in (*_SCOPED, *_WHOLE):
        _empty(plane.api, path)


def _empty(api: KubeApi, path: str) -> None:
    until(lambda: not _delete(api, path), f"{path} to be empty", _SECONDS)


def _delete(api: KubeApi, path: str) -> list[Object]:
    """Delete what is there; what was there."""
    found = list(_there(api, path))
    stem, _, plural = path.rpartition("/")
    for place in sorted({item["metadata"].get("namespace", "") for item in found}):
        collection = f"{stem}/namespaces/{place}/{plural}" if place else path
        api.call("DELETE", collection, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}).check(404)
    for item in found:
        metadata = item["metadata"]
        if metadata.get("finalizers"):
            place = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
            gone = {"metadata": {"finalizers": None}}
            api.call("PATCH", f"{stem}{place}/{plural}/{metadata['name']}", gone, content=MERGE).check(404)
    return found


def _there(api: KubeApi, path: str) -> Iterator[Object]:
    """What is there, if the kind is served at all."""
    answer = api.call("GET", path, query={"limit": 500}).check(404)
    for item in answer.document.get("items", ()):
        if item["metadata"].get("namespace") not in _KEPT:
            yield item
