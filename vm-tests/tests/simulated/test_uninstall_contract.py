"""Proa is taken out of a real cluster, and nothing of it is left there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.control.version_skew import skew
from proa.scheduler.install import render
from proa.scheduler.install.names import COMPONENT, NAMESPACES, PROXY, SCHEDULER, place
from proa.scheduler.install.removal import Removal, RemovalChange
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, InstallSettings
from proa.scheduler.kube import access, paths
from proa.scheduler.kube.api import Api
from proa.scheduler.objects.writing import Writer
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.planning.views import EXCLUDE, FENCE, HOLD, MARK, Mark, NodeView, Snapshot
from proa.scheduler.spec.crd import NODE_OSES, REVISION
from proa.vm.kube.api import APPLY, KubeApi, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.wipe import definitions
from proa.vm.simulated.installed import uninstall
from proa.vm.simulated.nodes import SimNodes
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
RELEASE = "registry.example/node:1@sha256:" + "a" * 64
SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
SPACES = (NAMESPACE, PROXY_NAMESPACE)


class Leader:
    leading = True
    fence = 3


@pytest.fixture
def api(cluster: ControlPlane) -> Iterator[Api]:
    """The scheduler's own client, as administrator."""
    found = administrator(cluster)
    yield found
    found.close()


def administrator(cluster: ControlPlane) -> Api:
    return Api(access.find(str(cluster.kubeconfig), environ={}))


