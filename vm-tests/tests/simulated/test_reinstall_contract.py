"""Proa is removed from a cluster and installed again: nodes remember orders and fences that nobody else does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proa.scheduler.kube.paths import leases, named
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.vm.kube.api import Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.releases import digest_of, release
from proa.vm.support.child import Child
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
LEASE = named(leases("default"), "proa-scheduler")


def start(cluster: ControlPlane, target: str) -> None:
    spec: Object = {"release": target, "maxUnavailable": 2, "order": {"zones": "Ignore"}, "health": {"readySeconds": 0}}
    cluster.apply(
        [{"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "workers"}, "spec": spec}]
    )


def test_nodes_follow_a_scheduler_that_knows_nothing(
    cluster: ControlPlane, nodes: Callable[..., SimNodes], tmp_path: Path
) -> None:
    fleet = nodes(2)

    def all_run(target: str) -> bool:
        told = [fleet.status(name).booted for name in fleet.machines]
        return all(one is not None and one.committed and one.release == digest_of(target) for one in told)

    def fence() -> int:
        return int(cluster.api.get(LEASE)["spec"]["leaseTransitions"])

    program = Path(sys.executable).with_name("proa-scheduler")
    words = ["run", "--kubeconfig", str(cluster.kubeconfig), "--namespace", "default"]
    scheduler = Child("proa-scheduler run", [program, *words], tmp_path / "scheduler.log")
    try:
        for target in ("v2", "v3"):  # each time another leader, with a higher fence
            scheduler.start()
            start(cluster, release(target))
            until(lambda target=target: all_run(release(target)), f"{target} everywhere")  # type: ignore[misc]
            scheduler.stop()
        before = fence()
        for path in (named(OS_ROLLOUTS, "workers"), *(named(NODE_OSES, name) for name in fleet.machines), LEASE):
            cluster.api.delete(path)
        scheduler.start()
        start(cluster, release("v4"))
        until(lambda: all_run(release("v4")), "v4 everywhere")
        assert fence() > before
    finally:
        scheduler.kill()
    assert fleet.boots() == dict.fromkeys(fleet.machines, 3)
    assert fleet.problems == []
