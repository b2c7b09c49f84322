"""What is installed: its structure, its limits, and what each flag does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from click.testing import CliRunner

from proa.core.orders.client import SOCKET as AGENT_SOCKET
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.schema.json_schema import closed
from proa.scheduler.cli.main import cli
from proa.scheduler.cli.running import proxy, run
from proa.scheduler.install import render
from proa.scheduler.install.names import COMPONENT, PORT, PROXY, SCHEDULER, place
from proa.scheduler.install.resources import quantity, written
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, InstallSettings
from proa.scheduler.kube.stream import Object
from proa.scheduler.objects.writing import POLICY
from proa.scheduler.report.reports import SCHEMAS
from proa.scheduler.spec.crd import RESOURCES

DOCUMENTS = render.documents(InstallSettings())
KINDS = [item["kind"] for item in DOCUMENTS]


def said(*words: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(cli, ["manifests", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def printed(*words: str) -> list[Object]:
    """The objects that it prints. As JSON, which is read much faster."""
    items: list[Object] = json.loads(said("--json", *words))["items"]
    return items


def one(found: list[Object], kind: str, name: str = "") -> Object:
    (match,) = (item for item in found if item["kind"] == kind and item["metadata"]["name"].startswith(name))
    return match


def pod_of(found: list[Object], kind: str) -> Object:
    pod: Object = one(found, kind)["spec"]["template"]["spec"]
    return pod


def rules(found: list[Object]) -> Iterator[Object]:
    for item in found:
        if item["kind"] in ("ClusterRole", "Role"):
            yield from item["rules"]


# the whole


def test_what_is_printed_is_what_is_made() -> None:
    assert list(yaml.safe_load_all(said())) == DOCUMENTS


def test_the_same_is_printed_every_time() -> None:
    text = render.text(DOCUMENTS)
    assert render.text(render.documents(InstallSettings())) == text
    assert "&id" not in text


def test_json_has_the_same() -> None:
    document = json.loads(said("--json"))
    assert document["schema"] == "proa.manifests/v1"
    jsonschema.Draft202012Validator(closed(dict(SCHEMAS[document["schema"]]))).validate(document)
    assert document["items"] == DOCUMENTS


def test_what_others_need_comes_first() -> None:
    order = ["CustomResourceDefinition", "Namespace", "ServiceAccount", "ValidatingAdmissionPolicy", "Deployment"]
    firsts = [KINDS.index(kind) for kind in order]
    assert firsts == sorted(firsts)
    assert KINDS.count("CustomResourceDefinition") == len(RESOURCES)


def test_no_object_is_named_twice_and_all_have_a_place() -> None:
    places = [place(item) for item in DOCUMENTS]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("item", DOCUMENTS, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_every_object_says_whose_it_is(item: Object) -> None:
    if item["kind"] != "CustomResourceDefinition":
        assert item["metadata"]["labels"]["app.kubernetes.io/name"] == "proa"
    if "namespace" in item["metadata"]:
        assert item["metadata"]["namespace"] in (NAMESPACE, PROXY_NAMESPACE)


def test_each_namespace_is_held_to_a_level() -> None:
    levels = {
        item["metadata"]["name"]: (
            item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
            item["metadata"]["labels"][COMPONENT],
        )
        for item in DOCUMENTS
        if item["kind"] == "Namespace"
    }
    assert levels == {NAMESPACE: ("restricted", "scheduler"), PROXY_NAMESPACE: ("privileged", "proxy")}


def test_every_file_beside_the_code_is_rendered() -> None:
    assert {path.name for path in Path(render.__file__).parent.glob("*.yaml")} == set(render.PARTS)


# rights


@pytest.mark.parametrize("rule", list(rules(DOCUMENTS)), ids=lambda rule: "-".join(rule["resources"] + rule["verbs"]))
def test_no_rule_is_broad(rule: Object) -> None:
    said = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    assert not any("*" in word for word in said)
    assert "secrets" not in rule["resources"]
    assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
    assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])


def test_nobody_writes_what_is_not_theirs() -> None:
    writes = {
        (name, resource): [verb for verb in rule["verbs"] if verb not in ("get", "list", "watch")]
        for name in (SCHEDULER, PROXY)
        for rule in one(DOCUMENTS, "ClusterRole", name)["rules"]
        for resource in rule["resources"]
    }
    assert {key: verbs for key, verbs in writes.items() if verbs} == {
        (SCHEDULER, "nodes"): ["patch"],
        (SCHEDULER, "pods"): ["delete"],
        (SCHEDULER, "pods/eviction"): ["create"],
        (SCHEDULER, "events"): ["create", "patch"],
        (SCHEDULER, "nodeoses"): ["create", "patch", "delete"],
        (SCHEDULER, "osrollouts/status"): ["patch"],
        (PROXY, "nodeoses/status"): ["patch"],
    }


def test_bindings_are_to_accounts_that_are_there() -> None:
    accounts = {(item["metadata"]["name"], item["metadata"]["namespace"]) for item in of_kind("ServiceAccount")}
    for binding in (*of_kind("ClusterRoleBinding"), *of_kind("RoleBinding")):
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) in accounts
        assert binding["roleRef"]["name"] in {item["metadata"]["name"] for item in of_kind(binding["roleRef"]["kind"])}


def of_kind(kind: str) -> list[Object]:
    return [item for item in DOCUMENTS if item["kind"] == kind]


def test_policies_are_about_the_accounts_and_bound() -> None:
    names = {item["metadata"]["name"] for item in of_kind("ValidatingAdmissionPolicy")}
    assert POLICY in names
    assert {item["spec"]["policyName"] for item in of_kind("ValidatingAdmissionPolicyBinding")} == names
    for name, account, space in ((POLICY, SCHEDULER, "a"), ("proa-own-status", PROXY, "b")):
        found = printed("--namespace", "a", "--proxy-namespace", "b")
        spec = one([item for item in found if item["kind"].endswith("Policy")], "ValidatingAdmissionPolicy", name)[
            "spec"
        ]
        assert spec["failurePolicy"] == "Fail"
        assert f"system:serviceaccount:{space}:{account}" in spec["matchConditions"][0]["expression"]


def test_a_missing_lease_refuses_orders_and_leaves_nodes_alone() -> None:
    """``Deny`` refuses everybody's request, before it is known whose it is."""
    bindings = {
        item["spec"]["matchResources"]["resourceRules"][0]["resources"][0]: item["spec"]["paramRef"]
        for item in of_kind("ValidatingAdmissionPolicyBinding")
        if item["spec"]["policyName"] == POLICY
    }
    assert {kind: ref["parameterNotFoundAction"] for kind, ref in bindings.items()} == {
        "nodes": "Allow",
        "nodeoses": "Deny",
    }
    assert {(ref["name"], ref["namespace"]) for ref in bindings.values()} == {(SCHEDULER, NAMESPACE)}


