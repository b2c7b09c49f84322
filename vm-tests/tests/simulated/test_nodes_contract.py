"""Simulated nodes on the real API server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.core.orders.client import OrderClient
from proa.core.orders.messages import Action, Order, Phase
from proa.core.runtime.errors import ProaError
from proa.scheduler.spec.crd import RESOURCES
from proa.vm.kube.api import MERGE, Object
from proa.vm.kube.control_flags import NODE_LIFECYCLE
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.wipe import definitions
from proa.vm.simulated.faults import Timing
from proa.vm.simulated.nodes import SimNodes, run
from proa.vm.simulated.releases import digest_of, release
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
NODES = RESOURCES["NodeOS"].path
NEW = release("v2")
Nodes = Callable[..., SimNodes]


def workload(kind: str, name: str, namespace: str, grace: int = 30, **spec: Any) -> Object:
    labels = {"app": name}
    pod = {"terminationGracePeriodSeconds": grace, "containers": [{"name": "main", "image": "registry.test/main"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    whole = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": whole,
    }


def node(cluster: ControlPlane, name: str) -> Object:
    return cluster.api.get(f"/api/v1/nodes/{name}")


def ready(cluster: ControlPlane, name: str) -> str:
    """What the condition Ready says."""
    conditions = node(cluster, name)["status"]["conditions"]
    return next(str(one["status"]) for one in conditions if one["type"] == "Ready")


def is_ready(cluster: ControlPlane, name: str) -> bool:
    return ready(cluster, name) == "True"


def taints(cluster: ControlPlane, name: str) -> list[str]:
    return [taint["key"] for taint in node(cluster, name)["spec"].get("taints", ())]


def boot_id(cluster: ControlPlane, name: str) -> str:
    return str(node(cluster, name)["status"]["nodeInfo"]["bootID"])


def pods(cluster: ControlPlane, namespace: str) -> list[Object]:
    return list(cluster.api.items(f"/api/v1/namespaces/{namespace}/pods"))


def ready_pods(cluster: ControlPlane, namespace: str) -> dict[str, str]:
    """The nodes of the pods that are Ready, by name."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"]
        for pod in pods(cluster, namespace)
        if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
    }


def delete(cluster: ControlPlane, pod: Object) -> str:
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
    cluster.api.delete(path)
    return path


def make_os(cluster: ControlPlane, name: str = "node-0000") -> None:
    cluster.apply(
        [{"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": name}, "spec": {}}],
    )


def give(cluster: ControlPlane, number: int, action: str, name: str = "node-0000", **more: Any) -> None:
    order = {"id": number, "action": action, "fence": 1, "release": NEW, **more}
    answer = cluster.api.call("PATCH", f"{NODES}/{name}", {"spec": {"order": order}}, content=MERGE)
    answer.check()


def status(cluster: ControlPlane, name: str = "node-0000") -> Object:
    found: Object = cluster.api.get(f"{NODES}/{name}").get("status", {})
    return found


def wait_done(cluster: ControlPlane, number: int, name: str = "node-0000") -> Object:
    def done() -> Object | None:
        found = status(cluster, name)
        seen = found.get("observedOrder", {})
        return found if seen.get("id") == number and seen.get("result") != "Running" else None

    return until(done, f"the end of order {number}")


# kubelets


def test_nodes_register_in_zones(cluster: ControlPlane, nodes: Nodes) -> None:
    nodes(3, zones=3, control_planes=1)
    wide = cluster.kubectl("get", "nodes", "-L", "topology.kubernetes.io/zone", "--no-headers").text.splitlines()
    words = [line.split() for line in wide]
    assert [(line[0], line[1], line[2], line[-1]) for line in words] == [
        ("control-0", "Ready", "control-plane", "zone-0"),
        ("node-0000", "Ready", "<none>", "zone-0"),
        ("node-0001", "Ready", "<none>", "zone-1"),
        ("node-0002", "Ready", "<none>", "zone-2"),
    ]


