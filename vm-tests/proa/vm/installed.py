"""Proa's rights and policies in a control plane, without what would run there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proa.scheduler.install import render
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE, Settings
from proa.vm.controlplane import ControlPlane
from proa.vm.kubeapi import KubeApi
from proa.vm.simcourier import PATH
from proa.vm.waiting import until

USER: Final = f"{NAMESPACE}/{SCHEDULER}"
"""The scheduler's account, as :meth:`proa.vm.audit.AuditLog.requests` takes it."""
_RUNS: Final = frozenset({"Deployment", "DaemonSet", "PodDisruptionBudget"})
_POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BINDINGS: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_PROBE: Final = {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": "probe"}, "spec": {}}


def install(plane: ControlPlane) -> None:
    """Rights and policies; it returns once they hold.

    Raises:
        ProaError: ``TIMEOUT`` when they do not come to hold.
    """
    plane.apply(item for item in render.documents(Settings()) if item["kind"] not in _RUNS)
    with KubeApi(plane.access_for(SCHEDULER, NAMESPACE)) as api:
        until(lambda: api.call("POST", PATH, _PROBE, query={"dryRun": "All"}).status in (403, 422), "the policies")


def uninstall(plane: ControlPlane) -> None:
    """Take the policies away: where there is no lease they refuse every NodeOS, those of other tests as well."""
    for path in (_BINDINGS, _POLICIES):
        for item in list(plane.api.items(path)):
            plane.api.delete(f"{path}/{item['metadata']['name']}")
    until(
        lambda: plane.api.call("POST", PATH, _PROBE, query={"dryRun": "All"}).status == 201, "the policies to be gone"
    )


@contextmanager
def installed(plane: ControlPlane) -> Iterator[ControlPlane]:
    """Rights and policies as long as the block lasts."""
    install(plane)
    try:
        yield plane
    finally:
        if plane.apiserver.alive:
            uninstall(plane)
