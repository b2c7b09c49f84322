"""What ``manifests`` prints, given to a real API server by a real kubectl."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proa.scheduler.cli.main import cli
from proa.scheduler.install import render
from proa.scheduler.install.names import NAMESPACES, PROXY, SCHEDULER, place
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, InstallSettings
from proa.scheduler.spec.crd import RESOURCES
from proa.scheduler.spec.rules import CONTROL_PLANE
from proa.vm.kube.api import Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
DOCUMENTS = render.documents(InstallSettings())
RELEASE = "registry.example/node:1@sha256:" + "a" * 64


@pytest.fixture
def plane(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane that has nothing of an installation afterwards, but for the definitions."""
    yield cluster
    for item in reversed(DOCUMENTS):
        if item["kind"] != "CustomResourceDefinition":
            cluster.api.delete(place(item), propagationPolicy="Background")
    for space in (NAMESPACE, PROXY_NAMESPACE):
        path = f"{NAMESPACES}/{space}"
        until(lambda path=path: gone(cluster, path), f"{space} to go")  # type: ignore[misc]


def gone(cluster: ControlPlane, path: str) -> bool:
    """Whether a namespace has gone; nobody plays kubelet for its pods."""
    if cluster.api.find(path) is None:
        return True
    cluster.api.call("DELETE", f"{path}/pods", {"gracePeriodSeconds": 0})
    return False


