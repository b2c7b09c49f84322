"""What runs in a cluster of real nodes: Proa from its container image, and a web service with a disruption budget."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.core import VERSION
from proa.core.runtime import process
from proa.vm.cluster.machines import IMAGES, PORT, MachineCluster
from proa.vm.kube import podimages
from proa.vm.kube.api import KubeApi, Object

WEB: Final = "web"
SPACE: Final = "default"
REPLICAS: Final = 3
_LABELS: Final = {"app": WEB}
_SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
_SCHEDULER: Final = "proa-scheduler"
REPOSITORIES: Final = ("pause", WEB, _SCHEDULER)
"""Of pods' images, in the cluster's registry."""


def deliver(cluster: MachineCluster) -> None:
    """Build the images of pods, and bring them to the cluster's registry.

    Raises:
        ProaError: What goes wrong on the way.
    """
    registry, folder = cluster.registry, cluster.folder
    for verb, (repository, tag) in {"pause": ("pause", "3.10"), "serve": (WEB, "1")}.items():
        with registry.open(repository, tag) as target:
            podimages.deliver(folder / f"image-{verb}", verb, target)
    out = folder / "image-scheduler"
    process.run([sys.executable, "-m", "container.build", "-o", out], timeout=900)
    access = ("--ca-file", str(registry.ca_file), "--auth-file", str(registry.auth_file))
    where = f"{registry.address}/{_SCHEDULER}:{VERSION}"
    process.run([sys.executable, "-m", "container.push", out, where, *access], timeout=300)


def install(cluster: MachineCluster, *words: str) -> None:
    """``proa-scheduler manifests | kubectl apply -f -``, with the image from the cluster's registry.

    Args:
        cluster: Where.
        words: Further options of ``manifests``.

    Raises:
        ProaError: ``TOOL``.
    """
    image = f"{IMAGES}/{_SCHEDULER}:{VERSION}"
    printed = process.run([Path(sys.executable).with_name(_SCHEDULER), "manifests", "--image", image, *words])
    cluster.plane.kubectl("apply", "-f", "-", stdin=printed.stdout)


def workload(replicas: int = REPLICAS) -> list[Object]:
    """A Deployment, one pod of it on a node, its Service and its PodDisruptionBudget: one pod may be missing."""
    container = {
        "name": WEB,
        "image": f"{IMAGES}/{WEB}:1",
        "ports": [{"containerPort": 8080, "hostPort": PORT, "protocol": "TCP"}],
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in (("POD_NAME", "metadata.name"), ("NODE_NAME", "spec.nodeName"))
        ],
        # A node in emulation that the host gives no time is slow, not away: what is away refuses at once.
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2, "timeoutSeconds": 30},
    }
    pod: Object = {"terminationGracePeriodSeconds": 20, "containers": [container]}
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    }
    return [
        _item("apps/v1", "Deployment", spec),
        _item("v1", "Service", {"selector": _LABELS, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}),
        _item("policy/v1", "PodDisruptionBudget", {"minAvailable": replicas - 1, "selector": {"matchLabels": _LABELS}}),
    ]


@dataclass
class Memory:
    """The most memory that nodes were seen to use, by what the web service answers.

    Attributes:
        used: MiB that could not be had any more (``MemTotal`` - ``MemAvailable``, proc(5)), by node.
        total: MiB that its kernel has, by node.
    """

    used: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)

    def hear(self, node: str, answer: bytes) -> None:
        """Take an answer; one of another service says nothing."""
        try:
            told = json.loads(answer)["memory"]
            total, available = int(told["MemTotal"]), int(told["MemAvailable"])
        except (ValueError, KeyError, TypeError):
            return
        self.total[node] = total >> 10
        self.used[node] = max(self.used.get(node, 0), (total - available) >> 10)


def ready(api: KubeApi) -> list[str]:
    """The nodes on which the service is ready, by its EndpointSlices.

    Raises:
        ProaError: ``NETWORK`` or ``TOOL`` while the API server is away.
    """
    slices = api.items(_SLICES, {"labelSelector": f"kubernetes.io/service-name={WEB}"})
    return sorted(one["nodeName"] for item in slices for one in item.get("endpoints") or () if _is_ready(one))


def _is_ready(endpoint: Object) -> bool:
    conditions: dict[str, Any] = endpoint.get("conditions") or {}
    return bool(conditions.get("ready")) and bool(endpoint.get("nodeName"))


def _item(api: str, kind: str, spec: Object) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": WEB, "namespace": SPACE}, "spec": spec}