# what runs


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_pods_are_nobodys_and_can_write_nowhere(kind: str) -> None:
    pod = pod_of(DOCUMENTS, kind)
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert all(volume.get("readOnly") for volume in container.get("volumeMounts", ()))


@pytest.mark.parametrize(("kind", "command"), [("Deployment", run), ("DaemonSet", proxy)])
def test_pods_run_a_command_line_that_there_is(kind: str, command: Any) -> None:
    (container,) = pod_of(DOCUMENTS, kind)["containers"]
    verb, *words = container["args"]
    assert verb == command.name
    assert command.make_context(verb, list(words)).params
    env = {item["name"] for item in container["env"]}
    assert {word[2:-1] for word in words if word.startswith("$(")} <= env
    assert cli.commands[verb] is command


def test_the_scheduler_is_asked_where_it_listens() -> None:
    (container,) = pod_of(DOCUMENTS, "Deployment")["containers"]
    assert container["args"][-1] == f":{PORT}"
    assert container["ports"] == [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_the_scheduler_knows_its_node_and_its_pod() -> None:
    (container,) = pod_of(DOCUMENTS, "Deployment")["containers"]
    verb, *words = container["args"]
    given = run.make_context(verb, words).params
    assert (given["namespace"], given["own_node"], given["own_pod"]) == (
        "$(POD_NAMESPACE)",
        "$(NODE_NAME)",
        "$(POD_NAME)",
    )


def test_the_proxy_reaches_the_agents_socket_and_nothing_else() -> None:
    pod = pod_of(DOCUMENTS, "DaemonSet")
    (volume,) = pod["volumes"]
    assert volume["hostPath"] == {"path": str(AGENT_SOCKET.parent), "type": "DirectoryOrCreate"}
    (container,) = pod["containers"]
    assert str(AGENT_SOCKET) in container["args"]
    assert container["volumeMounts"][0]["mountPath"] == str(AGENT_SOCKET.parent)
    assert pod["tolerations"] == [{"operator": "Exists"}]


def test_schedulers_keep_apart_and_one_at_a_time_may_go() -> None:
    pod = pod_of(DOCUMENTS, "Deployment")
    terms = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert terms[0]["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    spec = one(DOCUMENTS, "Deployment")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    budget = one(DOCUMENTS, "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}


def test_the_network_lets_through_what_is_needed() -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind("NetworkPolicy")}
    assert policies[SCHEDULER]["ingress"] == [{"ports": [{"protocol": "TCP", "port": PORT}]}]
    assert "ingress" not in policies[PROXY]
    for spec in policies.values():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 443, 6443}


# flags