def printed(*words: str) -> str:
    result = CliRunner().invoke(cli, ["manifests", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_kubectl_applies_it_and_the_second_time_nothing_changes(plane: ControlPlane) -> None:
    first = plane.kubectl("apply", "-f", "-", stdin=printed()).text.splitlines()
    assert len(first) == len(DOCUMENTS)
    until(lambda: pods(plane), "the Deployment's pods")
    before = written(plane)
    second = plane.kubectl("apply", "-f", "-", stdin=printed()).text.splitlines()
    assert len(second) == len(DOCUMENTS)
    assert changed(second) == []
    assert written(plane) == before


def test_the_api_server_keeps_all_of_it_as_it_is_printed(plane: ControlPlane) -> None:
    """No field is unknown or dropped: a server-side dry run with strict validation says the same."""
    plane.kubectl("apply", "-f", "-", stdin=printed())
    result = plane.kubectl("diff", "-f", "-", stdin=printed(), check=False)
    assert (result.status, result.text) == (0, "")
    strict = plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=printed()
    )
    assert strict.text.count("serverside-applied") == len(DOCUMENTS)


def test_a_choice_that_is_changed_changes_what_it_is_about(plane: ControlPlane) -> None:
    plane.kubectl("apply", "-f", "-", stdin=printed())
    lines = plane.kubectl("apply", "-f", "-", stdin=printed("--replicas", "3")).text.splitlines()
    assert changed(lines) == [f"deployment.apps/{SCHEDULER} configured"]


def test_tolerations_and_resources_are_kept_as_they_are_chosen(plane: ControlPlane) -> None:
    plane.kubectl("apply", "-f", "-", stdin=printed())
    taints = ("--toleration", "dedicated=infra:NoSchedule", "--toleration", "proa.dev/any")
    scheduler = ("--requests", "cpu=0.25,memory=1.5Gi", "--limits", "memory=2048Mi,cpu=2000m")
    prometheus = ("--prometheus", "https://prometheus.monitoring.svc:9090", "--prometheus-secret", "prometheus")
    words = (*taints, *prometheus, *scheduler, "--proxy-requests", "cpu=5m", "--proxy-limits", "memory=0.2Gi")
    lines = plane.kubectl("apply", "-f", "-", stdin=printed(*words)).text.splitlines()
    kinds = [line.partition("/")[0] for line in changed(lines)]
    assert kinds == ["networkpolicy.networking.k8s.io", "deployment.apps", "daemonset.apps"]
    again = plane.kubectl("apply", "-f", "-", stdin=printed(*words)).text.splitlines()
    assert changed(again) == []
    assert plane.kubectl("diff", "-f", "-", stdin=printed(*words), check=False).status == 0


def changed(lines: list[str]) -> list[str]:
    """What kubectl has changed. It always sends a budget's selector, and calls that a change, which it is not."""
    budget = f"poddisruptionbudget.policy/{SCHEDULER} configured"
    return [line for line in lines if not line.endswith(" unchanged") and line != budget]


def written(plane: ControlPlane) -> list[Any]:
    """All objects as they were given: what controllers say of them, they say at any time."""
    found = [plane.api.get(place(item)) for item in DOCUMENTS]
    for item in found:
        item.pop("status", None)
        for key in ("resourceVersion", "managedFields"):
            item["metadata"].pop(key)
    return found


def pods(plane: ControlPlane) -> list[Object]:
    return list(plane.api.items(f"{NAMESPACES}/{NAMESPACE}/pods"))


# pod security


def pod(kind: str, namespace: str) -> Object:
    """A pod of a template."""
    (template,) = (item["spec"]["template"] for item in DOCUMENTS if item["kind"] == kind)
    metadata = {**template["metadata"], "name": "tried", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def admitted(plane: ControlPlane, item: Object) -> tuple[int, str]:
    path = f"{NAMESPACES}/{item['metadata']['namespace']}/pods"
    answer = plane.api.call("POST", path, item, query={"dryRun": "All", "fieldValidation": "Strict"})
    return answer.status, answer.message + answer.headers.get("Warning", "")


def test_pods_are_admitted(plane: ControlPlane) -> None:
    plane.kubectl("apply", "-f", "-", stdin=printed())
    assert admitted(plane, pod("Deployment", NAMESPACE)) == (201, "")
    assert admitted(plane, pod("DaemonSet", PROXY_NAMESPACE)) == (201, "")


def test_the_proxys_pod_has_no_place_beside_the_scheduler(plane: ControlPlane) -> None:
    plane.kubectl("apply", "-f", "-", stdin=printed())
    proxy = pod("DaemonSet", NAMESPACE) | {}
    proxy["spec"]["serviceAccountName"] = SCHEDULER
    status, said = admitted(plane, proxy)
    assert status == 403
    assert 'restricted volume types (volume "agent" uses restricted volume type "hostPath")' in said
    assert "allowPrivilegeEscalation" not in said  # the folder is all that is wrong with it


@pytest.mark.parametrize(
    ("level", "change"),
    [
        ("spec", {"runAsNonRoot": None}),
        ("spec", {"seccompProfile": None}),
        ("container", {"allowPrivilegeEscalation": None}),
        ("container", {"capabilities": None}),
    ],
)
def test_what_is_restricted_is_needed(plane: ControlPlane, level: str, change: dict[str, Any]) -> None:
    """Each field alone: without it, the namespace's level refuses the pod."""
    plane.kubectl("apply", "-f", "-", stdin=printed())
    tried = pod("Deployment", NAMESPACE)
    inner = tried["spec"] if level == "spec" else tried["spec"]["containers"][0]
    inner["securityContext"] = {key: value for key, value in inner["securityContext"].items() if key not in change}
    status, said = admitted(plane, tried)
    assert status == 403
    assert next(iter(change)) in said


def test_controllers_make_the_pods(plane: ControlPlane) -> None:
    plane.apply(
        [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}}]
    )
    plane.kubectl("apply", "-f", "-", stdin=printed())
    until(lambda: len(pods(plane)) == 2, "two schedulers")
    found = until(lambda: list(plane.api.items(f"{NAMESPACES}/{PROXY_NAMESPACE}/pods")), "a proxy on the node")
    assert found[0]["spec"]["serviceAccountName"] == PROXY
    terms = found[0]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert "n1" in json.dumps(terms)
    assert found[0]["spec"]["priorityClassName"] == "system-node-critical"