@pytest.fixture
def installed(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """All that ``manifests`` prints; what a test has left of it goes, since a policy would refuse others' writes."""
    try:
        cluster.apply(render.documents(InstallSettings()))
        yield cluster
    finally:
        uninstall(cluster)
        for item in reversed(render.documents(InstallSettings())):
            if item["kind"] != "CustomResourceDefinition":
                cluster.api.delete(place(item), propagationPolicy="Background")
        for space in SPACES:
            path = f"{NAMESPACES}/{space}"
            until(lambda path=path: gone(cluster, path), f"{space} to go")  # type: ignore[misc]


def gone(cluster: ControlPlane, path: str) -> bool:
    """Whether a namespace has gone; nobody plays kubelet for its pods any more."""
    if cluster.api.find(path) is None:
        return True
    cluster.api.call("DELETE", f"{path}/pods", {"gracePeriodSeconds": 0})
    return False


def path_of(cluster: ControlPlane, item: Object) -> str:
    path = place(item)
    return path if cluster.api.find(path) else ""


def remove(api: Api, **options: Any) -> list[RemovalChange]:
    found: list[RemovalChange] = []
    Removal(api, found.append, **options).run()
    return found


def mark(api: Api, cluster: ControlPlane, name: str, *, cordoned: bool = True) -> None:
    """Mark and cordon a node as the leader does."""
    uid = cluster.api.get(f"/api/v1/nodes/{name}")["metadata"]["uid"]
    view = Snapshot({name: NodeView(name, uid, {})}, {}, {})
    done = Writer(api, Leader()).carry_out(Cordon(name, Mark("workers", "sha256:a", SINCE, cordoned, "boot")), view)
    assert done.error is None


def shown(cluster: ControlPlane) -> dict[str, Any]:
    """What a person sees of the nodes, but for what changes all the time."""
    return {
        node["metadata"]["name"]: (
            node["metadata"].get("labels"),
            node["metadata"].get("annotations"),
            node["metadata"].get("finalizers"),
            node["spec"],
        )
        for node in cluster.api.items("/api/v1/nodes")
    }


def node_os(name: str, fence: int = 3) -> Object:
    metadata = {"name": name, "annotations": {FENCE: str(fence)}, "finalizers": ["proa.dev/of-a-later-version"]}
    return {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": metadata, "spec": {}}


def rollout() -> Object:
    kind = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout"}
    return {**kind, "metadata": {"name": "workers"}, "spec": {"release": RELEASE}}


def lease(holder: str = "", seconds: int = 20) -> Object:
    metadata = {"name": SCHEDULER, "namespace": NAMESPACE}
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": 3}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def test_nothing_is_left(installed: ControlPlane, api: Api, nodes: Callable[..., SimNodes]) -> None:
    nodes(5, proxy=False)
    installed.kubectl("cordon", "node-0003")
    before = shown(installed)
    installed.apply([lease(), rollout()])
    until(lambda: installed.api.call("POST", NODE_OSES, node_os("node-0000")).status in (201, 409), "the policy")
    installed.apply([node_os("node-0001")])
    mark(api, installed, "node-0000")
    mark(api, installed, "node-0001")
    mark(api, installed, "node-0003", cordoned=False)
    installed.kubectl("annotate", "node", "node-0002", f"{HOLD}=a look at its disk", f"{EXCLUDE}=true")
    installed.kubectl("annotate", "node", "node-0001", f"{MARK}=mine now", "--overwrite")
    installed.kubectl("annotate", "node", "node-0004", f"{FENCE}=3")
    assert before != shown(installed)

    changes = remove(api)

    assert shown(installed) == before
    assert [item for item in render.documents(InstallSettings()) if path_of(installed, item)] == []
    crds = installed.kubectl("get", "crd", "-o", "name").text
    assert "proa.dev" not in crds
    everything = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert "proa" not in installed.kubectl("get", everything, "-o", "name").text.replace("proa-admin", "")
    told = {(change.kind, change.name): change.did for change in changes}
    assert told["Node", "node-0000"] == f"stripped of cordon, {MARK}, {FENCE}"
    assert told["Node", "node-0002"] == f"stripped of {HOLD}, {EXCLUDE}"
    assert told["Node", "node-0003"] == f"stripped of {MARK}, {FENCE}"
    assert told["Deployment", f"{NAMESPACE}/{SCHEDULER}"] == "deleted"
    assert told["NodeOS", "node-0000"] == told["OSRollout", "workers"] == "deleted"
    assert told["Namespace", NAMESPACE] == told["Namespace", PROXY_NAMESPACE] == "deleted"
    kinds = [change.kind for change in changes]
    assert kinds.index("Deployment") == 0
    assert kinds.index("Node") < kinds.index("NodeOS") < kinds.index("CustomResourceDefinition")
    assert kinds.index("Lease") < kinds.index("ValidatingAdmissionPolicyBinding")
    assert kinds[-2:] == ["Namespace", "Namespace"]
    assert remove(api) == []


def test_a_dry_run_changes_nothing(installed: ControlPlane, api: Api, nodes: Callable[..., SimNodes]) -> None:
    nodes(2, proxy=False, pods=False)
    installed.apply([rollout()])
    mark(api, installed, "node-0000")
    before, since = shown(installed), installed.audit_log.mark()
    changes = remove(api, dry_run=True)
    assert shown(installed) == before
    kinds = {change.kind for change in changes}
    assert {"Deployment", "Node", "OSRollout", "CustomResourceDefinition", "DaemonSet", "Namespace"} <= kinds
    assert all(change.did.startswith("would be ") for change in changes)
    assert [one for one in installed.audit(since, write=True) if one.agent.startswith("proa-scheduler/")] == []


def test_a_cluster_that_had_proa_knows_the_lease_of_its_next_installation(tmp_path: Path) -> None:
    """An API server of its own: what one has once stopped following, it never follows again."""
    with ControlPlane(tmp_path, before=definitions()) as plane, closing(administrator(plane)) as api:
        for fence in (3, 9):
            plane.apply(render.documents(InstallSettings()))
            plane.apply([one := lease()])
            plane.api.patch(place(one), {"spec": {"leaseTransitions": fence}})
            with KubeApi(plane.access_for(SCHEDULER, NAMESPACE)) as scheduler:
                ours, old = (node_os("node-0000", number) for number in (fence, fence - 1))
                # The policy and the lease are each seen a while after they were written.
                until(lambda: (tried(scheduler, old), tried(scheduler, ours)) == (403, 201), "the policy's word")  # noqa: B023
            remove(api)
            assert plane.api.find(place(one)) is None


def tried(api: KubeApi, item: Object) -> int:
    return api.call("POST", NODE_OSES, item, query={"dryRun": "All"}).status


class Interrupted(Exception):  # noqa: N818 -- nothing is wrong
    pass


class Breaking(Api):
    """Ends before the write after so many."""

    left = 0

    def _ask(self, call: Any) -> Object:
        if call.method != "GET":
            self.left -= 1
            if self.left < 0:
                raise Interrupted
        return super()._ask(call)


def test_it_goes_on_where_it_was_interrupted(installed: ControlPlane, api: Api, nodes: Callable[..., SimNodes]) -> None:
    nodes(3, proxy=False)
    before = shown(installed)
    installed.apply([rollout()])
    for name in ("node-0000", "node-0001"):
        mark(api, installed, name)
    breaking = Breaking(access.find(str(installed.kubeconfig), environ={}))
    ends = 0
    for _ in range(80):
        breaking.left = 1
        try:
            Removal(breaking, lambda change: None).run()
        except Interrupted:
            ends += 1
        else:
            break
    breaking.close()
    assert ends >= 20
    assert shown(installed) == before
    assert [item for item in render.documents(InstallSettings()) if path_of(installed, item)] == []
    assert remove(api) == []


def test_a_scheduler_that_still_leads_is_waited_for(installed: ControlPlane, api: Api) -> None:
    """One that does not run in the namespace, too: the lease says that it works."""

    class Renewing(Api):
        def get(self, path: str, query: Any = None) -> Object:
            if path.endswith(f"/leases/{SCHEDULER}"):
                renewed = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                installed.api.patch(place(lease()), {"spec": {"renewTime": renewed}})
            return super().get(path, query)

    installed.apply([lease("laptop_1234", seconds=2)])
    renewing = Renewing(access.find(str(installed.kubeconfig), environ={}))
    with pytest.raises(ProaError) as caught:
        remove(renewing, seconds=4)
    renewing.close()
    assert caught.value.code is Code.TIMEOUT
    assert "laptop_1234" in caught.value.message
    assert installed.api.find("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodeoses.proa.dev")
    assert remove(api, seconds=60)[-1].kind == "Namespace"  # it has died: its lease runs out


def test_a_cordon_that_others_own_as_well_stays(installed: ControlPlane, api: Api, nodes: Callable[..., Any]) -> None:
    nodes(1, proxy=False, pods=False)
    mark(api, installed, "node-0000")
    path = "/api/v1/nodes/node-0000"
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0000"}, "spec": {"unschedulable": True}}
    query = {"fieldManager": "operator"}
    assert installed.api.call("PATCH", path, body, query=query, content=APPLY).status == 200
    (told,) = (change for change in remove(api) if change.kind == "Node")
    assert told.did == f"stripped of cordon, {MARK}, {FENCE}; stays cordoned, because of operator"
    assert installed.api.get(path)["spec"]["unschedulable"] is True


def test_a_cordon_is_known_by_its_mark_where_nobody_owns_it(
    installed: ControlPlane, api: Api, nodes: Callable[..., Any]
) -> None:
    """As after a restore of the cluster from a backup that keeps no managed fields."""
    nodes(1, proxy=False, pods=False)
    before = shown(installed)
    mark(api, installed, "node-0000")
    installed.api.patch("/api/v1/nodes/node-0000", {"metadata": {"managedFields": [{}]}})
    remove(api)
    assert shown(installed) == before


def test_a_namespace_with_something_of_others_in_it_stays(installed: ControlPlane, api: Api) -> None:
    labels = {"app": "database"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "it", "image": "registry.test/it"}]}}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "database", "namespace": NAMESPACE},
        "spec": {"serviceName": "", "selector": {"matchLabels": labels}, "template": pod},
    }
    installed.apply([theirs, lease()])
    told = {(change.kind, change.name): change.did for change in remove(api)}
    assert told["Namespace", NAMESPACE] == "kept; statefulsets/database is in it"
    assert told["Lease", f"{NAMESPACE}/{SCHEDULER}"] == "deleted"
    assert told["Namespace", PROXY_NAMESPACE] == "deleted"


