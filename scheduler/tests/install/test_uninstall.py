"""How Proa is taken away: what is ours on a node, when it is quiet, in which order, and what the command asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.json_schema import closed
from proa.scheduler.cli.main import cli
from proa.scheduler.install import cleaning, quiet, render
from proa.scheduler.install.names import COMPONENT, SCHEDULER, labels, place
from proa.scheduler.install.removal import Removal, RemovalChange
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, InstallSettings
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.kube.stream import Object
from proa.scheduler.objects.annotations import mark_text
from proa.scheduler.planning.views import EXCLUDE, FENCE, HOLD, MARK, Mark
from proa.scheduler.report.reports import SCHEMAS
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.scheduler.testing.apiserver import ApiServer, Asked
from proa.scheduler.testing.served import HttpServer, behind

SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SCHEDULER}"
OSES = NODE_OSES
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def marked(
    *, cordoned: bool = True, owners: tuple[str, ...] = (SCHEDULER,), more: Mapping[str, str] | None = None
) -> Object:
    """A node with our mark, and who owns its cordon."""
    said = {MARK: mark_text(Mark("workers", "sha256:a", SINCE, cordoned, "boot")), FENCE: "3", **(more or {})}
    ours: Object = {"f:metadata": {"f:annotations": {f"f:{MARK}": {}, f"f:{FENCE}": {}}}}
    cordon: Object = {"f:spec": {"f:unschedulable": {}}}
    managed = [
        {"manager": one, "operation": "Apply", "fieldsV1": cordon | (ours if one == SCHEDULER else {})}
        for one in owners
    ]
    metadata = {**SAME, "annotations": said, "managedFields": managed}
    return {"metadata": metadata, "spec": {"unschedulable": True}}


def a_server(node: Object) -> ApiServer:
    """An API server with one node."""
    api = ApiServer()
    api.add(NODE, node)
    return api


def asked(api: ApiServer) -> list[tuple[str, Object]]:
    """Verb and body of all that was asked about the node."""
    assert {one.path for one in api.asked} <= {NODE}
    return [(one.verb, one.body) for one in api.asked]


NODE = "/api/v1/nodes/n1"
SAME = {"name": "n1", "uid": "u1"}
EMPTY = ("apply", {"apiVersion": "v1", "kind": "Node", "metadata": SAME})


# a node


def test_mark_and_cordon_go_by_an_apply_of_nothing() -> None:
    api = a_server(marked())
    assert cleaning.clean(api, marked()) == ""
    assert asked(api) == [EMPTY]
    assert cleaning.found_on(api.items[NODE]) == []
    assert api.items[NODE]["spec"] == {}


def test_words_of_people_to_us_go_too() -> None:
    node = marked(more={HOLD: "why", "other": "stays"})
    api = a_server(node)
    assert cleaning.clean(api, node) == ""
    assert asked(api) == [EMPTY, ("merge", {"metadata": {"annotations": {HOLD: None}, "uid": "u1"}})]
    assert api.items[NODE]["metadata"]["annotations"] == {"other": "stays"}


def test_a_node_that_we_have_not_applied_to_gets_no_apply() -> None:
    node = {"metadata": {**SAME, "annotations": {EXCLUDE: "true"}}, "spec": {"unschedulable": True}}
    api = a_server(node)
    assert cleaning.clean(api, node) == ""
    assert asked(api) == [("merge", {"metadata": {"annotations": {EXCLUDE: None}, "uid": "u1"}})]
    assert api.items[NODE]["spec"] == {"unschedulable": True}


def test_a_cordon_that_somebody_else_owns_as_well_stays() -> None:
    node = marked(owners=(SCHEDULER, "operator"))
    api = a_server(node)
    assert cleaning.clean(api, node) == "stays cordoned, because of operator"
    assert asked(api) == [EMPTY]
    assert api.items[NODE]["spec"] == {"unschedulable": True}


def test_a_cordon_that_nobody_owns_goes_by_what_the_mark_says() -> None:
    node = marked(owners=())
    api = a_server(node)
    assert cleaning.clean(api, node) == ""
    ((verb, body),) = asked(api)
    assert verb == "merge"
    assert body["spec"] == {"unschedulable": None}
    assert api.items[NODE]["spec"] == {}


def test_a_cordon_from_before_ours_stays() -> None:
    node = marked(cordoned=False, owners=())
    api = a_server(node)
    assert cleaning.clean(api, node) == ""
    ((_, body),) = asked(api)
    assert "spec" not in body
    assert api.items[NODE]["spec"] == {"unschedulable": True}


@pytest.mark.parametrize(
    ("node", "found"),
    [
        (marked(), ["cordon", MARK, FENCE]),
        (marked(cordoned=False), [MARK, FENCE]),
        ({"metadata": {**SAME, "annotations": {HOLD: "", "a": "b"}}, "spec": {"unschedulable": True}}, [HOLD]),
        ({"metadata": {**SAME, "managedFields": marked()["metadata"]["managedFields"]}}, ["managed fields"]),
        ({"metadata": {**SAME, "managedFields": [{"manager": "proa-scheduler", "operation": "Update"}]}}, []),
        ({"metadata": SAME, "spec": {"unschedulable": True}}, []),
        ({"metadata": SAME}, []),
    ],
)
def test_what_is_ours_is_known(node: Object, found: list[str]) -> None:
    assert cleaning.found_on(node) == found


@pytest.mark.parametrize(
    "error",
    [
        ApiError(404, "not found", reason="NotFound"),
        ApiError(422, "invalid", causes=(Cause("FieldValueInvalid", "immutable", "metadata.uid"),)),
    ],
)
def test_a_node_that_is_gone_or_another_one_has_nothing_of_ours(error: ApiError) -> None:
    api = ApiServer()
    api.fail(lambda verb, path: error)
    assert cleaning.clean(api, marked()) == ""


def test_a_refusal_is_told() -> None:
    api = a_server(marked())
    api.fail(lambda verb, path: ApiError(403, "no"))
    with pytest.raises(ApiError) as caught:
        cleaning.clean(api, marked())
    assert caught.value.code is Code.CLUSTER_FORBIDDEN


# a cluster


class Cluster(ApiServer):
    """A cluster in which the lease and the schedulers' pods go on as told."""

    def __init__(
        self,
        objects: Mapping[str, Object] | None = None,
        lease: Callable[[], Object | None] = lambda: None,
        pods: Callable[[], list[str]] = list,
    ) -> None:
        super().__init__()
        for path, item in (objects or {}).items():
            self.add(path, item)
        self._lease, self._pods = lease, pods
        self.before = self._go_on

    def _go_on(self, _: Asked) -> None:
        self._set(LEASE, self._lease())
        left = self._pods()
        for name in ("a", "b", "standby"):
            self._set(f"{PODS}/{name}", {"metadata": {"labels": labels(SCHEDULER)}} if name in left else None)

    def _set(self, path: str, item: Object | None) -> None:
        if item is not None:
            self.add(path, item)
        elif path in self.items:
            self.remove(path)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Verb and path of what was asked to be changed."""
        return [(one.verb, one.path) for one in self.writes]


def a_cluster(**more: Any) -> Cluster:
    """One in which Proa is installed, with a marked node and its NodeOS."""
    objects = {place(item): item for item in render.documents(InstallSettings())}
    objects[NODE] = marked()
    objects["/api/v1/nodes/n2"] = {"metadata": {"name": "n2", "uid": "u2"}, "spec": {}}
    objects[f"{OSES}/n1"] = {"metadata": {"name": "n1", "uid": "o1", "finalizers": ["proa.dev/a", "others.dev/b"]}}
    return Cluster(objects, **more)


def removed(cluster: Cluster, **options: Any) -> list[RemovalChange]:
    found: list[RemovalChange] = []
    Removal(cluster, found.append, clock=VirtualClock(), **options).run()
    return found


def test_everything_goes_in_order_and_only_once() -> None:
    cluster = a_cluster()
    kinds = list(dict.fromkeys(change.kind for change in removed(cluster)))
    assert kinds == [
        "Deployment",
        "Node",
        "NodeOS",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "CustomResourceDefinition",
        "DaemonSet",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ClusterRoleBinding",
        "ClusterRole",
        "RoleBinding",
        "Role",
        "ServiceAccount",
        "Namespace",
    ]
    assert set(cluster.items) == {NODE, "/api/v1/nodes/n2"}
    assert removed(cluster) == []


def test_only_nodes_with_something_of_ours_are_written_to() -> None:
    cluster = a_cluster()
    removed(cluster)
    assert [path for _, path in cluster.changes if "/nodes/" in path] == ["/api/v1/nodes/n1"]


def test_finalizers_of_ours_hold_nothing_up_and_others_are_told() -> None:
    cluster = a_cluster()
    (told,) = (change for change in removed(cluster) if change.kind == "NodeOS")
    assert told == RemovalChange("NodeOS", "n1", "deleted; held by others.dev/b")
    assert [verb for verb, path in cluster.changes if path == f"{OSES}/n1"] == ["merge", "delete"]


def test_a_dry_run_writes_nothing_and_waits_for_nobody() -> None:
    cluster = a_cluster(lease=lambda: {"spec": {"holderIdentity": "a"}}, pods=lambda: ["a"])
    changes = removed(cluster, dry_run=True)
    assert cluster.changes == []
    assert RemovalChange("Node", "n1", f"would be stripped of cordon, {MARK}, {FENCE}") in changes
    assert RemovalChange("Namespace", PROXY_NAMESPACE, "would be deleted") in changes


@pytest.mark.parametrize(
    "path",
    ["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodeoses.proa.dev", "/api/v1/namespaces/proa-proxy"],
)
def test_what_does_not_end_is_an_error(path: str) -> None:
    cluster = a_cluster()
    cluster.change(path, metadata={"finalizers": ["others.dev/stuck"]})
    with pytest.raises(ProaError) as caught:
        removed(cluster, seconds=30)
    assert caught.value.code is Code.TIMEOUT
    assert caught.value.at == path


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("NamespaceDeletionDiscoveryFailure", "kubectl get apiservices"), ("NamespaceContentRemaining", "get all -n")],
)
def test_c15_what_a_namespace_says_of_its_end_is_told(kind: str, hint: str) -> None:
    cluster, path = a_cluster(), "/api/v1/namespaces/proa-proxy"
    conditions = [
        {"type": "NamespaceFinalizersRemaining", "status": "False", "message": "all done"},
        {"type": kind, "status": "True", "message": "unable to go:\nfor a reason"},
    ]
    cluster.change(path, metadata={"finalizers": ["others.dev/stuck"]}, status={"conditions": conditions})
    with pytest.raises(ProaError) as caught:
        removed(cluster, seconds=30)
    assert caught.value.message == "still there after 30 s: unable to go: for a reason"
    assert hint in caught.value.hint


@pytest.mark.parametrize("kind", ["/api/v1/namespaces/{}/pods", "/apis/apps/v1/namespaces/{}/daemonsets"])
def test_a_namespace_with_something_of_others_stays(kind: str) -> None:
    cluster = a_cluster()
    path = f"{kind.format(PROXY_NAMESPACE)}/theirs"
    cluster.add(path, {"metadata": {"name": "theirs"}})
    (told,) = (change for change in removed(cluster) if (change.kind, change.name) == ("Namespace", PROXY_NAMESPACE))
    assert told.did == f"kept; {path.split('/')[-2]}/theirs is in it"
    assert path in cluster.items


def test_the_clusters_own_namespaces_are_never_deleted() -> None:
    cluster = a_cluster()
    for name in ("default", "kube-system"):
        cluster.add(f"/api/v1/namespaces/{name}", {"metadata": {"labels": {COMPONENT: "proxy"}}})
    told = {change.name: change.did for change in removed(cluster) if change.kind == "Namespace"}
    assert told["default"] == told["kube-system"] == "kept; it belongs to the cluster"


def test_chosen_namespaces_are_found() -> None:
    chosen = InstallSettings(namespace="os", proxy_namespace="os-proxy")
    cluster = Cluster({place(item): item for item in render.documents(chosen)})
    removed(cluster)
    assert cluster.items == {}


def test_every_kind_that_is_installed_is_removed() -> None:
    """A kind that is added to the manifests must have its turn in the removal."""
    cluster = a_cluster()
    installed = {item["kind"] for item in render.documents(InstallSettings())}
    assert installed <= {change.kind for change in removed(cluster)}


# quiet


def a_lease(holder: str, renewed: str = "", seconds: int = 20) -> Object:
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}}


def waited(cluster: Cluster, clock: VirtualClock, seconds: float = 120) -> float:
    quiet.wait(cluster, NAMESPACE, clock, seconds)
    return clock.at


def test_nobody_there_is_quiet_at_once() -> None:
    assert waited(Cluster(), VirtualClock()) == 0


def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    assert waited(Cluster(lease=lambda: a_lease("")), VirtualClock()) == 0


def test_pods_are_waited_for() -> None:
    clock = VirtualClock()
    assert waited(Cluster(pods=lambda: ["a"] if clock.at < 7 else []), clock) == 7


def test_a_lease_that_nobody_renews_is_free_when_its_time_is_up() -> None:
    assert waited(Cluster(lease=lambda: a_lease("dead", "then", 15)), VirtualClock()) == 15


def test_a_lease_that_is_renewed_is_never_free() -> None:
    clock = VirtualClock()
    with pytest.raises(ProaError) as caught:
        waited(Cluster(lease=lambda: a_lease("laptop_1", f"{clock.at // 4}")), clock, 60)
    assert caught.value.code is Code.TIMEOUT
    assert "laptop_1 still holds the lease" in caught.value.message


def test_pods_of_a_dead_node_hold_nothing_up() -> None:
    """Nobody has taken the free lease for a whole term."""
    assert waited(Cluster(pods=lambda: ["a"]), VirtualClock()) == 20


def test_a_standby_that_takes_the_lease_is_waited_for() -> None:
    clock = VirtualClock()
    lease = Cluster(
        lease=lambda: a_lease("standby", str(clock.at)) if 2 < clock.at < 30 else a_lease(""),
        pods=lambda: ["standby"] if clock.at < 30 else [],
    )
    assert waited(lease, clock) == 30


def test_a_pod_that_works_on_is_named() -> None:
    clock = VirtualClock()
    cluster = Cluster(lease=lambda: a_lease("", seconds=3600), pods=lambda: ["a", "b"])
    with pytest.raises(ProaError) as caught:
        waited(cluster, clock, 30)
    assert "a, b still there" in caught.value.message


def test_other_trouble_is_told() -> None:
    def trouble() -> Object:
        raise ApiError(403, "no")

    with pytest.raises(ApiError):
        waited(Cluster(lease=trouble), VirtualClock())


# the command


def config(folder: Path, url: str) -> str:
    path = folder / "config"
    inner = {"server": url}
    context = {"cluster": "a", "user": "a"}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "a", "cluster": inner}],
                "users": [{"name": "a", "user": {}}],
                "contexts": [{"name": "a", "context": context}],
                "current-context": "a",
            }
        )
    )
    return str(path)


@pytest.fixture
def small(server: HttpServer, tmp_path: Path) -> tuple[Cluster, str]:
    """A cluster with one marked node and a namespace, behind HTTP; and its kubeconfig."""
    space = {"metadata": {"labels": {**labels(SCHEDULER), COMPONENT: "scheduler"}}}
    cluster = Cluster({NODE: marked(), f"/api/v1/namespaces/{NAMESPACE}": space})
    cluster.unserved = {OSES, OS_ROLLOUTS}
    server.answer = behind(cluster)
    return cluster, config(tmp_path, server.url)


def invoke(small: tuple[Cluster, str], *words: str, said: str = "") -> Any:
    command = ["uninstall", "--kubeconfig", small[1], *words]
    return CliRunner().invoke(cli, command, input=said, catch_exceptions=False)


def test_it_asks_and_does(small: tuple[Cluster, str]) -> None:
    result = invoke(small, said="y\n")
    assert result.exit_code == 0
    assert f"Node n1: would be stripped of cordon, {MARK}, {FENCE}" in result.output
    assert "Do that?" in result.output
    assert f"Namespace {NAMESPACE}: deleted" in result.output
    assert [verb for verb, _ in small[0].changes] == ["apply", "delete"]


def test_a_no_changes_nothing(small: tuple[Cluster, str]) -> None:
    result = invoke(small, said="n\n")
    assert result.exit_code != 0
    assert small[0].writes == []


def test_yes_is_not_asked(small: tuple[Cluster, str]) -> None:
    result = invoke(small, "--yes")
    assert "Do that?" not in result.output
    assert small[0].writes


def test_a_dry_run_asks_nothing(small: tuple[Cluster, str]) -> None:
    result = invoke(small, "--dry-run")
    assert result.exit_code == 0
    assert "would be deleted" in result.output
    assert small[0].writes == []


def test_json_tells_the_same(small: tuple[Cluster, str]) -> None:
    document = json.loads(invoke(small, "--json", "--dry-run").stdout)
    assert document["schema"] == "proa.uninstall/v1"
    jsonschema.Draft202012Validator(closed(dict(SCHEMAS[document["schema"]]))).validate(document)
    assert document["dry_run"] is True
    assert {"kind": "Namespace", "name": NAMESPACE, "did": "would be deleted"} in document["changes"]


def test_nobody_can_be_asked_in_json(small: tuple[Cluster, str]) -> None:
    with pytest.raises(ProaError) as caught:
        invoke(small, "--json")
    assert caught.value.code is Code.USAGE


def test_where_nothing_is_that_is_said(small: tuple[Cluster, str]) -> None:
    small[0].items.clear()
    assert invoke(small).output == "Proa is not installed\n"
    assert invoke(small, "--yes").output == "Proa is not installed\n"