def test_the_api_server_understands_every_word_of_the_policies(tmp_path: Path) -> None:
    """The controller that checks their types finds nothing; a policy that does not compile would refuse everything."""
    broken = {"validations": [{"expression": "object.spec.nothing == 1"}], "matchConstraints": NODES_ONLY}
    wrong = {**one_policy("proa-fence"), "metadata": {"name": "broken"}, "spec": broken}
    with ControlPlane(tmp_path, controllers=("validatingadmissionpolicy-status-controller",)) as plane:
        plane.apply([*DOCUMENTS, wrong])
        for item in (one_policy("proa-fence"), one_policy("proa-own-status"), wrong):
            found = until(lambda item=item: plane.api.get(place(item)).get("status"), "types to be checked")  # type: ignore[misc]
            assert ("expressionWarnings" in found["typeChecking"]) is (item is wrong)


NODES_ONLY = {
    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes"], "operations": ["*"]}]
}


def one_policy(name: str) -> Object:
    found = (item for item in DOCUMENTS if item["kind"] == "ValidatingAdmissionPolicy")
    return next(item for item in found if item["metadata"]["name"] == name)


def node_os(name: str) -> Object:
    return {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": name}, "spec": {}}


# what kubectl tells of the objects


def fields(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """Every field of a schema with its dotted path, those of list items too."""
    for name, inner in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        yield place, inner
        yield from fields(inner.get("items", inner), place)


def described(kind: str) -> list[tuple[str, Object]]:
    schema = RESOURCES[kind].definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return list(fields(schema))


@pytest.mark.parametrize("kind", RESOURCES)
def test_every_field_is_explained(cluster: ControlPlane, kind: str) -> None:
    """As kubectl shows it: all at once, with a text under each name."""
    plural = RESOURCES[kind].plural
    until(lambda: cluster.kubectl("explain", plural, check=False).status == 0, "kubectl to know it")
    found = described(kind)
    assert len(found) > 20
    for path, schema in found:
        assert re.fullmatch(r"[A-Z0-9].+[.)]", schema["description"]), path
    branches = sorted({path for path, schema in found if schema.get("properties") or schema.get("items")} | {""})
    told = {path: " ".join(cluster.kubectl("explain", plural + path).text.split()) for path in branches}
    for path, schema in found:
        parent, _, name = path.rpartition(".")
        assert " ".join(schema["description"].split()) in told[parent], path
        assert f"{name} <" in told[parent], path


def test_a_person_can_read_the_columns(cluster: ControlPlane) -> None:
    cluster.apply([rollout(), node_os("n1")])
    cluster.api.patch(
        f"{RESOURCES['OSRollout'].path}/workers/status", {"status": {"phase": "Updating", "progress": "1/3"}}
    )
    status = {"phase": "Trial", "booted": {"slot": "b", "version": "1.2"}, "standby": {"version": "1.1"}}
    cluster.api.patch(f"{RESOURCES['NodeOS'].path}/n1/status", {"status": status})
    head, row = cluster.kubectl("get", "osr").text.splitlines()[:2]
    assert head.split() == ["NAME", "PHASE", "PROGRESS", "STAGED", "UPDATING", "FAILED", "WAVE", "AGE"]
    assert row.split()[:3] == ["workers", "Updating", "1/3"]
    assert cluster.kubectl("get", "osr", "-o", "wide").text.splitlines()[0].split()[-5:] == [
        *("PAUSED", "RELEASE", "SETTINGS", "DRIFTED", "AGE")
    ]
    head, row = cluster.kubectl("get", "nos").text.splitlines()[:2]
    assert head.split() == ["NAME", "PHASE", "SLOT", "VERSION", "STANDBY", "ORDER", "RESULT", "ERROR", "AGE"]
    assert row.split()[:5] == ["n1", "Trial", "b", "1.2", "1.1"]
    both = cluster.kubectl("get", "proa", "-o", "name").text.splitlines()
    assert both == ["nodeos.proa.dev/n1", "osrollout.proa.dev/workers"]


def rollout(**spec: Any) -> Object:
    kind = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout"}
    return {**kind, "metadata": {"name": "workers"}, "spec": {"release": RELEASE, **spec}}


# contradictions

BUDGET = {"schedule": "0 22 * * 1-5", "duration": "6h"}
PROXY_SET = {"namespace": "kube-system", "name": "kube-proxy"}
JOBS = {"selector": {"matchLabels": {"job": "nightly"}}, "timeout": "1h"}
CRITICAL = {"name": "critical", "query": "ALERTS"}
EDGE = {"name": "edge", "nodeSelector": {"matchLabels": {"tier": "edge"}}, "soak": "30m"}
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no digest": (
        {"release": "registry.example/node:1"},
        "spec.release",
        "release needs a digest: HOST/NAME[:TAG]@sha",
    ),
    "half a digest": ({"release": "registry.example/node@sha256:abc"}, "spec.release", "release needs a digest"),
    "no release": ({"release": None}, "spec.release", "Required value"),
    "percent over 100": ({"maxUnavailable": "101%"}, "spec.maxUnavailable", "(100|[1-9]?[0-9])%"),
    "below nothing": ({"maxUnavailable": -1}, "spec.maxUnavailable", "greater than or equal to 0"),
    "more than a cluster": ({"maxUnavailable": 5001}, "spec.maxUnavailable", "less than or equal to 5000"),
    "an amount in words": ({"maxUnavailable": "two"}, "spec.maxUnavailable", "%"),
    "a percentage of failures": ({"failure": {"max": "1.5%"}}, "spec.failure.max", "%"),
    "four fields": (
        {"budgets": [BUDGET | {"schedule": "0 22 * *"}]},
        "spec.budgets[0].schedule",
        "five fields: minute",
    ),
    "a nickname": ({"budgets": [BUDGET | {"schedule": "@daily"}]}, "spec.budgets[0].schedule", "five fields"),
    "a window of nothing": ({"budgets": [BUDGET | {"duration": "0s"}]}, "spec.budgets[0]", "more than 0s"),
    "a window of a month": ({"budgets": [BUDGET | {"duration": "720h"}]}, "spec.budgets[0]", "at most a week: 168h"),
    "no duration": ({"budgets": [{"schedule": "0 22 * * *"}]}, "spec.budgets[0].duration", "Required value"),
    "a duration in words": (
        {"budgets": [BUDGET | {"duration": "6 hours"}]},
        "spec.budgets[0].duration",
        "should match",
    ),
    "an abbreviation": (
        {"budgets": [BUDGET | {"timeZone": "CET"}]},
        "spec.budgets[0].timeZone",
        "such as Europe/Berlin",
    ),
    "no such zone": ({"budgets": [BUDGET | {"timeZone": "Mars/Base"}]}, "spec.budgets[0].timeZone", "timeZone"),
    "windows that bear none": (
        {"budgets": [BUDGET | {"maxUnavailable": 0}, BUDGET | {"maxUnavailable": "0%"}]},
        "spec",
        "no window allows an unavailable node",
    ),
    "weeks for a node": ({"expectedDuration": "169h"}, "spec.expectedDuration", "at most a week: 168h"),
    "too many windows": ({"budgets": [BUDGET] * 17}, "spec.budgets", "must have at most 16 items"),
    "a turn that is none": (
        {"order": {"controlPlane": "Middle"}},
        "spec.order.controlPlane",
        '"Last", "First", "Exclude"',
    ),
    "zones": ({"order": {"zones": "Two"}}, "spec.order.zones", '"OneAtATime", "Ignore"'),
    "a group of all": (
        {"order": {"groups": [{"name": "edge", "nodeSelector": {}}]}},
        "spec.order.groups[0]",
        "a group needs a nodeSelector",
    ),
    "a group's name": (
        {"order": {"groups": [EDGE | {"name": "Edge"}]}},
        "spec.order.groups[0].name",
        "such as edge or stores-1",
    ),
    "a group's value": (
        {"order": {"groups": [EDGE, EDGE | {"name": "b", "nodeSelector": {"matchLabels": {"a": "-"}}}]}},
        "spec.order.groups[1].nodeSelector.matchLabels",
        "a label's value has only letters",
    ),
    "a group twice": ({"order": {"groups": [EDGE, EDGE]}}, "spec.order.groups[1]", "Duplicate value"),
    "too many groups": (
        {"order": {"groups": [EDGE | {"name": f"e{number}"} for number in range(17)]}},
        "spec.order.groups",
        "must have at most 16 items",
    ),
    "zones that soak out of turn": (
        {"order": {"zones": "Ignore", "zoneSoak": "1h"}},
        "spec.order",
        "zones that do not take turns cannot soak",
    ),
    "an alert twice": ({"health": {"alerts": [CRITICAL, CRITICAL]}}, "spec.health.alerts[1]", "Duplicate value"),
    "an alert's name": (
        {"health": {"alerts": [CRITICAL | {"name": "Critical"}]}},
        "spec.health.alerts[0].name",
        "such as critical or shop-latency",
    ),
    "an alert without a query": (
        {"health": {"alerts": [CRITICAL | {"query": ""}]}},
        "spec.health.alerts[0].query",
        "should be at least 1 chars",
    ),
    "nobody stages": ({"staging": {"maxConcurrent": 0}}, "spec.staging.maxConcurrent", "greater than or equal to 1"),
    "what to do": ({"drain": {"onTimeout": "Panic"}}, "spec.drain.onTimeout", '"Park", "Abort", "Force"'),
    "a time without unit": ({"drain": {"timeout": "15"}}, "spec.drain.timeout", "should match"),
    "a grace below nothing": ({"drain": {"gracePeriodSeconds": -1}}, "spec.drain.gracePeriodSeconds", "equal to 0"),
    "bare pods": ({"drain": {"unmanagedPods": "Keep"}}, "spec.drain.unmanagedPods", '"Block", "Delete"'),
    "ready for days": ({"health": {"readySeconds": 86401}}, "spec.health.readySeconds", "less than or equal to 86400"),
    "half a daemon set": (
        {"health": {"daemonSets": [{"name": "a"}]}},
        "spec.health.daemonSets[0].namespace",
        "Required",
    ),
    "an action": ({"failure": {"action": "Ignore"}}, "spec.failure.action", '"Halt", "Rollback"'),
    "for ever": ({"retry": {"limit": 21}}, "spec.retry.limit", "less than or equal to 20"),
    "soak without canaries": ({"canary": {"soak": "1h"}}, "spec.canary", "there are no canaries that could soak"),
    "too many canaries": ({"canary": {"nodes": 65}}, "spec.canary.nodes", "less than or equal to 64"),
    "too slow to stage": ({"staging": {"bytesPerSecond": 65_535}}, "spec.staging", "must be at least 65536"),
    "no time to stage": ({"staging": {"timeout": "0s"}}, "spec.staging", "a node cannot fetch a release in no time"),
    "wait for all": ({"drain": {"waitFor": JOBS | {"selector": {}}}}, "spec.drain.waitFor", "most pods never finish"),
    "wait no time": (
        {"drain": {"waitFor": JOBS | {"timeout": "0s"}}},
        "spec.drain.waitFor",
        "no pod finishes in no time",
    ),
    "wait for ever": (
        {"drain": {"waitFor": {"selector": JOBS["selector"]}}},
        "spec.drain.waitFor.timeout",
        "Required value",
    ),
    "no time to drain": ({"drain": {"timeout": "0s"}}, "spec.drain", "a pod cannot move in no time"),
    "ready too late": ({"health": {"readySeconds": 1200}}, "spec.health", "cannot be Ready for readySeconds within"),
    "never back": (
        {"failure": {"max": "100%", "action": "Rollback"}},
        "spec.failure",
        "nothing rolls back while all nodes may fail",
    ),
    "a daemon set twice": (
        {"health": {"daemonSets": [PROXY_SET, PROXY_SET]}},
        "spec.health.daemonSets",
        "Duplicate value",
    ),
    "a namespace": (
        {"health": {"daemonSets": [PROXY_SET | {"namespace": "Kube"}]}},
        "spec.health.daemonSets[0].namespace",
        "namespace must be a name",
    ),
    "a daemon set's name": (
        {"health": {"daemonSets": [PROXY_SET | {"name": "a_b"}]}},
        "spec.health.daemonSets[0].name",
        "name must be a name",
    ),
    "none but the control plane, and not that": (
        {"nodeSelector": {"matchLabels": {CONTROL_PLANE: ""}}, "order": {"controlPlane": "Exclude"}},
        "spec",
        "selects control-plane nodes",
    ),
    "the same as an expression": (
        {
            "nodeSelector": {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "Exists"}]},
            "order": {"controlPlane": "Exclude"},
        },
        "spec",
        "selects control-plane nodes",
    ),
    "In what": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "spec.nodeSelector.matchExpressions[0]",
        "In and NotIn need values",
    ),
    "there with values": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "spec.nodeSelector.matchExpressions[0]",
        "take no values",
    ),
    "a key": (
        {"nodeSelector": {"matchExpressions": [{"key": "my role", "operator": "Exists"}]}},
        "spec.nodeSelector.matchExpressions[0].key",
        "a label's key is a name",
    ),
    "a label's key": (
        {"nodeSelector": {"matchLabels": {"a/b/c": "d"}}},
        "spec.nodeSelector.matchLabels",
        "a label's key is a name",
    ),
    "a value": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}},
        "spec.nodeSelector.matchExpressions[0].values[0]",
        "a label's value has only letters",
    ),
    "a label's value": (
        {"nodeSelector": {"matchLabels": {"a": "-"}}},
        "spec.nodeSelector.matchLabels",
        "a label's value has only letters",
    ),
    "an operator": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Equals"}]}},
        "spec.nodeSelector.matchExpressions[0].operator",
        '"In", "NotIn", "Exists", "DoesNotExist"',
    ),
    "an attempt below nothing": ({"attempt": -1}, "spec.attempt", "greater than or equal to 0"),
    "a typing error": ({"maxUnavailabel": 1}, "", 'unknown field "spec.maxUnavailabel"'),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_contradiction_is_refused_with_what_to_write(cluster: ControlPlane, what: str) -> None:
    spec, at, said = WRONG[what]
    answer = cluster.api.call(
        "POST", RESOURCES["OSRollout"].path, rollout(**spec), query={"fieldValidation": "Strict", "dryRun": "All"}
    )
    assert answer.status in (400, 422)
    assert at in answer.message
    assert said in answer.message