def test_image() -> None:
    found = printed("--image", "registry.example.net/proa:1")
    assert {pod_of(found, kind)["containers"][0]["image"] for kind in ("Deployment", "DaemonSet")} == {
        "registry.example.net/proa:1"
    }


def test_namespaces() -> None:
    found = printed("--namespace", "os", "--proxy-namespace", "os-proxy")
    assert {item["metadata"]["namespace"] for item in found if "namespace" in item["metadata"]} == {"os", "os-proxy"}
    assert {item["metadata"]["name"] for item in found if item["kind"] == "Namespace"} == {"os", "os-proxy"}
    assert NAMESPACE not in json.dumps(found)
    assert f'"{PROXY_NAMESPACE}:' not in json.dumps(found)


def test_group() -> None:
    assert pod_of(printed("--group", "4711"), "DaemonSet")["securityContext"]["runAsGroup"] == 4711
    assert pod_of(printed("--group", "4711"), "Deployment")["securityContext"]["runAsGroup"] != 4711


def test_replicas() -> None:
    assert one(printed("--replicas", "3"), "Deployment")["spec"]["replicas"] == 3


def test_selectors() -> None:
    found = printed("--node-selector", "role=infra", "--proxy-selector", "proa.dev/os=yes", "--proxy-selector", "a=")
    linux = {"kubernetes.io/os": "linux"}
    assert pod_of(found, "Deployment")["nodeSelector"] == {**linux, "role": "infra"}
    assert pod_of(found, "DaemonSet")["nodeSelector"] == {**linux, "proa.dev/os": "yes", "a": ""}


def test_tolerations() -> None:
    found = printed(
        "--toleration", "dedicated=infra:NoSchedule", "--toleration", "a.b/c:NoExecute", "--toleration", "d="
    )
    usual, *others = pod_of(found, "Deployment")["tolerations"]
    assert [usual] == pod_of(DOCUMENTS, "Deployment")["tolerations"]
    assert others == [
        {"key": "dedicated", "operator": "Equal", "value": "infra", "effect": "NoSchedule"},
        {"key": "a.b/c", "operator": "Exists", "effect": "NoExecute"},
        {"key": "d", "operator": "Equal", "value": ""},
    ]
    assert pod_of(found, "DaemonSet")["tolerations"] == [{"operator": "Exists"}]
    same = printed("--toleration", "node-role.kubernetes.io/control-plane:NoSchedule")
    assert pod_of(same, "Deployment")["tolerations"] == [usual]


def resources_of(found: list[Object], kind: str) -> Object:
    resources: Object = pod_of(found, kind)["containers"][0]["resources"]
    return resources


def test_resources() -> None:
    words = ("--requests", "cpu=0.5, memory=1Gi", "--limits", "memory=2G,cpu=2", "--proxy-limits", "memory=200Mi")
    found = printed(*words, "--proxy-requests", "cpu=5m")
    assert resources_of(found, "Deployment") == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"memory": "2G", "cpu": "2"},
    }
    assert resources_of(found, "DaemonSet") == {
        "requests": {"cpu": "5m", "memory": "64Mi"},
        "limits": {"memory": "200Mi"},
    }
    for kind in ("Deployment", "DaemonSet"):
        assert resources_of(printed("--requests", "cpu=100m"), kind) == resources_of(DOCUMENTS, kind)


@pytest.mark.parametrize(
    ("said", "amount"),
    [("1", 1), ("100m", 0.1), ("1.5", 1.5), ("2k", 2000), ("1Ki", 1024), ("3Gi", 3 * 2**30), ("1T", 10**12)],
)
def test_quantities_are_read_as_kubernetes_reads_them(said: str, amount: float) -> None:
    assert float(quantity(said) or 0) == pytest.approx(amount)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("0.25", "250m"),
        ("1000m", "1"),
        ("2000", "2k"),
        ("1500M", "1500M"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Gi", "107374182400m"),
        ("512Mi", "512Mi"),
        ("999999999999999Ei", "999999999999999Ei"),
    ],
)
def test_quantities_are_written_as_the_api_server_keeps_them(said: str, kept: str) -> None:
    assert written(said) == kept
    assert quantity(kept) == quantity(said)


@pytest.mark.parametrize("said", ["", "-1", "1 Gi", "1gi", "1K", "Mi", "1.", "1e3", "1\n", "0.0001"])
def test_what_is_no_quantity_is_none(said: str) -> None:
    assert quantity(said) is None


def test_pull_secret() -> None:
    found = printed("--pull-secret", "registry")
    for kind in ("Deployment", "DaemonSet"):
        assert pod_of(found, kind)["imagePullSecrets"] == [{"name": "registry"}]
        assert "imagePullSecrets" not in pod_of(DOCUMENTS, kind)


