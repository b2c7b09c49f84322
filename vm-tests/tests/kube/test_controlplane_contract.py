"""The real control plane: that it is one, and that it bears what tests do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.spec.crd import RESOURCES
from proa.vm.kube import wipe
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.api import KubeApi, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.follow import ADDED, DELETED, LISTED, MODIFIED, Follower
from proa.vm.simulated.nodes import SimNodes
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
NODES = RESOURCES["NodeOS"].path


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def node_os(name: str, owner: Object | None = None) -> Object:
    metadata: Object = {"name": name}
    if owner is not None:
        uid = owner["metadata"]["uid"]
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]
    return {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": metadata, "spec": {}}


def deployment(namespace: str, replicas: int) -> list[Object]:
    """A Deployment and a budget that lets one pod of it be away."""
    labels = {"app": "web"}
    spec = {"terminationGracePeriodSeconds": 5, "containers": [{"name": "web", "image": "registry.test/web"}]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    selector = {"matchLabels": labels}
    metadata = {"name": "web", "namespace": namespace}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": selector},
        },
    ]


def test_it_is_ready_and_says_its_version(cluster: ControlPlane) -> None:
    assert cluster.api.get("/version")["gitVersion"].startswith("v1.")
    assert cluster.kubectl("get", "--raw", "/readyz").text == "ok"


def test_its_programs_listen_on_the_loopback_address_alone(cluster: ControlPlane) -> None:
    heard = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in cluster.parts.ports:
                heard.add(port)
                assert address == "0100007F"
    assert len(heard) == 4


# who may do what


def test_a_fresh_service_account_may_do_nothing(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("rights")
    kubeconfig = cluster.kubeconfig_for("default", namespace)
    who = cluster.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=kubeconfig)
    assert who.text == "system:serviceaccount:rights:default"
    with KubeApi(cluster.access_for("default", namespace)) as api:
        for path in ("/api/v1/nodes", "/api/v1/secrets", NODES, "/api/v1/namespaces"):
            assert api.call("GET", path).status == 403


def test_a_forged_token_is_nobodys(cluster: ControlPlane) -> None:
    access = cluster.access_for("default", "default")
    forged = ApiAccess(access.server, access.ca_file, token=access.token[:-8] + "AAAAAAAA")
    with KubeApi(forged) as api:
        assert api.call("GET", "/api/v1/nodes").status == 401


def user_of(access: ApiAccess) -> dict[str, Any]:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with KubeApi(access) as api:
        found: dict[str, Any] = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]
    return found["userInfo"]["extra"]  # type: ignore[no-any-return]  # JSON


def test_a_token_says_to_which_node_it_is_bound(cluster: ControlPlane, nodes: Callable[..., SimNodes]) -> None:
    nodes(2)
    extra = user_of(cluster.access_for("default", "default", node="node-0001"))
    assert extra["authentication.kubernetes.io/node-name"] == ["node-0001"]
    assert "authentication.kubernetes.io/node-name" not in user_of(cluster.access_for("default", "default"))


def test_a_token_says_where_its_pod_runs(cluster: ControlPlane, nodes: Callable[..., SimNodes]) -> None:
    nodes(1)
    namespace = cluster.namespace("bound")
    metadata = {"name": "web", "namespace": namespace}
    spec = {"containers": [{"name": "web", "image": "registry.test/web"}]}
    cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
    path = f"/api/v1/namespaces/{namespace}/pods/web"
    until(lambda: cluster.api.get(path)["spec"].get("nodeName"), "the pod to be bound")
    extra = user_of(cluster.access_for("default", namespace, pod="web"))
    assert extra["authentication.kubernetes.io/pod-name"] == ["web"]
    assert extra["authentication.kubernetes.io/node-name"] == ["node-0000"]


def test_a_kubelet_may_change_its_own_node_alone(cluster: ControlPlane, nodes: Callable[..., SimNodes]) -> None:
    nodes(2)
    with KubeApi(cluster.user("system:node:node-0000", ["system:nodes"])) as kubelet:
        patch = {"metadata": {"labels": {"mine": "yes"}}}
        assert (
            kubelet.call("PATCH", "/api/v1/nodes/node-0000", patch, content="application/merge-patch+json").status
            == 200
        )
        other = kubelet.call("PATCH", "/api/v1/nodes/node-0001", patch, content="application/merge-patch+json")
        assert other.status == 403
        assert "node-0001" in other.message


# controllers


def allowed(cluster: ControlPlane, namespace: str) -> int:
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web"
    return int(cluster.api.get(path).get("status", {}).get("disruptionsAllowed", 0))


def pods(cluster: ControlPlane, namespace: str) -> list[Object]:
    return list(cluster.api.items(f"/api/v1/namespaces/{namespace}/pods"))


def evict(cluster: ControlPlane, pod: Object) -> int:
    metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
    return cluster.api.call("POST", path, body).status


def test_a_budget_is_counted_and_kept(cluster: ControlPlane, nodes: Callable[..., SimNodes]) -> None:
    fleet = nodes(3)
    namespace = cluster.namespace("budget")
    cluster.apply(deployment(namespace, 3))
    until(lambda: allowed(cluster, namespace) == 1, "one pod to be spare")
    fleet.fault(unready_pods=True)
    first, second, _ = pods(cluster, namespace)
    assert evict(cluster, first) == 201
    assert evict(cluster, second) == 429
    until(lambda: first["metadata"]["uid"] not in uids(cluster, namespace), "the first pod's end")
    until(lambda: len(pods(cluster, namespace)) == 3, "another one in its place")
    assert evict(cluster, second) == 429
    fleet.fault(unready_pods=False)
    until(lambda: allowed(cluster, namespace) == 1, "one pod to be spare again")
    assert evict(cluster, second) == 201


def uids(cluster: ControlPlane, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods(cluster, namespace)}


def test_objects_go_with_their_owner(cluster: ControlPlane, nodes: Callable[..., SimNodes]) -> None:
    fleet = nodes(2)
    owners = {item["metadata"]["name"]: item for item in cluster.api.items("/api/v1/nodes")}
    cluster.apply([node_os(name, owner) for name, owner in owners.items()])
    fleet.remove("node-0000")
    until(lambda: not cluster.api.find(f"{NODES}/node-0000"), "its object to be collected")
    assert cluster.api.find(f"{NODES}/node-0001")


def test_a_namespace_goes_with_all_that_is_in_it(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("short-lived")
    cluster.apply([config_map("a") | {"metadata": {"name": "a", "namespace": namespace}}])
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")
    until(lambda: cluster.api.find(f"/api/v1/namespaces/{namespace}") is None, "its end")
    assert cluster.api.find(f"/api/v1/namespaces/{namespace}/configmaps/a") is None


# what tests do to it


def test_the_api_server_is_killed_and_comes_back(cluster: ControlPlane) -> None:
    cluster.apply([config_map("kept", key="value")])
    cluster.kill_apiserver()
    with pytest.raises(ProaError) as caught:
        cluster.api.get("/version")
    assert caught.value.code is Code.NETWORK
    cluster.start_apiserver()
    assert cluster.api.get("/api/v1/namespaces/default/configmaps/kept")["data"] == {"key": "value"}
    cluster.namespace("after")


def test_the_api_server_stands_still_and_goes_on(cluster: ControlPlane) -> None:
    cluster.pause_apiserver()

    def refusal() -> ProaError | None:
        """A signal takes its time to reach every thread."""
        try:
            cluster.api.call("GET", "/version", seconds=0.3)
        except ProaError as error:
            return error
        return None

    assert until(refusal, "silence").code is Code.NETWORK
    cluster.resume_apiserver()
    assert cluster.api.call("GET", "/version", seconds=10).status == 200


def test_a_follower_misses_nothing_when_the_api_server_is_killed(cluster: ControlPlane) -> None:
    seen: list[tuple[str, str]] = []
    path = "/api/v1/namespaces/follow/configmaps"
    cluster.namespace("follow")
    inside = {"namespace": "follow"}

    def put(name: str, **data: str) -> None:
        cluster.apply([config_map(name, **data) | {"metadata": {"name": name, **inside}}])

    put("first")
    with KubeApi(cluster.parts.access) as api:
        follower = Follower(api, path, lambda kind, item: seen.append((kind, item.get("metadata", {}).get("name", ""))))
        follower.start()
        assert follower.synced.wait(300)
        until(lambda: (LISTED, "") in seen, "the list")
        assert (ADDED, "first") in seen
        put("second")
        until(lambda: (ADDED, "second") in seen, "the second")
        cluster.kill_apiserver()
        cluster.start_apiserver()
        put("second", changed="yes")
        cluster.api.delete(f"{path}/first")
        until(lambda: (MODIFIED, "second") in seen or seen.count((ADDED, "second")) == 2, "the change")
        until(lambda: (DELETED, "first") in seen or seen.count((LISTED, "")) == 2, "the end of the first")
        follower.stop()


def test_what_is_refused_is_told(cluster: ControlPlane) -> None:
    with pytest.raises(ProaError) as caught:
        cluster.apply([{**node_os("wrong"), "spec": {"order": {"id": 0}}}])
    assert caught.value.code is Code.TOOL
    assert "spec.order.id" in caught.value.message
    with pytest.raises(ProaError) as caught:
        cluster.kubectl("get", "nothings")
    assert "nothings" in caught.value.message


def test_the_audit_log_tells_who_did_what(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("audited")
    mark = cluster.audit_log.mark()
    cluster.apply([config_map("seen") | {"metadata": {"name": "seen", "namespace": namespace}}])
    with KubeApi(cluster.access_for("default", namespace)) as api:
        api.call("GET", "/api/v1/nodes")
    (write,) = cluster.audit(mark, user="proa-admin", write=True)[:1]
    assert (write.verb, write.resource, write.namespace, write.name) == ("patch", "configmaps", "audited", "seen")
    assert write.status == 201
    assert write.agent == "proa-vm"
    assert write.is_complete
    assert 0 <= write.seconds < 10
    (read,) = cluster.audit(mark, user="audited/default")
    assert (read.verb, read.resource, read.status) == ("list", "nodes", 403)
    assert not read.is_write


def test_a_test_finds_nothing_of_the_one_before(cluster: ControlPlane, nodes: Callable[..., SimNodes]) -> None:
    fleet = nodes(2)
    namespace = cluster.namespace("left")
    cluster.apply([*deployment(namespace, 2), node_os("left")])
    until(lambda: allowed(cluster, namespace) == 1, "the budget")
    stuck = {"metadata": {"finalizers": ["proa.dev/stuck"]}}
    cluster.api.patch(f"{NODES}/left", stuck)
    cluster.kubectl("delete", "crd", "osrollouts.proa.dev")
    fleet.fault(stuck_pods=True)
    cluster.pause_apiserver()
    wipe.wipe(cluster)
    assert json.loads(cluster.kubectl("get", "nodes,nodeoses,osrollouts", "-o", "json").text)["items"] == []
    everything = "deployments,replicasets,pods,poddisruptionbudgets"
    assert json.loads(cluster.kubectl("get", everything, "-A", "-o", "json").text)["items"] == []


# seeds


def test_it_begins_with_what_another_one_held(cluster: ControlPlane, tmp_path: Path) -> None:
    first = ControlPlane(tmp_path / "first", controllers=())
    with first:
        first.apply([config_map("old", key="value")])
        seed = first.save(tmp_path / "seed")
        with pytest.raises(ProaError) as caught:
            first.save(seed)
        assert caught.value.code is Code.FILE_EXISTS
    with ControlPlane(tmp_path / "second", seed=seed, controllers=()) as second:
        assert second.api.get("/api/v1/namespaces/default/configmaps/old")["data"] == {"key": "value"}
        second.access_for("default", "default")
    with pytest.raises(ProaError) as caught:
        ControlPlane(tmp_path / "third", seed=tmp_path / "none")
    assert caught.value.code is Code.FILE_MISSING


def test_a_program_that_ends_shows_its_last_words(tmp_path: Path) -> None:
    broken = ControlPlane(tmp_path, controllers=(), extra={"kube-apiserver": ["--no-such-flag"]})
    with pytest.raises(ProaError) as caught, broken:
        pass
    assert caught.value.code is Code.TOOL
    assert "no-such-flag" in caught.value.message
    assert "apiserver.log" in caught.value.hint
    assert not broken.etcd.alive
