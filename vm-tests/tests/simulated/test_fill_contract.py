"""A full cluster, judged by the API server; and nodes that are simulated in a process of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube.control_flags import CONTROLLERS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.etcd import Etcd
from proa.vm.kube.wipe import definitions
from proa.vm.simulated import simulator
from proa.vm.simulated.fill import Filling, seed
from proa.vm.simulated.nodes import run
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
SMALL = Filling(nodes=12, pods=5)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A seed, in a cache of this test's own; programs are found where they are."""
    from proa.vm.support.tools import go_tool

    program = go_tool("controlplane")
    monkeypatch.setenv("PROA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/tools").symlink_to(program.parent.parent)
    return seed(SMALL)


def test_the_api_server_takes_what_was_stamped(kept: Path, tmp_path: Path) -> None:
    assert seed(SMALL) == kept
    assert [path.name for path in kept.parent.iterdir() if path.is_dir()] == [kept.name]
    with ControlPlane(tmp_path / "plane", seed=kept, before=definitions()) as plane:
        words = ("get", "nodes", "-l", "topology.kubernetes.io/zone=zone-1", "-o", "name")
        assert plane.kubectl(*words).text.split() == [f"node/node-{number:04}" for number in (1, 4, 7, 10)]
        names = [item["metadata"]["name"] for item in plane.api.items("/api/v1/nodes")]
        assert len(set(names)) == 12
        pods = list(plane.api.items("/api/v1/pods"))
        for key in ("name", "uid"):
            assert len({pod["metadata"][key] for pod in pods}) == 60
        assert len({pod["status"]["podIP"] for pod in pods}) == 60
        on_node = plane.api.items("/api/v1/pods", {"fieldSelector": "spec.nodeName=node-0007"})
        assert len([pod for pod in on_node if pod["status"]["hostIP"] == "10.200.100.107"]) == 5
        owners = {item["metadata"]["uid"]: item["metadata"]["name"] for item in plane.api.items("/api/v1/nodes")}
        for item in plane.api.items("/apis/proa.dev/v1alpha1/nodeoses"):
            assert owners[item["metadata"]["ownerReferences"][0]["uid"]] == item["metadata"]["name"]
        # Everything there is has an owner and is wanted: real controllers leave it as it is, and count it.
        budget = "/apis/policy/v1/namespaces/load-03/poddisruptionbudgets/free"
        until(lambda: plane.api.get(budget)["status"].get("currentHealthy"), "the budget to be counted")
        assert plane.api.get(budget)["status"]["currentHealthy"] == sum(
            pod["metadata"]["namespace"] == "load-03" for pod in pods
        )
        assert "replicaset-controller" in CONTROLLERS
        assert {pod["metadata"]["uid"] for pod in pods} == {
            pod["metadata"]["uid"] for pod in plane.api.items("/api/v1/pods")
        }
        with run(plane, 0, adopt=True, all_pods=False) as nodes:
            assert len(nodes.machines) == 12
            plane.api.delete(
                f"/api/v1/namespaces/{pods[-1]['metadata']['namespace']}/pods/{pods[-1]['metadata']['name']}"
            )
            until(lambda: plane.api.get(budget) and _count(plane) == 60, "another pod in its place")
            assert nodes.problems == []


def _count(plane: ControlPlane) -> int:
    return sum(pod["status"].get("phase") == "Running" for pod in plane.api.items("/api/v1/pods"))


def test_etcd_does_not_hold_what_is_not_there(cluster: ControlPlane) -> None:
    with Etcd(cluster.parts.etcd_access) as etcd:
        with pytest.raises(ProaError) as caught:
            etcd.read("/registry/nothing")
        assert caught.value.code is Code.NOT_FOUND
        etcd.write([("/proa/a", b"\x00\x01"), ("/proa/b", b"")])
        assert etcd.read("/proa/a") == b"\x00\x01"


def test_nodes_in_a_process_of_their_own(cluster: ControlPlane, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"node-0001": {"ready_delay": 0.2}}))
    with simulator.running(cluster, "--nodes", "3", "--faults", str(faults), "--timing", "boot=0.1") as child:
        ready = json.loads(child.said.splitlines()[0])
        assert ready["ready"] == 3
        assert len(list(cluster.api.items("/api/v1/nodes"))) == 3
    said = [json.loads(line) for line in child.said.splitlines()]
    assert said[-1] == {"boots": {}, "problems": []}
    assert not child.alive
    with simulator.running(cluster, "--adopt", "--no-pods") as child:
        assert json.loads(child.said.splitlines()[0])["ready"] == 3


def test_the_process_says_what_is_wrong(cluster: ControlPlane) -> None:
    with pytest.raises(ProaError) as caught, simulator.running(cluster, "--timing", "nap=3"):
        pass
    assert caught.value.code is Code.TOOL
    assert "nap: not one of" in caught.value.message
