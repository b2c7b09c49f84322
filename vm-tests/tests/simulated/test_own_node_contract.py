"""A scheduler takes the only node that there is, which it runs on itself, from one release to the next."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proa.scheduler.install import render
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE, InstallSettings
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.installed import installed
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.rollouts import start, traces, wait_phase
from proa.vm.simulated.scheduler import Scheduler
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
NODE = "node-0000"


def pods(cluster: ControlPlane) -> dict[str, str]:
    """The UIDs of the schedulers' pods that are Ready, by name."""
    return {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for item in cluster.api.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
        if any(
            one["type"] == "Ready" and one["status"] == "True" for one in item.get("status", {}).get("conditions", ())
        )
    }


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_only_node_comes_to_the_release(
    cluster: ControlPlane, nodes: Callable[..., SimNodes], replicas: int
) -> None:
    """The pods are simulated, and so is that one of them is this process: it ends with its node, and starts again."""
    fleet = nodes(1)
    parts = [
        one for one in render.documents(InstallSettings(replicas=replicas)) if one["metadata"]["name"] == SCHEDULER
    ]
    with installed(cluster):
        cluster.apply(one for one in parts if one["kind"] in ("Deployment", "PodDisruptionBudget"))
        until(lambda: len(pods(cluster)) == replicas, "the schedulers' pods")
        before = pods(cluster)
        own = min(before)
        access = cluster.access_for(SCHEDULER, NAMESPACE).write(cluster.folder / f"own-{replicas}.conf")
        scheduler = Scheduler(cluster, "--own-node", NODE, "--own-pod", own, kubeconfig=access)
        scheduler.start()
        try:
            scheduler.wait_leading()
            start(cluster)
            until(lambda: fleet.boots() == {NODE: 1}, "the reboot")
            scheduler.kill()
            scheduler.start()
            wait_phase(cluster, "Complete", seconds=90)
            scheduler.check()
        finally:
            scheduler.stop()
        until(lambda: len(pods(cluster)) == replicas, "the schedulers' pods")
        assert before.items() & pods(cluster).items() == {(own, before[own])}
        assert traces(cluster) == []