def test_priority() -> None:
    assert pod_of(DOCUMENTS, "Deployment")["priorityClassName"] == "system-cluster-critical"
    assert pod_of(DOCUMENTS, "DaemonSet")["priorityClassName"] == "system-node-critical"
    found = printed("--no-priority")
    assert all("priorityClassName" not in pod_of(found, kind) for kind in ("Deployment", "DaemonSet"))


def test_api_port() -> None:
    (*_, rule) = one(printed("--api-port", "16443"), "NetworkPolicy", PROXY)["spec"]["egress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": 16443}]}


def test_prometheus() -> None:
    address = ("--prometheus", "https://prometheus.monitoring.svc:9090")
    pod = pod_of(printed(*address), "Deployment")
    (container,) = pod["containers"]
    assert container["args"][-2:] == list(address)
    assert "volumes" not in pod
    pod = pod_of(printed(*address, "--prometheus-secret", "prometheus"), "Deployment")
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    assert container["args"][-2:] == ["--prometheus-secret", mount["mountPath"]]
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    assert volume["secret"]["secretName"] == "prometheus"
    assert pod_of(printed(*address), "DaemonSet") == pod_of(DOCUMENTS, "DaemonSet")


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (["https://prometheus:9090"], 9090),
        (["https://prometheus"], 443),
        (["http://prometheus"], 80),
        (["http://prometheus", "--prometheus-port", "9090"], 9090),
    ],
)
def test_the_network_lets_the_scheduler_alone_through_to_prometheus(words: list[str], port: int) -> None:
    found = printed("--prometheus", *words)
    (*usual, rule) = one(found, "NetworkPolicy", SCHEDULER)["spec"]["egress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": port}]}
    assert usual == one(DOCUMENTS, "NetworkPolicy", SCHEDULER)["spec"]["egress"]
    assert one(found, "NetworkPolicy", PROXY) == one(DOCUMENTS, "NetworkPolicy", PROXY)


@pytest.mark.parametrize(
    ("words", "at", "what"),
    [
        (["--image", "a b"], "--image", "not a reference"),
        (["--namespace", "Os"], "--namespace", "not a valid name of a namespace"),
        (["--namespace", "kube-system"], "--namespace", "belongs to the cluster"),
        (["--proxy-namespace", "default"], "--proxy-namespace", "belongs to the cluster"),
        (["--proxy-namespace", NAMESPACE], "--proxy-namespace", "the same"),
        (["--node-selector", "a b=c"], "--node-selector", "not a label"),
        (["--proxy-selector", "a=b c"], "--proxy-selector", "not a label"),
        (["--toleration", "a b"], "--toleration", "not a toleration"),
        (["--toleration", "a=b c"], "--toleration", "not a toleration"),
        (["--toleration", "a:Never"], "--toleration", "not a toleration"),
        (["--toleration", ":NoSchedule"], "--toleration", "not a toleration"),
        (["--requests", "cpu=much"], "--requests", "not a quantity"),
        (["--requests", "cpu=0"], "--requests", "not a quantity above zero"),
        (["--limits", "gpu=1"], "--limits", "not one of cpu, memory"),
        (["--requests", "memory=1Gi"], "--requests", "the request 1Gi is above the limit 512Mi"),
        (["--proxy-limits", "memory=32Mi"], "--proxy-requests", "the request 64Mi is above the limit 32Mi"),
        (["--proxy-limits", "memory=32M i"], "--proxy-limits", "not a quantity"),
        (["--pull-secret", "a/b"], "--pull-secret", "not a valid name of a secret"),
        (["--prometheus", "prometheus:9090"], "--prometheus", "not an http or https address"),
        (["--prometheus", "https://a:b@prometheus"], "--prometheus", "a password"),
        (["--prometheus-secret", "prometheus"], "--prometheus", "no address of Prometheus"),
        (["--prometheus-port", "9090"], "--prometheus", "no address of Prometheus"),
        (
            ["--prometheus", "http://a", "--prometheus-secret", "a/b"],
            "--prometheus-secret",
            "not a valid name of a secret",
        ),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], at: str, what: str) -> None:
    with pytest.raises(ProaError) as caught:
        CliRunner().invoke(cli, ["manifests", *words], catch_exceptions=False)
    assert caught.value.code is Code.USAGE
    assert caught.value.at == at
    assert what in caught.value.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ProaErrors) as caught:
        render.documents(InstallSettings(namespace="A", pull_secret="/", node_selector={"": "a"}))
    assert [error.at for error in caught.value.errors] == ["--namespace", "--node-selector", "--pull-secret"]


@pytest.mark.parametrize(
    "words",
    [["--node-selector", "a"], ["--group", "0"], ["--replicas", "0"], ["--requests", "cpu"], ["--limits", "cpu=1,"]],
)
def test_a_word_that_is_none_is_a_usage_error(words: list[str]) -> None:
    assert CliRunner().invoke(cli, ["manifests", *words]).exit_code == 2
