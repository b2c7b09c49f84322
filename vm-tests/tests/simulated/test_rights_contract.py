"""Every right from both sides, with the API server's own authorizer, admission and bound tokens.

Writes are dry runs: they are authorized and admitted like any other, and leave nothing behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from proa.core.orders.messages import Action, Proof
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.install import render
from proa.scheduler.install.names import PROXY, SCHEDULER, place
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, InstallSettings
from proa.scheduler.kube import access, paths
from proa.scheduler.kube.api import Api
from proa.scheduler.kube.apierror import of_response
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.kube.lease_timings import LeaseTimings
from proa.scheduler.objects import reading
from proa.scheduler.objects.writing import Outcome, Writer, outcome_of
from proa.scheduler.planning.actions import Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.views import FENCE, MARK, Mark, NodeRecord, Snapshot
from proa.vm.kube import wipe
from proa.vm.kube.api import APPLY, JSON, MERGE, ApiResponse, KubeApi, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.installed import uninstall
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
OSES = "/apis/proa.dev/v1alpha1/nodeoses"
ROLLOUTS = "/apis/proa.dev/v1alpha1/osrollouts"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
RELEASE = "registry.example/node:1@sha256:" + "a" * 64
TERM = 7
WORKLOADS = ("Deployment", "DaemonSet")


@dataclass(frozen=True)
class Ask:
    """A request that is tried."""

    method: str
    path: str
    body: Any = None
    content: str = JSON
    real: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def by(self, api: KubeApi) -> ApiResponse:
        query = {} if self.real or self.method == "GET" else {"dryRun": "All", "fieldManager": SCHEDULER}
        if "?" in self.path:
            return api.call(self.method, self.path, self.body, content=self.content)
        return api.call(self.method, self.path, self.body, query=query, content=self.content)


def kind(api: str, what: str, name: str, **rest: Any) -> Object:
    return {"apiVersion": api, "kind": what, "metadata": {"name": name}, **rest}


def node_os(name: str, fence: int = TERM) -> Object:
    found = kind("proa.dev/v1alpha1", "NodeOS", name, spec={})
    found["metadata"]["annotations"] = {FENCE: str(fence)}
    return found


def pod(name: str, namespace: str, node: str, account: str = "default") -> Object:
    container = {"name": "it", "image": "registry.test/it"}
    spec = {"nodeName": node, "containers": [container], "serviceAccountName": account}
    found = kind("v1", "Pod", name, spec=spec)
    found["metadata"]["namespace"] = namespace
    return found


def order(number: int, fence: int = TERM) -> Object:
    return {"order": {"id": number, "action": "Stage", "fence": fence, "release": RELEASE}}


def fenced(fence: int, **rest: Any) -> Object:
    return {"metadata": {"annotations": {FENCE: str(fence)}}, **rest}


def lease(name: str, transitions: int = TERM) -> Object:
    return kind("coordination.k8s.io/v1", "Lease", name, spec={"leaseTransitions": transitions})


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Two nodes, and all rights and policies, in force."""
    wipe.wipe(control_plane)
    wanted = [item for item in render.documents(InstallSettings()) if item["kind"] not in WORKLOADS]
    try:
        prepare(control_plane, wanted)
        yield control_plane
    finally:  # a policy that stayed would refuse what other tests write
        uninstall(control_plane)
        for path in (f"/api/v1/namespaces/{PROXY_NAMESPACE}/pods/proxy", *(place(item) for item in reversed(wanted))):
            if "customresourcedefinitions" not in path:
                control_plane.api.delete(path, gracePeriodSeconds=0)
        for namespace in (NAMESPACE, PROXY_NAMESPACE):
            path = f"/api/v1/namespaces/{namespace}"
            until(lambda path=path: control_plane.api.find(path) is None, f"{namespace} to go")  # type: ignore[misc]


