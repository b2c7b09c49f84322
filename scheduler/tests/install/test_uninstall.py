"""How Proa is taken away: what is ours on a node, when it is quiet, in which order, and what the command asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from proa.core.artifact.schemas import closed
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.cli.main import cli
from proa.scheduler.install import cleaning, quiet, render
from proa.scheduler.install.names import COMPONENT, SCHEDULER, labels
from proa.scheduler.install.places import place
from proa.scheduler.install.removal import Change, Removal
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, Settings
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.kube.stream import Object
from proa.scheduler.objects.annotations import mark_text
from proa.scheduler.planning.views import EXCLUDE, FENCE, HOLD, MARK, Mark
from proa.scheduler.report.schemas import SCHEMAS
from proa.scheduler.testing.served import HttpServer, Reply, Request

SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SCHEDULER}"
OSES = "/apis/proa.dev/v1alpha1/nodeoses"


def marked(
    *, cordoned: bool = True, owners: tuple[str, ...] = ("proa-scheduler",), more: Mapping[str, str] | None = None
) -> Object:
    """A node with our mark, and who owns its cordon."""
    said = {MARK: mark_text(Mark("workers", "sha256:a", SINCE, cordoned, "boot")), FENCE: "3", **(more or {})}
    fields: Object = {"f:spec": {"f:unschedulable": {}}}
    managed = [{"manager": one, "operation": "Apply", "fieldsV1": fields} for one in owners]
    metadata = {"name": "n1", "uid": "u1", "annotations": said, "managedFields": managed}
    return {"metadata": metadata, "spec": {"unschedulable": True}}


@dataclass
class Patched:
    """A node: remembers what was sent, and applies nothing as the API server does."""

    left: Object
    asked: list[tuple[str, Any]] = field(default_factory=list)
    error: ProaError | None = None

    def apply(self, path: str, body: Object, *, force: bool) -> Object:
        assert force
        return self._answer("apply", path, body)

    def merge(self, path: str, body: Object) -> Object:
        self.left["metadata"]["annotations"] = {}
        if "spec" in body:
            self.left["spec"] = {}
        return self._answer("merge", path, body)

    def _answer(self, verb: str, path: str, body: Object) -> Object:
        assert path == "/api/v1/nodes/n1"
        self.asked.append((verb, body))
        if self.error is not None:
            raise self.error
        return self.left


SAME = {"name": "n1", "uid": "u1"}
EMPTY = ("apply", {"apiVersion": "v1", "kind": "Node", "metadata": SAME})


# a node


def test_mark_and_cordon_go_by_an_apply_of_nothing() -> None:
    api = Patched({"metadata": {**SAME}, "spec": {}})
    assert cleaning.clean(api, marked()) == ""
    assert api.asked == [EMPTY]


def test_words_of_people_to_us_go_too() -> None:
    left = {"metadata": {**SAME, "annotations": {HOLD: "why", "other": "stays"}}, "spec": {}}
    api = Patched(left)
    assert cleaning.clean(api, marked(more={HOLD: "why"})) == ""
    assert api.asked == [EMPTY, ("merge", {"metadata": {"annotations": {HOLD: None}, "uid": "u1"}})]


def test_a_node_that_we_have_not_applied_to_gets_no_apply() -> None:
    node = {"metadata": {**SAME, "annotations": {EXCLUDE: "true"}}, "spec": {"unschedulable": True}}
    api = Patched(node)
    assert cleaning.clean(api, node) == ""
    assert api.asked == [("merge", {"metadata": {"annotations": {EXCLUDE: None}, "uid": "u1"}})]


def test_a_cordon_that_somebody_else_owns_as_well_stays() -> None:
    others = [{"manager": "operator", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]
    api = Patched({"metadata": {**SAME, "managedFields": others}, "spec": {"unschedulable": True}})
    assert cleaning.clean(api, marked()) == "stays cordoned: operator did so, too"
    assert api.asked == [EMPTY]


def test_a_cordon_that_nobody_owns_goes_by_what_the_mark_says() -> None:
    node = marked(owners=())
    api = Patched(node)
    assert cleaning.clean(api, node) == ""
    ((verb, body),) = api.asked
    assert verb == "merge"
    assert body["spec"] == {"unschedulable": None}


def test_a_cordon_from_before_ours_stays() -> None:
    node = marked(cordoned=False, owners=())
    api = Patched(node)
    assert cleaning.clean(api, node) == ""
    ((_, body),) = api.asked
    assert "spec" not in body


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
    assert cleaning.clean(Patched({}, error=error), marked()) == ""


def test_a_refusal_is_told() -> None:
    with pytest.raises(ApiError) as caught:
        cleaning.clean(Patched({}, error=ApiError(403, "no")), marked())
    assert caught.value.code is Code.CLUSTER_FORBIDDEN


# a cluster


@dataclass
class Cluster:
    """Objects by their paths. What is deleted is gone, but for what is told to stay."""

    objects: dict[str, Object] = field(default_factory=dict)
    lease: Callable[[], Object | None] = lambda: None
    pods: Callable[[], list[str]] = list
    stuck: set[str] = field(default_factory=set)
    writes: list[tuple[str, str]] = field(default_factory=list)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        found = self.lease() if path == LEASE else self.objects.get(path)
        if found is None:
            raise ApiError(404, "not found", reason="NotFound")
        return found

    def pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Object]:
        wanted = (query or {}).get("labelSelector", "")
        if path.endswith(f"/namespaces/{NAMESPACE}/pods") and "!=" not in wanted:
            assert wanted == "app.kubernetes.io/name=proa,app.kubernetes.io/component=scheduler"
            yield {"items": [{"metadata": {"name": name}} for name in self.pods()]}
            return
        depth = path.count("/") + 1
        if path in (OSES, "/apis/proa.dev/v1alpha1/osrollouts") and not any(
            one.startswith(path) for one in self.objects
        ):
            raise ApiError(404, "the server could not find the requested resource")
        found = [item for one, item in self.objects.items() if one.startswith(f"{path}/") and one.count("/") == depth]
        if wanted == COMPONENT:
            found = [item for item in found if COMPONENT in item["metadata"].get("labels", {})]
        elif wanted == "app.kubernetes.io/name!=proa":
            found = [
                item for item in found if item["metadata"].get("labels", {}).get("app.kubernetes.io/name") != "proa"
            ]
        for item in found:
            yield {"items": [item]}

    def apply(self, path: str, body: Object, *, force: bool) -> Object:
        self.writes.append(("apply", path))
        return {"metadata": body["metadata"], "spec": {}}

    def merge(self, path: str, body: Object) -> Object:
        self.writes.append(("merge", path))
        return body

    def delete(self, path: str, *, uid: str = "", **options: Any) -> None:
        if path not in self.objects:
            raise ApiError(404, "not found", reason="NotFound")
        self.writes.append(("delete", path))
        if path not in self.stuck:
            del self.objects[path]


def a_cluster(**more: Any) -> Cluster:
    """One in which Proa is installed, with a marked node and its NodeOS."""
    objects = {place(item): item for item in render.documents(Settings())}
    objects["/api/v1/nodes/n1"] = marked()
    objects["/api/v1/nodes/n2"] = {"metadata": {"name": "n2", "uid": "u2"}, "spec": {}}
    objects[f"{OSES}/n1"] = {"metadata": {"name": "n1", "uid": "o1", "finalizers": ["proa.dev/a", "others.dev/b"]}}
    return Cluster(objects, **more)


def removed(cluster: Cluster, **options: Any) -> list[Change]:
    found: list[Change] = []
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
    assert set(cluster.objects) == {"/api/v1/nodes/n1", "/api/v1/nodes/n2"}
    cluster.objects.pop("/api/v1/nodes/n1")  # this fake keeps its annotations
    assert removed(cluster) == []


def test_only_nodes_with_something_of_ours_are_written_to() -> None:
    cluster = a_cluster()
    removed(cluster)
    assert [path for _, path in cluster.writes if "/nodes/" in path] == ["/api/v1/nodes/n1"]


def test_finalizers_of_ours_hold_nothing_up_and_others_are_told() -> None:
    cluster = a_cluster()
    (told,) = (change for change in removed(cluster) if change.kind == "NodeOS")
    assert told == Change("NodeOS", "n1", "deleted; held by others.dev/b")
    assert [verb for verb, path in cluster.writes if path == f"{OSES}/n1"] == ["merge", "delete"]


def test_a_dry_run_writes_nothing_and_waits_for_nobody() -> None:
    cluster = a_cluster(lease=lambda: {"spec": {"holderIdentity": "a"}}, pods=lambda: ["a"])
    changes = removed(cluster, dry_run=True)
    assert cluster.writes == []
    assert Change("Node", "n1", f"would be rid of cordon, {MARK}, {FENCE}") in changes
    assert Change("Namespace", PROXY_NAMESPACE, "would be deleted") in changes


@pytest.mark.parametrize(
    "path",
    ["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodeoses.proa.dev", "/api/v1/namespaces/proa-proxy"],
)
def test_what_does_not_end_is_an_error(path: str) -> None:
    with pytest.raises(ProaError) as caught:
        removed(a_cluster(stuck={path}), seconds=30)
    assert caught.value.code is Code.TIMEOUT
    assert caught.value.at == path


@pytest.mark.parametrize("kind", ["/api/v1/namespaces/{}/pods", "/apis/apps/v1/namespaces/{}/daemonsets"])
def test_a_namespace_with_something_of_others_stays(kind: str) -> None:
    cluster = a_cluster()
    path = f"{kind.format(PROXY_NAMESPACE)}/theirs"
    cluster.objects[path] = {"metadata": {"name": "theirs"}}
    (told,) = (change for change in removed(cluster) if (change.kind, change.name) == ("Namespace", PROXY_NAMESPACE))
    assert told.did == f"kept; {path.split('/')[-2]}/theirs is in it"
    assert path in cluster.objects


def test_the_clusters_own_namespaces_are_never_deleted() -> None:
    cluster = a_cluster()
    for name in ("default", "kube-system"):
        cluster.objects[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name, "labels": {COMPONENT: "proxy"}}}
    told = {change.name: change.did for change in removed(cluster) if change.kind == "Namespace"}
    assert told["default"] == told["kube-system"] == "kept; it belongs to the cluster"


def test_chosen_namespaces_are_found() -> None:
    chosen = Settings(namespace="os", proxy_namespace="os-proxy")
    cluster = Cluster({place(item): item for item in render.documents(chosen)})
    removed(cluster)
    assert cluster.objects == {}


def test_every_kind_that_is_installed_is_removed() -> None:
    """A kind that is added to the manifests must have its turn in the removal."""
    cluster = a_cluster()
    installed = {item["kind"] for item in render.documents(Settings())}
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


def serve(server: HttpServer, cluster: Cluster) -> None:
    """Let the HTTP server answer for a cluster."""

    def answer(asked: Request, reply: Reply) -> None:
        try:
            if asked.method == "DELETE":
                cluster.delete(asked.path)
                reply.json({})
            elif asked.method == "PATCH":
                reply.json(cluster.apply(asked.path, asked.body, force=True))
            elif asked.path in cluster.objects:
                reply.json(cluster.objects[asked.path])
            else:
                reply.json(
                    {"items": [item for page in cluster.pages(asked.path, asked.query) for item in page["items"]]}
                )
        except ApiError as error:
            reply.status(error.status, error.reason or "NotFound")

    server.answer = answer


@pytest.fixture
def small(server: HttpServer, tmp_path: Path) -> tuple[Cluster, str]:
    """A cluster with one marked node and a namespace, behind HTTP; and its kubeconfig."""
    space = {"metadata": {"name": NAMESPACE, "labels": {**labels(SCHEDULER), COMPONENT: "scheduler"}}}
    cluster = Cluster({"/api/v1/nodes/n1": marked(), f"/api/v1/namespaces/{NAMESPACE}": space})
    everything = render.documents(Settings())
    gone = {place(item) for item in everything} | {LEASE}
    serve(server, cluster)
    answer = server.answer

    def narrowed(asked: Request, reply: Reply) -> None:
        if asked.method == "GET" and asked.path in gone and asked.path not in cluster.objects:
            reply.status(404, "NotFound")
        else:
            answer(asked, reply)

    server.answer = narrowed
    return cluster, config(tmp_path, server.url)


def invoke(small: tuple[Cluster, str], *words: str, said: str = "") -> Any:
    command = ["uninstall", "--kubeconfig", small[1], *words]
    return CliRunner().invoke(cli, command, input=said, catch_exceptions=False)


def test_it_asks_and_does(small: tuple[Cluster, str]) -> None:
    result = invoke(small, said="y\n")
    assert result.exit_code == 0
    assert f"Node n1: would be rid of cordon, {MARK}, {FENCE}" in result.output
    assert "Do that?" in result.output
    assert f"Namespace {NAMESPACE}: deleted" in result.output
    assert [verb for verb, _ in small[0].writes] == ["apply", "delete"]


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
    jsonschema.validate(document, closed(dict(SCHEMAS[document["schema"]])))
    assert document["dry_run"] is True
    assert {"kind": "Namespace", "name": NAMESPACE, "did": "would be deleted"} in document["changes"]


def test_nobody_can_be_asked_in_json(small: tuple[Cluster, str]) -> None:
    with pytest.raises(ProaError) as caught:
        invoke(small, "--json")
    assert caught.value.code is Code.USAGE


def test_where_nothing_is_that_is_said(small: tuple[Cluster, str]) -> None:
    small[0].objects.clear()
    assert invoke(small).output == "nothing of Proa is there\n"
    assert invoke(small, "--yes").output == "nothing of Proa is there\n"