def test_every_node_gets_a_pod_of_a_daemon_set(cluster: ControlPlane, nodes: Nodes) -> None:
    nodes(3)
    namespace = cluster.namespace("daemons")
    cluster.apply([workload("DaemonSet", "ds", namespace)])
    until(lambda: len(ready_pods(cluster, namespace)) == 3, "pods on all nodes")
    assert sorted(ready_pods(cluster, namespace).values()) == ["node-0000", "node-0001", "node-0002"]


def test_pods_are_spread_over_nodes_that_are_not_cordoned(cluster: ControlPlane, nodes: Nodes) -> None:
    nodes(3, control_planes=1)
    cluster.kubectl("cordon", "node-0001")
    namespace = cluster.namespace("spread")
    cluster.apply([workload("Deployment", "web", namespace, replicas=4)])
    until(lambda: len(ready_pods(cluster, namespace)) == 4, "the pods")
    assert sorted(ready_pods(cluster, namespace).values()) == ["node-0000"] * 2 + ["node-0002"] * 2


def test_pods_wait_for_a_node(cluster: ControlPlane, nodes: Nodes) -> None:
    nodes(1)
    cluster.kubectl("cordon", "node-0000")
    namespace = cluster.namespace("waiting")
    cluster.apply([workload("Deployment", "web", namespace, replicas=1)])
    until(lambda: pods(cluster, namespace), "a pod")
    assert "nodeName" not in pods(cluster, namespace)[0]["spec"]
    cluster.kubectl("uncordon", "node-0000")
    until(lambda: ready_pods(cluster, namespace), "it to be Ready")


def test_a_pod_ends_in_its_time(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    namespace = cluster.namespace("ending")
    cluster.apply([workload("Deployment", "web", namespace, grace=600, replicas=1)])
    until(lambda: ready_pods(cluster, namespace), "a pod")
    quick = delete(cluster, pods(cluster, namespace)[0])
    until(lambda: cluster.api.find(quick) is None, "a quick end")
    until(lambda: ready_pods(cluster, namespace), "the next pod")
    fleet.fault(ignore_sigterm=True)
    slow = delete(cluster, pods(cluster, namespace)[0])
    until(lambda: len(ready_pods(cluster, namespace)) == 2, "one in its place")
    found = cluster.api.find(slow)
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]
    fleet.fault(ignore_sigterm=False)
    until(lambda: cluster.api.find(slow) is None, "its end after all")


