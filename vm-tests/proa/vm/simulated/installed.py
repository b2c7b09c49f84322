"""Proa's rights and policies in a control plane, without what would run there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proa.scheduler.install import render
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE, InstallSettings
from proa.vm.kube.api import ApiResponse, KubeApi
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.proxies import PATH
from proa.vm.support.waiting import until

USER: Final = f"{NAMESPACE}/{SCHEDULER}"
"""The scheduler's account, as :meth:`proa.vm.kube.audit.AuditLog.requests` takes it."""
_RUNS: Final = frozenset({"Deployment", "DaemonSet", "PodDisruptionBudget"})
_POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BINDINGS: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SCHEDULER}"
_PROBE: Final = {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": "probe"}, "spec": {}}


def install(plane: ControlPlane) -> None:
    """Rights and policies; it returns once they hold.

    Raises:
        ProaError: ``TIMEOUT`` when they do not come to hold.
    """
    plane.apply(item for item in render.documents(InstallSettings()) if item["kind"] not in _RUNS)
    with KubeApi(plane.access_for(SCHEDULER, NAMESPACE)) as api:
        until(lambda: api.call("POST", PATH, _PROBE, query={"dryRun": "All"}).status in (403, 422), "the policies")


def uninstall(plane: ControlPlane) -> None:
    """Take the policies away: where there is no lease they refuse every NodeOS, those of other tests as well.

    The lease goes before them, and is seen to have gone; see :mod:`proa.scheduler.install.removal` for why.
    """
    plane.api.delete(_LEASE)
    if plane.api.find(f"{_BINDINGS}/proa-fence-orders") is not None:
        until(lambda: _probe(plane).status == 404 or "no params found" in _probe(plane).message, "the lease to be gone")
    for path in (_BINDINGS, _POLICIES):
        for item in list(plane.api.items(path)):
            plane.api.delete(f"{path}/{item['metadata']['name']}")
    free = (201, 404)  # 404: the kind is gone as well
    until(lambda: _probe(plane).status in free, "the policies to be gone")


def _probe(plane: ControlPlane) -> ApiResponse:
    return plane.api.call("POST", PATH, _PROBE, query={"dryRun": "All"})


@contextmanager
def installed(plane: ControlPlane) -> Iterator[ControlPlane]:
    """Rights and policies as long as the block lasts."""
    install(plane)
    try:
        yield plane
    finally:
        if plane.apiserver.alive:
            uninstall(plane)
