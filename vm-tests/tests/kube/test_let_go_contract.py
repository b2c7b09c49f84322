"""A rollout that lets a node go in the middle of its drain: on a real API server, by the real scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from proa.scheduler.kube import paths
from proa.scheduler.planning.views import EXCLUDE, MARK
from proa.scheduler.spec.crd import OS_ROLLOUTS
from proa.vm.kube.api import MERGE, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.releases import release
from proa.vm.simulated.scheduler import running
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
NODE: Final = "node-0000"
ROLLOUT: Final = f"{OS_ROLLOUTS}/workers"
SPEC: Final[dict[str, Any]] = {
    "release": release("v2"),
    "nodeSelector": {"matchLabels": {"pool": "workers"}},
    "drain": {"timeout": "10m", "unmanagedPods": "Delete"},
}
LETTING_GO: Final[dict[str, Callable[[ControlPlane], object]]] = {
    "deleted": lambda cluster: cluster.api.delete(ROLLOUT),
    "deselected": lambda cluster: label(cluster, "others"),
    "excluded": lambda cluster: cluster.api.patch(
        f"{paths.NODES}/{NODE}", {"metadata": {"annotations": {EXCLUDE: "by a person"}}}, MERGE
    ),
}


def label(cluster: ControlPlane, pool: str) -> None:
    cluster.api.patch(f"{paths.NODES}/{NODE}", {"metadata": {"labels": {"pool": pool}}}, MERGE)


def node(cluster: ControlPlane) -> Object:
    found: Object = cluster.api.get(f"{paths.NODES}/{NODE}")
    return found


def is_marked(cluster: ControlPlane) -> bool:
    found = node(cluster)
    return MARK in found["metadata"].get("annotations", {}) and found["spec"].get("unschedulable") is True


def keep_a_pod_there(cluster: ControlPlane) -> None:
    """A pod that is asked to end, and does not."""
    spec = {"nodeName": NODE, "containers": [{"name": "main", "image": "registry.test/main"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stays"}, "spec": spec}
    cluster.api.post("/api/v1/namespaces/default/pods", pod)


@pytest.mark.parametrize("how", LETTING_GO)
def test_it_is_given_back(cluster: ControlPlane, nodes: Callable[..., SimNodes], how: str) -> None:
    fleet = nodes(1)
    label(cluster, "workers")
    fleet.fault(NODE, stuck_pods=True)
    keep_a_pod_there(cluster)
    with running(cluster):
        body = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "workers"}}
        cluster.api.post(OS_ROLLOUTS, {**body, "spec": SPEC})
        until(lambda: is_marked(cluster), "the node to be cordoned")
        LETTING_GO[how](cluster)
        until(lambda: "unschedulable" not in node(cluster)["spec"], "the node to be given back")
    left = node(cluster)["metadata"].get("annotations", {})
    assert [key for key in left if key.startswith("proa.dev/")] == ([EXCLUDE] if how == "excluded" else [])
    assert fleet.boots().get(NODE, 0) == 0