def test_a_pod_that_never_ends(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    namespace = cluster.namespace("stuck")
    cluster.apply([workload("Deployment", "web", namespace, grace=1, replicas=1)])
    until(lambda: ready_pods(cluster, namespace), "a pod")
    fleet.fault("node-0000", stuck_pods=True)
    path = delete(cluster, pods(cluster, namespace)[0])
    until(lambda: len(ready_pods(cluster, namespace)) == 2, "one in its place")
    assert cluster.api.find(path)
    fleet.fault("node-0000", stuck_pods=False)
    until(lambda: cluster.api.find(path) is None, "its end after all")


def test_a_reboot_as_others_see_it(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(2, timing=Timing(boot=0.5))
    namespace = cluster.namespace("rebooted")
    cluster.apply([workload("DaemonSet", "ds", namespace)])
    until(lambda: len(ready_pods(cluster, namespace)) == 2, "pods on all nodes")
    before = boot_id(cluster, "node-0000")
    fleet.reboot("node-0000")
    until(lambda: not is_ready(cluster, "node-0000"), "it to be away")
    assert boot_id(cluster, "node-0000") == before
    until(lambda: "node-0000" not in ready_pods(cluster, namespace).values(), "its pod to be away")
    until(lambda: is_ready(cluster, "node-0000"), "it to be back")
    assert boot_id(cluster, "node-0000") != before
    until(lambda: "node-0000" in ready_pods(cluster, namespace).values(), "its pod to be back")
    assert fleet.boots() == {"node-0000": 1, "node-0001": 0}
    assert fleet.problems == []


def test_pods_of_a_node_that_is_away_end_when_it_is_back(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    namespace = cluster.namespace("away")
    cluster.apply([workload("Deployment", "web", namespace, replicas=1)])
    until(lambda: ready_pods(cluster, namespace), "a pod")
    fleet.fault("node-0000", never_returns=True)
    fleet.reboot("node-0000")
    until(lambda: not is_ready(cluster, "node-0000"), "it to be away")
    path = delete(cluster, pods(cluster, namespace)[0])
    until(lambda: len(pods(cluster, namespace)) == 2, "one in its place")
    assert cluster.api.find(path)
    fleet.fault("node-0000", never_returns=False)
    until(lambda: cluster.api.find(path) is None, "its end")
    until(lambda: ready_pods(cluster, namespace), "the other one to be Ready")


def test_a_node_that_fails_after_it_was_ready(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    fleet.fault("node-0000", fails_after_ready=0.3)
    before = boot_id(cluster, "node-0000")
    fleet.reboot("node-0000")
    until(lambda: boot_id(cluster, "node-0000") != before and is_ready(cluster, "node-0000"), "it to be back")
    back = boot_id(cluster, "node-0000")
    until(lambda: not is_ready(cluster, "node-0000"), "it to fail")
    fleet.fault("node-0000", fails_after_ready=None)
    until(lambda: is_ready(cluster, "node-0000"), "it to be well")
    assert boot_id(cluster, "node-0000") == back, "it failed and recovered without another boot"


def test_another_machine_under_the_same_name(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    before = node(cluster, "node-0000")
    fleet.replace("node-0000")
    fleet.wait_ready()
    after = node(cluster, "node-0000")
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert boot_id(cluster, "node-0000") != before["status"]["nodeInfo"]["bootID"]


def test_a_node_that_falls_silent_is_noticed(tmp_path: Path) -> None:
    quick = {"kube-controller-manager": ["--node-monitor-period=200ms", "--node-monitor-grace-period=2s"]}
    names = (NODE_LIFECYCLE, "taint-eviction-controller")
    with (
        ControlPlane(tmp_path, controllers=names, before=definitions(), extra=quick) as plane,
        run(plane, 2, heartbeat=0.3) as fleet,
    ):
        until(lambda: not taints(plane, "node-0000"), "the taint of new nodes to go")
        fleet.fault("node-0000", silent_kubelet=True)
        until(lambda: ready(plane, "node-0000") == "Unknown", "its silence to be noticed")
        assert ready(plane, "node-0001") == "True"
        # The condition comes first, and the taint by a write of its own.
        until(lambda: "node.kubernetes.io/unreachable" in taints(plane, "node-0000"), "the taint for its silence")
        fleet.fault("node-0000", silent_kubelet=False)
        until(lambda: ready(plane, "node-0000") == "True", "it to be heard again")


# agents


def test_orders_are_carried_out(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(2)
    make_os(cluster)
    first = until(lambda: status(cluster), "its first word")
    assert (first["phase"], first["booted"]["slot"]) == (Phase.GOOD, "a")
    assert first["booted"]["bootID"] == boot_id(cluster, "node-0000")
    give(cluster, 1, "Stage")
    staged = wait_done(cluster, 1)
    assert (staged["phase"], staged["standby"]["release"]) == (Phase.STAGED, digest_of(NEW))
    give(cluster, 2, "Boot")
    trial = wait_done(cluster, 2)["booted"]
    assert (trial["slot"], trial["release"]) == ("b", digest_of(NEW))
    assert "committed" not in trial
    until(lambda: is_ready(cluster, "node-0000"), "it to be Ready")
    assert trial["bootID"] == boot_id(cluster, "node-0000") != first["booted"]["bootID"]
    give(cluster, 3, "Commit", trial={"bootID": trial["bootID"], "rootHash": trial["rootHash"]})
    good = wait_done(cluster, 3)
    assert (good["phase"], good["booted"]["committed"], good["standby"]["good"]) == (Phase.GOOD, True, True)
    assert "progress" not in good
    assert "lastError" not in good
    assert fleet.boots() == {"node-0000": 1, "node-0001": 0}
    assert fleet.problems == []


def test_what_goes_wrong_is_told(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    make_os(cluster)
    fleet.fault("node-0000", stage_error="SIGNATURE")
    give(cluster, 1, "Stage")
    failed = wait_done(cluster, 1)
    assert (failed["phase"], failed["lastError"]["code"]) == (Phase.FAILED, "SIGNATURE")
    fleet.fault("node-0000", stage_error="", returns_in_old_slot=True)
    give(cluster, 2, "Stage")
    assert "lastError" not in wait_done(cluster, 2)
    give(cluster, 3, "Boot")
    back = wait_done(cluster, 3)
    assert (back["phase"], back["lastError"]["code"]) == (Phase.ROLLED_BACK, "TRIAL_RETURNED")
    assert back["observedOrder"]["result"] == "Failed"
    assert back["booted"]["slot"] == "a"


def test_a_silent_agent_takes_its_order_later(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    make_os(cluster)
    until(lambda: status(cluster), "its first word")
    fleet.fault("node-0000", silent=True)
    give(cluster, 1, "Stage")
    give(cluster, 2, "None")
    fleet.fault("node-0000", silent=False)
    assert wait_done(cluster, 2)["phase"] == Phase.GOOD
    assert is_ready(cluster, "node-0000")


def test_an_object_that_was_made_anew_is_told_all(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(1)
    make_os(cluster)
    give(cluster, 7, "Stage")
    wait_done(cluster, 7)
    cluster.api.delete(f"{NODES}/node-0000")
    make_os(cluster)
    again = until(lambda: status(cluster), "its first word")
    assert again["phase"] == Phase.STAGED
    assert "observedOrder" not in again
    give(cluster, 8, "None")
    wait_done(cluster, 8)
    assert fleet.problems == []


def test_the_api_server_may_be_killed_at_any_time(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(3)
    namespace = cluster.namespace("killed")
    cluster.apply([workload("Deployment", "web", namespace, replicas=3)])
    until(lambda: len(ready_pods(cluster, namespace)) == 3, "the pods")
    make_os(cluster)
    give(cluster, 1, "Stage")
    fleet.reboot("node-0001")
    delete(cluster, pods(cluster, namespace)[0])
    cluster.kill_apiserver()
    cluster.start_apiserver()
    assert wait_done(cluster, 1)["phase"] == Phase.STAGED
    until(lambda: is_ready(cluster, "node-0001"), "the node to be back")
    until(lambda: len(ready_pods(cluster, namespace)) == len(pods(cluster, namespace)) == 3, "the pods")
    assert fleet.problems == []


def test_an_agent_behind_a_socket(cluster: ControlPlane, nodes: Nodes, tmp_path: Path) -> None:
    fleet = nodes(2)
    make_os(cluster)
    until(lambda: status(cluster), "the proxy's word")
    fleet.listen("node-0000", tmp_path / "orders.sock")
    give(cluster, 1, "Stage")
    client = OrderClient(tmp_path / "orders.sock", limit=10, silence=10)
    assert client.status().observed_order is None
    client.put(Order(1, Action.STAGE, 1, NEW))
    seen = []
    for told in client.follow():
        seen.append(told.phase)
        if told.phase == Phase.STAGED:
            break
    assert seen[-1] == Phase.STAGED
    client.put(Order(2, Action.BOOT, 1, NEW))
    until(lambda: not (tmp_path / "orders.sock").exists(), "the socket to go")
    with pytest.raises(ProaError):
        client.status()
    until(lambda: (tmp_path / "orders.sock").exists(), "the socket to come back")
    assert client.status().phase == Phase.TRIAL
    assert status(cluster)["phase"] == Phase.GOOD
    fleet.remove("node-0000")
    assert not (tmp_path / "orders.sock").exists()


def test_another_process_goes_on_with_the_same_nodes(cluster: ControlPlane) -> None:
    with run(cluster, 2) as first:
        make_os(cluster)
        give(cluster, 1, "Stage")
        wait_done(cluster, 1)
        ids = {name: first.status(name).booted for name in ("node-0000", "node-0001")}
    mark = cluster.audit_log.mark()
    with run(cluster, 0, adopt=True) as second:
        assert sorted(second.machines) == ["node-0000", "node-0001"]
        assert {name: second.status(name).booted for name in ids} == ids
        assert cluster.audit(mark, user="proa-simnodes", write=True) == []
        give(cluster, 2, "Boot")
        assert wait_done(cluster, 2)["phase"] == Phase.TRIAL
        assert second.problems == []
