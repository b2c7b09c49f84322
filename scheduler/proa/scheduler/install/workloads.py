"""What runs: the schedulers, a proxy on every node, and what protects both."""

from __future__ import annotations

from typing import Any, Final

from proa.scheduler.install import resources
from proa.scheduler.install.names import PORT, PROXY, SCHEDULER, item, labels
from proa.scheduler.install.settings import GROUP, Settings
from proa.scheduler.install.tolerations import Toleration
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.labels import CONTROL_PLANE

SOCKETS: Final = "/run/proa"
"""The agent's folder, on the host and in the pod. The folder, because a socket is made anew with every agent."""
SOCKET: Final = f"{SOCKETS}/orders.sock"
_CONTROL_PLANE: Final = Toleration(CONTROL_PLANE, effect="NoSchedule")
_CONTAINER: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def documents(settings: Settings) -> list[Object]:
    """All of it; namespaces and accounts must be there."""
    space, other = settings.namespace, settings.proxy_namespace
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels(SCHEDULER)}}
    metrics = [{"ports": [{"protocol": "TCP", "port": PORT}]}]
    return [
        item("policy/v1", "PodDisruptionBudget", SCHEDULER, SCHEDULER, space, spec=budget),
        _network(SCHEDULER, space, metrics, settings),
        _network(PROXY, other, [], settings),
        _deployment(settings),
        _daemon_set(settings),
    ]


def _deployment(settings: Settings) -> Object:
    selector = {"matchLabels": labels(SCHEDULER)}
    apart = [
        {"weight": weight, "podAffinityTerm": {"labelSelector": selector, "topologyKey": key}}
        for key, weight in (("kubernetes.io/hostname", 100), ("topology.kubernetes.io/zone", 50))
    ]
    own = ["--namespace", "$(POD_NAMESPACE)", "--own-node", "$(NODE_NAME)", "--own-pod", "$(POD_NAME)"]
    words = ["run", *own, "--listen", f":{PORT}"]
    container = _container(SCHEDULER, words, settings) | {
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", 2, 30),
        "livenessProbe": _probe("/healthz", 10, 6),
        "readinessProbe": _probe("/readyz", 5, 3),
        "resources": resources.SCHEDULER.but(settings.requests, settings.limits).document,
    }
    pod = _pod(SCHEDULER, container, settings, GROUP, "system-cluster-critical") | {
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": apart}},
        "nodeSelector": {"kubernetes.io/os": "linux", **settings.node_selector},
        "tolerations": [one.document for one in dict.fromkeys((_CONTROL_PLANE, *settings.tolerations))],
    }
    spec = {
        "replicas": settings.replicas,
        "selector": selector,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        "template": _template(SCHEDULER, pod),
    }
    return item("apps/v1", "Deployment", SCHEDULER, SCHEDULER, settings.namespace, spec=spec)


def _daemon_set(settings: Settings) -> Object:
    mount = {"name": "agent", "mountPath": SOCKETS, "readOnly": True}
    container = _container(PROXY, ["proxy", "--node", "$(NODE_NAME)", "--socket", SOCKET], settings) | {
        "resources": resources.PROXY.but(settings.proxy_requests, settings.proxy_limits).document,
        "volumeMounts": [mount],
    }
    pod = _pod(PROXY, container, settings, settings.group, "system-node-critical") | {
        "nodeSelector": {"kubernetes.io/os": "linux", **settings.proxy_selector},
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": "agent", "hostPath": {"path": SOCKETS, "type": "DirectoryOrCreate"}}],
    }
    spec = {
        "selector": {"matchLabels": labels(PROXY)},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": _template(PROXY, pod),
    }
    return item("apps/v1", "DaemonSet", PROXY, PROXY, settings.proxy_namespace, spec=spec)


def _template(component: str, pod: Object) -> Object:
    return {
        "metadata": {
            "labels": labels(component),
            "annotations": {"kubectl.kubernetes.io/default-container": component},
        },
        "spec": pod,
    }


def _pod(component: str, container: Object, settings: Settings, group: int, priority: str) -> Object:
    """A pod of nobody's: no root, no capability, nothing to write to. Its primary group is what the agent looks at."""
    return {
        "serviceAccountName": component,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        **({"priorityClassName": priority} if settings.priority else {}),
        **({"imagePullSecrets": [{"name": settings.pull_secret}]} if settings.pull_secret else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": GROUP,
            "runAsGroup": group,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }


def _container(name: str, words: list[str], settings: Settings) -> Object:
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "NODE_NAME": "spec.nodeName"}
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "args": words,
        "env": [{"name": key, "valueFrom": {"fieldRef": _field(path)}} for key, path in fields.items()],
        "securityContext": _CONTAINER,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _field(path: str) -> Object:
    """With the default written out: to leave it to the API server makes a conflict with a later server-side apply."""
    return {"apiVersion": "v1", "fieldPath": path}


def _probe(path: str, every: int, failures: int) -> Object:
    request = {"path": path, "port": "http"}
    return {"httpGet": request, "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": failures}


def _network(component: str, namespace: str, ingress: list[Any], settings: Settings) -> Object:
    """Out to the API server and to DNS only; in to the metrics, where there are any."""
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    api = [{"protocol": "TCP", "port": port} for port in settings.api_ports]
    spec = {
        "podSelector": {"matchLabels": labels(component)},
        "policyTypes": ["Ingress", "Egress"],
        **({"ingress": ingress} if ingress else {}),
        "egress": [{"ports": dns}, {"ports": api}],
    }
    return item("networking.k8s.io/v1", "NetworkPolicy", component, component, namespace, spec=spec)