def test_the_same_rollout_without_the_mistake_is_taken(cluster: ControlPlane) -> None:
    spec = {
        "budgets": [BUDGET | {"timeZone": "Europe/Berlin"}, BUDGET | {"maxUnavailable": 0}],
        "nodeSelector": {
            "matchLabels": {"example.com/pool": "a", "role": ""},
            "matchExpressions": [
                {"key": CONTROL_PLANE, "operator": "DoesNotExist"},
                {"key": "tier", "operator": "In", "values": ["x", "y.z"]},
            ],
        },
        "order": {"controlPlane": "Exclude"},
        "canary": {"nodes": "64%", "soak": "1h"},
        "drain": {"timeout": "0s", "onTimeout": "Force"},
        "health": {"readySeconds": 1199, "daemonSets": [PROXY_SET, PROXY_SET | {"name": "cni"}]},
        "failure": {"max": "99%", "action": "Rollback"},
    }
    taken = cluster.api.post(RESOURCES["OSRollout"].path, rollout(**spec))["spec"]
    assert (taken["canary"]["nodes"], taken["failure"]["max"]) == ("64%", "99%")


def test_an_attempt_only_grows(cluster: ControlPlane) -> None:
    cluster.apply([rollout(attempt=2)])
    path = f"{RESOURCES['OSRollout'].path}/workers"
    answer = cluster.api.call("PATCH", path, {"spec": {"attempt": 1}}, content="application/merge-patch+json")
    assert answer.status == 422
    assert "attempt only grows: raise it to resume after a halt" in answer.message


def test_every_rule_of_a_rollout_has_a_case() -> None:
    """A rule that is added needs a case above."""
    said = [entry[2] for entry in WRONG.values()] + ["attempt only grows"]
    rules = [
        rule["message"]
        for path, schema in described("OSRollout")
        if path.startswith(".spec")
        for place in (schema, schema.get("items", {}), schema.get("additionalProperties", {}))
        for rule in place.get("x-kubernetes-validations", ())
    ]
    assert len(rules) >= 20
    for message in rules:
        assert any(part in message for part in said), message
