"""A simulated node: an agent with its slots, and what a kubelet on the same machine would say."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.kube.times import text
from proa.vm.kube.api import Object
from proa.vm.simulated.agent import SimAgent
from proa.vm.simulated.faults import Faults
from proa.vm.simulated.pods import Seat

KUBELET_VERSION: Final = "v1.37.2"
KIND: Final = {"node.kubernetes.io/instance-type": "simulated"}
"""The label of simulated nodes."""
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
_CAPACITY: Final = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}


@dataclass(frozen=True)
class Said:
    """What a kubelet says of its node, as far as it changes."""

    ready: bool
    boot_id: str
    since: str


@dataclass(frozen=True)
class Shape:
    """What is fixed about a node.

    Attributes:
        name: Its name.
        zone: Its zone; empty for none.
        control_plane: Whether it is of the control plane: it has the role's label and its taint.
        labels: Further labels.
        number: For its address.
    """

    name: str
    zone: str = ""
    control_plane: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def all_labels(self) -> dict[str, str]:
        """All labels."""
        found = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        if self.zone:
            found["topology.kubernetes.io/zone"] = self.zone
        if self.control_plane:
            found[CONTROL_PLANE] = ""
        return found | KIND | dict(self.labels)

    @property
    def machine_id(self) -> str:
        """Its id, in hexadecimal."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]

    @property
    def address(self) -> str:
        """Its IP address, as long as everybody's."""
        number = self.number
        return f"10.{200 + number // 10000}.{100 + number // 100 % 100}.{100 + number % 100}"


class SimMachine:
    """A node.

    Args:
        shape: What is fixed about it.
        agent: Its agent.
        clock: Whose time counts.
    """

    def __init__(self, shape: Shape, agent: SimAgent, clock: Clock = SYSTEM) -> None:
        self.shape = shape
        self.agent = agent
        self.uid = ""
        """Of its Node; empty while there is none."""
        self.gone = False
        """Whether the machine is no more."""
        self.unschedulable = False
        self.taints: tuple[Mapping[str, Any], ...] = ()
        self._clock = clock
        self._up_since = clock.monotonic()
        self._boots = agent.boots
        self._since = ""
        self._ready: bool | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.shape.name

    @property
    def faults(self) -> Faults:
        """What is wrong with it."""
        return self.agent.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.agent.faults = faults
        if not faults.never_returns:
            self.agent.power_on()

    @property
    def ready(self) -> bool:
        """Whether it is Ready now."""
        now = self._clock.monotonic()
        return (
            not self.agent.away and self._ready_at <= now and not (self._fails_at is not None and self._fails_at <= now)
        )

    @property
    def due(self) -> float | None:
        """When something happens by itself; none if nothing will."""
        now = self._clock.monotonic()
        times = [self.agent.due]
        if not self.agent.away:
            times += [time for time in (self._ready_at, self._fails_at) if time is not None and time > now]
        known = [time for time in times if time is not None]
        return min(known) if known else None

    @property
    def seat(self) -> Seat:
        """As the binding of pods sees it."""
        return Seat(
            self.name, self.shape.all_labels, self.taints, not self.unschedulable and bool(self.uid), self.ready
        )

    def advance(self) -> Said:
        """Let everything happen whose time has come; what the kubelet says then."""
        self.agent.advance()
        if self.agent.boots != self._boots:
            self._boots = self.agent.boots
            self._up_since = self._clock.monotonic()
        if self.ready is not self._ready:
            self._ready, self._since = self.ready, self.time()
        return Said(self.ready, self.agent.booted.boot_id, self._since)

    def time(self) -> str:
        """The time by its own clock."""
        return text(self._clock.now() + timedelta(seconds=self.faults.clock_skew))

    def adopt(self, node: Object) -> None:
        """Go on as a Node that is there already."""
        boot_id = node.get("status", {}).get("nodeInfo", {}).get("bootID", "")
        status = self.agent.status
        if boot_id and status.booted is not None:
            booted = dataclasses.replace(status.booted, boot_id=boot_id)
            self.agent.status = dataclasses.replace(status, booted=booted)
        for condition in node.get("status", {}).get("conditions", ()):
            if condition["type"] == "Ready" and condition["status"] == "True":
                self._ready, self._since = True, condition.get("lastTransitionTime", "")
                self._up_since = self._clock.monotonic() - self.agent.timing.ready
        self.see(node)

    def see(self, node: Object) -> None:
        """Note what others have changed about its Node."""
        self.uid = node["metadata"]["uid"]
        self.unschedulable = bool(node["spec"].get("unschedulable"))
        self.taints = tuple(node["spec"].get("taints", ()))

    @property
    def _ready_at(self) -> float:
        return self._up_since + self.agent.timing.ready + self.faults.ready_delay

    @property
    def _fails_at(self) -> float | None:
        after = self.faults.fails_after_ready
        return self._ready_at + after if after is not None and self.agent.boots else None


def shapes(count: int, *, zones: int = 3, control_planes: int = 0, first: int = 0) -> list[Shape]:
    """Nodes ``node-0000`` and on, spread over ``zones``; besides them ``control-0`` and on, of the control plane."""
    workers = [
        Shape(f"node-{n:04}", f"zone-{n % zones}" if zones else "", number=n) for n in range(first, first + count)
    ]
    heads = [
        Shape(f"control-{n}", f"zone-{n % zones}" if zones else "", control_plane=True, number=10000 + n)
        for n in range(control_planes)
    ]
    return [*heads, *workers]


def node_document(shape: Shape, said: Said) -> Object:
    """The Node that a kubelet registers."""
    taints = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}] if shape.control_plane else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": shape.name, "labels": shape.all_labels},
        "spec": {"taints": taints} if taints else {},
        "status": node_status(shape, said),
    }


def node_status(shape: Shape, said: Said) -> Object:
    """The status of a Node; a strategic merge patch brings it up to date."""
    conditions = [
        _condition("Ready", said.ready, "KubeletReady" if said.ready else "KubeletNotReady", said.since),
        *(_condition(kind, False, f"KubeletHasNo{kind}", said.since) for kind in _PRESSURES),
    ]
    return {
        "capacity": _CAPACITY,
        "allocatable": _CAPACITY,
        "addresses": [
            {"type": "InternalIP", "address": shape.address},
            {"type": "Hostname", "address": shape.name},
        ],
        "conditions": conditions,
        "nodeInfo": {
            "machineID": shape.machine_id,
            "systemUUID": shape.machine_id,
            "bootID": said.boot_id,
            "kernelVersion": "6.12.0",
            "osImage": "Proa",
            "containerRuntimeVersion": "containerd://2.1.0",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }


_PRESSURES: Final = ("MemoryPressure", "DiskPressure", "PIDPressure")


def _condition(kind: str, status: bool, reason: str, since: str) -> Object:
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": "",
        "lastTransitionTime": since,
        "lastHeartbeatTime": since,
    }