def prepare(plane: ControlPlane, wanted: list[Object]) -> None:
    """Apply it, with two nodes, their objects, and pods; wait until the policies are in force."""
    kept = {"labels": {"kept": "yes"}, "annotations": {"kept": "yes"}}
    plane.apply([kind("v1", "Node", name) for name in ("node-0000", "node-0001")])
    plane.api.patch("/api/v1/nodes/node-0000", {"metadata": kept})
    plane.apply(wanted)
    plane.apply([kind("v1", "ServiceAccount", "default") | {"metadata": space("default", "default")}])
    plane.apply([lease(SCHEDULER) | {"metadata": space(SCHEDULER, NAMESPACE)}])
    until(lambda: create(plane, node_os("node-0000")), "the lease to be known")
    create(plane, node_os("node-0001"))
    plane.apply([kind("proa.dev/v1alpha1", "OSRollout", "workers", spec={"release": RELEASE})])
    plane.apply([pod("web", "default", "node-0000"), pod("proxy", PROXY_NAMESPACE, "node-0000", PROXY)])
    with KubeApi(plane.access_for(SCHEDULER, NAMESPACE)) as api:
        stale = Ask("PATCH", "/api/v1/nodes/node-0000", fenced(TERM - 1, spec={"unschedulable": True}), MERGE)
        until(lambda: stale.by(api).status == 403, "the fence to be in force")
    with KubeApi(plane.access_for(PROXY, PROXY_NAMESPACE)) as api:
        unbound = Ask("PATCH", f"{OSES}/node-0000/status", {"status": {"phase": "Good"}}, MERGE)
        until(lambda: unbound.by(api).status == 403, "the proxies' policy to be in force")


def space(name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace}


def create(plane: ControlPlane, item: Object) -> bool:
    return plane.api.call("POST", OSES, item).status in (201, 409)


@pytest.fixture
def scheduler(plane: ControlPlane) -> Iterator[KubeApi]:
    with KubeApi(plane.access_for(SCHEDULER, NAMESPACE)) as api:
        yield api


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[KubeApi]:
    """The proxy of node-0000, by the token that its pod has."""
    with KubeApi(plane.access_for(PROXY, PROXY_NAMESPACE, pod="proxy")) as api:
        yield api


# the scheduler