def test_c15_what_is_installed_is_of_the_schedulers_version_until_somebody_puts_an_older_definition_there(
    installed: ControlPlane, api: Api
) -> None:
    assert skew(api, "") == ()
    path = f"{paths.DEFINITIONS}/osrollouts.proa.dev"
    installed.api.patch(path, {"metadata": {"annotations": {REVISION: "0123456789abcdef"}}})
    (said,) = skew(api, "")
    assert "osrollouts.proa.dev is of another version" in said


def test_c15_an_api_that_is_away_and_holds_a_namespace_is_named(installed: ControlPlane, api: Api) -> None:
    path, version = "/apis/apiregistration.k8s.io/v1/apiservices/v1.away.test", {"group": "away.test", "version": "v1"}
    served = {"service": {"namespace": "default", "name": "away"}, "insecureSkipTLSVerify": True}
    spec = {**version, **served, "groupPriorityMinimum": 100, "versionPriority": 100}
    about = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.away.test"}}
    installed.apply([{**about, "spec": spec}])
    try:
        until(lambda: "status" in installed.api.get(path), "the API to be looked for")
        with pytest.raises(ProaError) as caught:
            remove(api, seconds=10)
    finally:
        installed.api.delete(path)
    assert caught.value.at.startswith(f"{NAMESPACES}/proa")
    assert "away.test/v1" in caught.value.message
    assert "kubectl get apiservices" in caught.value.hint
    remove(api)


def test_the_clusters_own_namespaces_stay_whatever_their_labels(installed: ControlPlane, api: Api) -> None:
    installed.kubectl("label", "namespace", "kube-public", f"{COMPONENT}=scheduler")
    try:
        told = {(change.kind, change.name): change.did for change in remove(api)}
        assert told["Namespace", "kube-public"] == "kept; it belongs to the cluster"
        assert "deletionTimestamp" not in installed.api.get(f"{NAMESPACES}/kube-public")["metadata"]
    finally:
        installed.kubectl("label", "namespace", "kube-public", f"{COMPONENT}-")


def test_other_names_are_found_by_their_labels(cluster: ControlPlane, api: Api) -> None:
    chosen = InstallSettings(namespace="os", proxy_namespace="os-proxy")
    cluster.apply(render.documents(chosen))
    remove(api)
    assert [item for item in render.documents(chosen) if path_of(cluster, item)] == []


def test_the_command_says_what_it_did(installed: ControlPlane) -> None:
    from click.testing import CliRunner

    from proa.scheduler.cli.main import cli

    words = ["uninstall", "--kubeconfig", str(installed.kubeconfig), "--json", "--yes"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["schema"] == "proa.uninstall/v1"
    assert {"kind": "DaemonSet", "name": f"{PROXY_NAMESPACE}/{PROXY}", "did": "deleted"} in document["changes"]
    again = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert json.loads(again.stdout)["changes"] == []
