"""The real scheduler takes simulated nodes of a real API server from one release to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proa.scheduler.kube import paths
from proa.vm.controlplane import ControlPlane
from proa.vm.kubeapi import MERGE, Object
from proa.vm.simnodes import SimNodes
from proa.vm.simreleases import release
from proa.vm.simscheduler import Scheduler, running
from proa.vm.waiting import until

pytestmark = pytest.mark.contract
NEW = release("v2")
QUICK: dict[str, Any] = {
    "maxUnavailable": 1,
    "nodeSelector": {},
    "health": {"readySeconds": 0, "timeout": "60s"},
    "drain": {"timeout": "60s"},
    "expectedDuration": "10s",
}
Nodes = Callable[..., SimNodes]


def start(cluster: ControlPlane, name: str = "workers", target: str = NEW, **spec: Any) -> None:
    """Make a rollout."""
    body = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": name}}
    cluster.api.post(paths.OS_ROLLOUTS, {**body, "spec": {**QUICK, "release": target, **spec}})


def change(cluster: ControlPlane, name: str = "workers", **spec: Any) -> None:
    cluster.api.patch(f"{paths.OS_ROLLOUTS}/{name}", {"spec": spec}, MERGE)


def status(cluster: ControlPlane, name: str = "workers") -> Object:
    found: Object = cluster.api.get(f"{paths.OS_ROLLOUTS}/{name}").get("status", {})
    return found


def wait_phase(cluster: ControlPlane, phase: str, name: str = "workers", seconds: float = 60.0) -> Object:
    until(lambda: status(cluster, name).get("phase") == phase, f"phase {phase}: {status(cluster, name)}", seconds)
    return status(cluster, name)


def test_all_nodes_come_to_the_release(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(3)
    with running(cluster) as scheduler:
        start(cluster)
        found = wait_phase(cluster, "Complete")
        assert found["counts"]["upToDate"] == 3
        assert fleet.boots() == {"node-0000": 1, "node-0001": 1, "node-0002": 1}
        assert scheduler.alive
        assert isinstance(scheduler, Scheduler)
    for node in cluster.api.items(paths.NODES):
        assert "unschedulable" not in node["spec"]
        assert not [key for key in node["metadata"].get("annotations", {}) if key.startswith("proa.dev/")]