EVICTION = kind("policy/v1", "Eviction", "web")
EVENT = kind(
    "events.k8s.io/v1",
    "Event",
    "seen",
    eventTime="2026-01-31T12:00:00.000000Z",
    reportingController="proa.dev/scheduler",
    reportingInstance="a",
    action="Boot",
    reason="Booted",
    type="Normal",
    regarding={"kind": "Node", "name": "node-0000"},
)
ROLE = kind("rbac.authorization.k8s.io/v1", "ClusterRole", "more", rules=[])
ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
BINDING = kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "more", roleRef=ROLE_REF)
TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
COLLECTIONS = (
    "/api/v1/nodes",
    "/api/v1/pods",
    "/apis/apps/v1/daemonsets",
    "/apis/policy/v1/poddisruptionbudgets",
    OSES,
    ROLLOUTS,
)
MAY = [
    *(Ask("GET", path) for path in COLLECTIONS),
    *(Ask("GET", f"{path}?watch=true&timeoutSeconds=1") for path in COLLECTIONS),
    *(Ask("GET", f"{path}/node-0000") for path in ("/api/v1/nodes", OSES)),
    Ask("GET", f"{ROLLOUTS}/workers"),
    Ask("GET", "/api/v1/namespaces/default/pods/web"),
    Ask("PATCH", "/api/v1/nodes/node-0000", fenced(TERM, spec={"unschedulable": True}), MERGE),
    Ask("POST", OSES, node_os("node-0002")),
    Ask("PATCH", f"{OSES}/node-0000", fenced(TERM, spec=order(1)), MERGE),
    Ask("DELETE", f"{OSES}/node-0001"),
    Ask("PATCH", f"{ROLLOUTS}/workers/status", {"status": {"phase": "Updating"}}, MERGE),
    Ask("POST", "/api/v1/namespaces/default/pods/web/eviction", EVICTION),
    Ask("DELETE", "/api/v1/namespaces/default/pods/web"),
    Ask("POST", EVENTS, EVENT),
    *(Ask("GET", f"{paths.DEFINITIONS}/{name}") for name in ("nodeoses.proa.dev", "osrollouts.proa.dev")),
    Ask("GET", f"{LEASES}/{SCHEDULER}"),
    Ask("PATCH", f"{LEASES}/{SCHEDULER}", {"spec": {"leaseTransitions": 8}}, MERGE),
    Ask("POST", LEASES, lease("another")),
]
MAY_NOT = [
    Ask("GET", "/api/v1/secrets"),
    Ask("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets"),
    Ask("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/any"),
    Ask("GET", "/api/v1/configmaps"),
    Ask("GET", "/api/v1/persistentvolumeclaims"),
    Ask("GET", "/api/v1/namespaces/default/pods/web/log"),
    Ask("POST", "/api/v1/namespaces/default/pods/web/exec"),
    Ask("POST", "/api/v1/namespaces/default/pods", pod("more", "default", "node-0000")),
    Ask("PATCH", "/api/v1/namespaces/default/pods/web", {"metadata": {"labels": {"a": "b"}}}, MERGE),
    Ask("DELETE", "/api/v1/namespaces/default/pods"),
    Ask("POST", "/api/v1/nodes", kind("v1", "Node", "more")),
    Ask("PUT", "/api/v1/nodes/node-0000", kind("v1", "Node", "node-0000")),
    Ask("DELETE", "/api/v1/nodes/node-0000"),
    Ask("PATCH", "/api/v1/nodes/node-0000/status", {"status": {"phase": "Running"}}, MERGE),
    Ask("GET", "/api/v1/nodes/node-0000/proxy/metrics"),
    Ask("PATCH", f"{OSES}/node-0000/status", {"status": {"phase": "Good"}}, MERGE),
    Ask("PUT", f"{OSES}/node-0000", node_os("node-0000")),
    Ask("DELETE", OSES),
    Ask("POST", ROLLOUTS, kind("proa.dev/v1alpha1", "OSRollout", "more", spec={"release": RELEASE})),
    Ask("PATCH", f"{ROLLOUTS}/workers", {"spec": {"paused": True}}, MERGE),
    Ask("DELETE", f"{ROLLOUTS}/workers"),
    Ask("GET", LEASES),
    Ask("GET", f"{LEASES}/another"),
    Ask("PATCH", f"{LEASES}/another", {"spec": {"leaseTransitions": 8}}, MERGE),
    Ask("PUT", f"{LEASES}/{SCHEDULER}", lease(SCHEDULER, 8)),
    Ask("DELETE", f"{LEASES}/{SCHEDULER}"),
    *(Ask("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases{one}") for one in ("", f"/{SCHEDULER}")),
    Ask("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease(SCHEDULER)),
    Ask("GET", "/apis/apps/v1/deployments"),
    Ask("GET", paths.DEFINITIONS),
    Ask("PATCH", f"/apis/apps/v1/namespaces/{PROXY_NAMESPACE}/daemonsets/{PROXY}", {"spec": {}}, MERGE),
    Ask("POST", f"{RBAC}/clusterroles", ROLE),
    Ask("POST", f"{RBAC}/clusterrolebindings", BINDING),
    Ask("POST", f"{RBAC}/namespaces/{NAMESPACE}/roles", ROLE | {"kind": "Role"}),
    Ask("POST", f"{RBAC}/namespaces/{NAMESPACE}/rolebindings", BINDING | {"kind": "RoleBinding"}),
    Ask("PATCH", f"{RBAC}/clusterroles/{SCHEDULER}", {"rules": []}, MERGE),
    Ask("POST", f"/api/v1/namespaces/{PROXY_NAMESPACE}/serviceaccounts/{PROXY}/token", TOKEN),
    Ask("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/proa-fence"),
    Ask("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodeoses.proa.dev", {}, MERGE),
    Ask("GET", "/api/v1/namespaces"),
]


@pytest.mark.parametrize("ask", MAY, ids=str)
def test_the_scheduler_may(scheduler: KubeApi, ask: Ask) -> None:
    answer = ask.by(scheduler)
    assert answer.status // 100 == 2, answer.message


@pytest.mark.parametrize("ask", MAY_NOT, ids=str)
def test_the_scheduler_may_not(scheduler: KubeApi, ask: Ask) -> None:
    answer = ask.by(scheduler)
    assert answer.status == 403, answer.message
    assert "cannot" in answer.message  # it is the authorizer that says no, not a policy


def test_an_event_is_told_again(scheduler: KubeApi) -> None:
    assert Ask("POST", EVENTS, EVENT, real=True).by(scheduler).status == 201
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-31T12:00:01.000000Z"}}
    assert Ask("PATCH", f"{EVENTS}/seen", series, MERGE).by(scheduler).status == 200
    assert Ask("GET", EVENTS).by(scheduler).status == 403


# the fence

NODE = "/api/v1/nodes/node-0000"
STALE = {
    "an order": Ask("PATCH", f"{OSES}/node-0000", fenced(TERM - 1, spec=order(1, TERM - 1)), MERGE),
    "an order with its fence alone": Ask("PATCH", f"{OSES}/node-0000", fenced(TERM, spec=order(1, TERM - 1)), MERGE),
    "an order of the future": Ask("PATCH", f"{OSES}/node-0000", fenced(TERM + 1, spec=order(1, TERM + 1)), MERGE),
    "a note": Ask("PATCH", f"{OSES}/node-0000", fenced(TERM - 1), MERGE),
    "an object": Ask("POST", OSES, node_os("node-0002", TERM - 1)),
    "an object without a fence": Ask("POST", OSES, kind("proa.dev/v1alpha1", "NodeOS", "node-0002", spec={})),
    "a cordon": Ask("PATCH", NODE, fenced(TERM - 1, spec={"unschedulable": True}), MERGE),
    "a cordon without a fence": Ask("PATCH", NODE, {"spec": {"unschedulable": True}}, MERGE),
    "a fence that is no number": Ask("PATCH", NODE, {"metadata": {"annotations": {FENCE: "7 "}}}, MERGE),
}


@pytest.mark.parametrize("what", STALE)
def test_a_stale_leader_is_refused(scheduler: KubeApi, what: str) -> None:
    answer = STALE[what].by(scheduler)
    assert answer.status == 403, answer.message
    assert "ValidatingAdmissionPolicy 'proa-fence'" in answer.message
    assert "another leader holds the lease" in answer.message
    assert outcome_of(error_of(answer)) is Outcome.FENCED


def error_of(answer: ApiResponse) -> ProaError:
    """The error that the scheduler's own client makes of an answer."""
    headers = {"Content-Type": "application/json"}
    return of_response(answer.status, headers, json.dumps(answer.document).encode(), "", datetime.now(UTC))


TAINT = {"key": "a", "effect": "NoExecute"}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-4000-8000-000000000000"}
FOREIGN = {
    "a label": {"metadata": {"annotations": {FENCE: str(TERM)}, "labels": {"a": "b"}}},
    "a label taken away": {"metadata": {"annotations": {FENCE: str(TERM)}, "labels": {"kept": None}}},
    "a taint": fenced(TERM, spec={"taints": [TAINT]}),
    "a finalizer": {"metadata": {"annotations": {FENCE: str(TERM)}, "finalizers": ["example.com/stuck"]}},
    "an owner": {"metadata": {"annotations": {FENCE: str(TERM)}, "ownerReferences": [OWNER]}},
    "a provider": fenced(TERM, spec={"providerID": "cloud://elsewhere"}),
    "an annotation": {"metadata": {"annotations": {FENCE: str(TERM), "a": "b"}}},
    "an annotation taken away": {"metadata": {"annotations": {FENCE: str(TERM), "kept": None}}},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_s11_a_leader_changes_nothing_else_of_a_node(scheduler: KubeApi, what: str) -> None:
    answer = Ask("PATCH", NODE, FOREIGN[what], MERGE).by(scheduler)
    assert answer.status == 403, answer.message
    assert "only the cordon and its own annotations" in answer.message


def cordon(fence: int, *, on: bool) -> Ask:
    """What the scheduler applies: its mark with the cordon, or nothing."""
    body = kind("v1", "Node", "node-0001")
    if on:
        body["metadata"]["annotations"] = {MARK: "{}", FENCE: str(fence)}
        body["spec"] = {"unschedulable": True}
    path = f"/api/v1/nodes/node-0001?fieldManager={SCHEDULER}&force=true"
    return Ask("PATCH", path, body, APPLY, real=True)


def test_who_takes_a_fence_away_must_be_the_leader(plane: ControlPlane, scheduler: KubeApi) -> None:
    def term(transitions: int) -> None:
        plane.api.patch(f"{LEASES}/{SCHEDULER}", {"spec": {"leaseTransitions": transitions}})

    assert cordon(TERM, on=True).by(scheduler).status == 200
    try:
        term(TERM + 1)
        until(lambda: cordon(TERM, on=False).by(scheduler).status == 403, "the lease's change to be seen")
        assert plane.api.get("/api/v1/nodes/node-0001")["spec"]["unschedulable"] is True
        assert cordon(TERM + 1, on=True).by(scheduler).status == 200
        assert cordon(TERM + 1, on=False).by(scheduler).status == 200
        assert not plane.api.get("/api/v1/nodes/node-0001")["spec"].get("unschedulable")
        assert cordon(TERM + 1, on=False).by(scheduler).status == 200  # again: it changes nothing
    finally:
        term(TERM)
        leader = Ask("PATCH", NODE, fenced(TERM, spec={"unschedulable": True}), MERGE)
        until(lambda: leader.by(scheduler).status == 200, "the lease's change to be seen")


def test_a_persons_cordon_is_not_touched(plane: ControlPlane) -> None:
    assert "cordoned" in plane.kubectl("cordon", "node-0000").text
    assert "uncordoned" in plane.kubectl("uncordon", "node-0000").text


def test_without_a_lease_nobody_gives_orders_and_everybody_else_works(plane: ControlPlane, scheduler: KubeApi) -> None:
    """A parameter that is missing refuses all requests before anybody asks whose they are: Nodes must be left alone."""
    give = Ask("PATCH", f"{OSES}/node-0000", fenced(TERM, spec=order(1)), MERGE)
    plane.api.delete(f"{LEASES}/{SCHEDULER}")
    try:
        until(lambda: give.by(scheduler).status // 100 == 4, "the lease's end to be seen")
        assert "uncordoned" in plane.kubectl("uncordon", "node-0000").text.replace("already ", "")
        with KubeApi(plane.user("system:node:node-0000", ["system:nodes"])) as kubelet:
            said = {"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}}
            assert Ask("PATCH", NODE, said, MERGE).by(kubelet).status == 200
        with KubeApi(plane.access_for(PROXY, PROXY_NAMESPACE, node="node-0000")) as api:
            own = Ask("PATCH", f"{OSES}/node-0000/status", {"status": {"phase": "Good"}}, MERGE)
            assert own.by(api).status == 200
    finally:
        plane.apply([lease(SCHEDULER) | {"metadata": space(SCHEDULER, NAMESPACE)}])
        until(lambda: give.by(scheduler).status == 200, "the lease to be seen")


# the scheduler's own writer, with its own rights


@dataclass(frozen=True)
class Leader:
    fence: int
    leading: bool = True


PROOF = Proof("boot-1", "c" * 64)
WRITES: list[Create | Give | Note | Cordon | Uncordon] = [
    Create("node-0009"),
    Give("node-0009", 1, Action.STAGE, RELEASE),
    Note("node-0009", NodeRecord("workers", "sha256:a", failures=1)),
    Cordon("node-0009", Mark("workers", "sha256:a", datetime(2026, 1, 31, tzinfo=UTC), True, "boot-0")),
    Give("node-0009", 2, Action.BOOT, RELEASE),
    Give("node-0009", 3, Action.COMMIT, RELEASE, PROOF),
    Uncordon("node-0009", "Done"),
]


def snapshot(plane: ControlPlane) -> Snapshot:
    """What a planner sees of one node and its NodeOS."""
    seen = reading.node(plane.api.get("/api/v1/nodes/node-0009"))
    found = plane.api.find(f"{OSES}/node-0009")
    return Snapshot({seen.name: seen}, {seen.name: reading.node_os(found)} if found else {}, {})


def test_a_leader_does_all_it_has_to_and_one_of_before_none_of_it(plane: ControlPlane) -> None:
    """Each write is tried by the leader of the term before, which is told so, then done, and done once more."""
    plane.apply([kind("v1", "Node", "node-0009")])
    api = Api(access.find(str(plane.kubeconfig_for(SCHEDULER, NAMESPACE)), environ={}))
    leader, before = Writer(api, Leader(TERM)), Writer(api, Leader(TERM - 1))
    try:
        for action in WRITES:
            view = snapshot(plane)
            stale = before.carry_out(action, view)
            assert stale.outcome is Outcome.FENCED, (action, stale.error)
            assert snapshot(plane) == view
            for outcomes in ((Outcome.DONE,), (Outcome.DONE, Outcome.STALE)):
                done = leader.carry_out(action, view)
                assert done.outcome in outcomes, (action, done.error)
        last = snapshot(plane)
        assert not last.nodes["node-0009"].unschedulable
        assert last.nodes["node-0009"].mark is None
        order = last.oses["node-0009"].order
        assert order is not None
        assert (order.id, order.action, order.trial) == (3, Action.COMMIT, PROOF)
        gone = leader.carry_out(Forget("node-0009", last.oses["node-0009"].uid), last)
        assert gone.outcome is Outcome.DONE
        assert plane.api.find(f"{OSES}/node-0009") is None
    finally:
        api.close()
        plane.api.delete("/api/v1/nodes/node-0009")


def test_the_lease_is_taken_kept_and_given_back(plane: ControlPlane) -> None:
    api = Api(access.find(str(plane.kubeconfig_for(SCHEDULER, NAMESPACE)), environ={}))
    elector = LeaderElector(api, NAMESPACE, "proa-scheduler", terms=LeaseTimings(settle=0.1, renew=0.2))
    path = f"{LEASES}/{SCHEDULER}"
    plane.api.delete(path)
    elector.start()
    try:
        until(lambda: elector.leading, "it to lead")
        first = plane.api.get(path)["spec"]
        assert first["holderIdentity"] == elector.me
        assert elector.fence == first["leaseTransitions"]
        until(lambda: plane.api.get(path)["spec"]["renewTime"] != first["renewTime"], "the lease to be renewed")
        assert elector.stop()
        assert "holderIdentity" not in plane.api.get(path)["spec"]
    finally:
        elector.stop()
        api.close()
        plane.api.patch(path, {"spec": {"leaseTransitions": TERM}})
        with KubeApi(plane.access_for(SCHEDULER, NAMESPACE)) as again:
            leads = Ask("PATCH", NODE, fenced(TERM, spec={"unschedulable": True}), MERGE)
            until(lambda: leads.by(again).status == 200, "the lease's change to be seen")


# the proxy

GOOD = {"status": {"phase": "Good"}}
PROXY_MAY = [
    Ask("GET", OSES),
    Ask("GET", f"{OSES}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dnode-0000"),
    Ask("GET", f"{OSES}/node-0000"),
    Ask("PATCH", f"{OSES}/node-0000/status", GOOD, MERGE),
    Ask(
        "PATCH", f"{OSES}/node-0000/status?fieldManager=proxy&dryRun=All", node_os("node-0000") | {"status": {}}, APPLY
    ),
]
PROXY_MAY_NOT = [
    Ask("PATCH", f"{OSES}/node-0001/status", GOOD, MERGE),
    Ask("PATCH", f"{OSES}/node-0000", {"spec": order(1)}, MERGE),
    Ask("PATCH", f"{OSES}/node-0000", {"metadata": {"labels": {"a": "b"}}}, MERGE),
    Ask("PUT", f"{OSES}/node-0000/status", node_os("node-0000")),
    Ask("POST", OSES, node_os("node-0002")),
    Ask("DELETE", f"{OSES}/node-0000"),
    Ask("GET", ROLLOUTS),
    Ask("PATCH", f"{ROLLOUTS}/workers/status", {"status": {"phase": "Done"}}, MERGE),
    Ask("GET", "/api/v1/nodes"),
    Ask("GET", "/api/v1/nodes/node-0000"),
    Ask("PATCH", "/api/v1/nodes/node-0000", {"spec": {"unschedulable": True}}, MERGE),
    Ask("GET", "/api/v1/pods"),
    Ask("POST", "/api/v1/namespaces/default/pods/web/eviction", EVICTION),
    Ask("GET", "/api/v1/secrets"),
    Ask("GET", f"/api/v1/namespaces/{PROXY_NAMESPACE}/secrets"),
    Ask("GET", f"{LEASES}/{SCHEDULER}"),
    Ask("POST", EVENTS, EVENT),
    Ask("POST", f"{RBAC}/clusterroles", ROLE),
    Ask("POST", f"/api/v1/namespaces/{PROXY_NAMESPACE}/serviceaccounts/{PROXY}/token", TOKEN),
]


@pytest.mark.parametrize("ask", PROXY_MAY, ids=str)
def test_a_proxy_may(proxy: KubeApi, ask: Ask) -> None:
    answer = ask.by(proxy)
    assert answer.status // 100 == 2, answer.message


@pytest.mark.parametrize("ask", PROXY_MAY_NOT, ids=str)
def test_a_proxy_may_not(proxy: KubeApi, ask: Ask) -> None:
    answer = ask.by(proxy)
    assert answer.status == 403, answer.message


def test_a_token_bound_to_the_node_itself_will_do(plane: ControlPlane) -> None:
    with KubeApi(plane.access_for(PROXY, PROXY_NAMESPACE, node="node-0001")) as api:
        assert Ask("PATCH", f"{OSES}/node-0001/status", GOOD, MERGE).by(api).status == 200
        answer = Ask("PATCH", f"{OSES}/node-0000/status", GOOD, MERGE).by(api)
        assert answer.status == 403
        assert "this token is bound to the node node-0001" in answer.message


def test_a_token_that_is_bound_to_no_node_writes_nothing(plane: ControlPlane) -> None:
    with KubeApi(plane.access_for(PROXY, PROXY_NAMESPACE)) as api:
        answer = Ask("PATCH", f"{OSES}/node-0000/status", GOOD, MERGE).by(api)
        assert answer.status == 403
        assert "this token is bound to no node" in answer.message


def test_what_a_status_smuggles_is_dropped(plane: ControlPlane, proxy: KubeApi) -> None:
    smuggled = {"metadata": {"labels": {"a": "b"}}, "spec": order(9), **GOOD}
    assert Ask("PATCH", f"{OSES}/node-0000/status", smuggled, MERGE, real=True).by(proxy).status == 200
    found = plane.api.get(f"{OSES}/node-0000")
    assert found["status"] == {"phase": "Good"}
    assert found["spec"] == {}
    assert "labels" not in found["metadata"]


def test_a_kubelet_cannot_have_another_nodes_token(plane: ControlPlane) -> None:
    with KubeApi(plane.user("system:node:node-0001", ["system:nodes"])) as kubelet:
        path = f"/api/v1/namespaces/{PROXY_NAMESPACE}/serviceaccounts/{PROXY}/token"
        uid = plane.api.get(f"/api/v1/namespaces/{PROXY_NAMESPACE}/pods/proxy")["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": "proxy", "uid": uid}
        assert Ask("POST", path, TOKEN | {"spec": {"boundObjectRef": bound}}).by(kubelet).status == 403


def test_a_refusal_names_what_to_do(scheduler: KubeApi) -> None:
    error = error_of(Ask("GET", "/api/v1/secrets").by(scheduler))
    assert error.code is Code.CLUSTER_FORBIDDEN
    assert "manifests" in error.hint
