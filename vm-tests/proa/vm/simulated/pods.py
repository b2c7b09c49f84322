"""What a kube-scheduler and a kubelet would do with a pod, in the few words that tests need. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.vm.kube.api import Object
from proa.vm.simulated.faults import Faults, Timing


class Duty(enum.Enum):
    """What is to be done with a pod next."""

    NOTHING = "nothing"
    BIND = "bind"
    START = "start"
    END = "end"


@dataclass(frozen=True)
class Pod:
    """A pod, as far as it matters here.

    Attributes:
        node: Where it is bound; empty if nowhere.
        grace: Seconds that it has to end.
        path: Its address.
    """

    namespace: str
    name: str
    uid: str
    node: str
    duty: Duty
    grace: float
    ready: bool
    document: Object

    @property
    def path(self) -> str:
        """Its address."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def read(document: Object) -> Pod:
    """A pod out of its document."""
    metadata, spec, status = document["metadata"], document["spec"], document.get("status", {})
    node, phase = spec.get("nodeName", ""), status.get("phase", "Pending")
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", ()))
    if metadata.get("deletionTimestamp"):
        duty = Duty.END if node else Duty.NOTHING
    elif phase not in ("Pending", "Running") or ready:
        duty = Duty.NOTHING
    elif node:
        duty = Duty.START
    else:
        duty = Duty.NOTHING if spec.get("schedulingGates") else Duty.BIND
    grace = float(metadata.get("deletionGracePeriodSeconds", 0) or 0)
    return Pod(metadata["namespace"], metadata["name"], metadata["uid"], node, duty, grace, ready, document)


def end_after(pod: Pod, faults: Faults, timing: Timing) -> float | None:
    """How many seconds a pod takes to end; none if it never does."""
    if faults.stuck_pods:
        return None
    if faults.ignore_sigterm:
        return pod.grace
    return min(timing.pod_stop, pod.grace) if pod.grace else 0.0


# binding


@dataclass(frozen=True)
class Seat:
    """A node, as the binding of pods sees it."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...] = ()
    schedulable: bool = True
    ready: bool = True


_CORDON: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
"""The taint of a cordoned node, which some pods tolerate (Kubernetes, "Taints and Tolerations")."""


def wanted_node(pod: Pod) -> str:
    """The one node that a DaemonSet's pod is for; empty if it may go anywhere.

    The controller says it by a required node affinity to the field ``metadata.name``.
    """
    affinity = pod.document["spec"].get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    for term in required.get("nodeSelectorTerms", ()):
        for field in term.get("matchFields", ()):
            if field["key"] == "metadata.name" and field["operator"] == "In":
                return str(field["values"][0])
    return ""


def fits(pod: Pod, seat: Seat) -> bool:
    """Whether a pod that may go anywhere may go to a node."""
    spec = pod.document["spec"]
    wanted = spec.get("nodeSelector", {})
    if not seat.ready or any(seat.labels.get(key) != value for key, value in wanted.items()):
        return False
    taints = (*seat.taints, *(() if seat.schedulable else (_CORDON,)))
    repelling = [taint for taint in taints if taint["effect"] in ("NoSchedule", "NoExecute")]
    return all(_tolerates(spec.get("tolerations", ()), taint) for taint in repelling)


def _tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Kubernetes, "Taints and Tolerations": an empty key with Exists matches all, an empty effect matches all."""
    for one in tolerations:
        effect = one.get("effect", "") in ("", taint["effect"])
        same_key = one.get("key", "") == taint["key"]
        exists = one.get("operator", "Equal") == "Exists"
        if effect and ((exists and (same_key or not one.get("key"))) or (same_key and _same_value(one, taint))):
            return True
    return False


def _same_value(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    return bool(toleration.get("value", "") == taint.get("value", ""))


# what a kubelet says

_IMAGE_ID: Final = "registry.test/pause@sha256:" + "1" * 64


def running(pod: Pod, *, ready: bool, address: str, now: str) -> Object:
    """The patch of the status of a pod that was started, for the first time or again.

    Args:
        pod: The pod.
        ready: Whether it is Ready.
        address: Its IP address.
        now: The time, as Kubernetes writes it.
    """
    status = "True" if ready else "False"
    before = pod.document.get("status", {}).get("containerStatuses", ())
    restarts = max((container["restartCount"] + 1 for container in before), default=0)
    conditions = [
        {"type": kind, "status": value, "lastTransitionTime": now}
        for kind, value in (("Initialized", "True"), ("ContainersReady", status), ("Ready", status))
    ]
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": _IMAGE_ID,
            "ready": ready,
            "started": True,
            "restartCount": restarts,
            "state": {"running": {"startedAt": now}},
        }
        for container in pod.document["spec"]["containers"]
    ]
    where = {"podIP": address, "podIPs": [{"ip": address}], "startTime": now}
    return {"status": {"phase": "Running", "conditions": conditions, "containerStatuses": containers, **where}}
