"""A Kubernetes cluster whose nodes are virtual machines of images that Proa built.

The control plane with its scheduler, and a registry, run on this host's loopback; each machine has a network of its own
behind which it reaches both, the API server also at its address in the range of services. There is no network between
pods of different nodes, and no kube-proxy.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from proa.vm.cluster import joining
from proa.vm.kube import control_flags
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import HOST, Hardware, Network
from proa.vm.support.child import Child
from proa.vm.support.registry import LocalRegistry

MEMORY: Final = 768
"""MiB of a node, unless more is wanted: what it uses at most (450), what its kernel keeps, and a page cache."""
PORT: Final = 30080
"""Where a node's workload answers."""
SERVICES: Final = "10.0.2.128/26"
SERVICE: Final = "10.0.2.129"
"""The API server's address in the range of services, which QEMU stands in for."""
ZONE: Final = "topology.kubernetes.io/zone"
REGISTRY: Final = "10.0.2.130:5000"
"""The registry as nodes reach it, each from a loopback address of its own: its log tells who fetched what."""
IMAGES: Final = "images.proof.test"
"""What the registry is called in the names of pods' images."""
_MIRRORED: Final = (IMAGES, "registry.k8s.io")
_LOGIN: Final = ("node", "proof-password")
_POD_NETWORK: Final[dict[str, Any]] = {
    "cniVersion": "1.0.0",
    "name": "proof",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.85.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}
"""The same network on every node, behind the node's address; elsewhere a DaemonSet brings one."""
_CA: Final = "/etc/proa/registry.crt"
_FIRST: Final = 20
"""Nodes' addresses end in the numbers after it."""
_CLUSTER_CA: Final = "/etc/kubernetes/ca.crt"
_AUTH: Final = "/etc/proa/registry-auth.json"


@dataclass(frozen=True)
class ClusterPlan:
    """What a cluster is made of.

    Attributes:
        disk: The disk image that every node starts from.
        keys: The keys folder of Secure Boot; none without it.
        names: The nodes; each is in a zone of its own.
        memory: MiB of each.
    """

    disk: Path
    keys: Path | None
    names: Sequence[str] = ("node-1", "node-2", "node-3")
    memory: int = MEMORY


@dataclass
class MachineCluster:
    """Runs as long as the ``with`` block. The machines are not switched on by it.

    Attributes:
        folder: For all of it.
        plan: What it is made of.
    """

    folder: Path
    plan: ClusterPlan
    machines: dict[str, Machine] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.registry = stack.enter_context(self._registry())
            self.plane = stack.enter_context(self._control_plane())
            self.scheduler = Child(
                "kube-scheduler", control_flags.scheduler(self.plane.parts), self.folder / "kube-scheduler.log"
            )
            stack.callback(self.scheduler.kill)
            self.scheduler.start()
            token = joining.token()
            self.plane.apply(joining.documents(token))
            for number, name in enumerate(self.plan.names, 1):
                machine = Machine(self._hardware(number, name, token), self.folder / name, name=name)
                self.machines[name] = machine
                stack.callback(machine.crash)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fetched(self, repositories: Collection[str], since: int = 0) -> tuple[dict[str, int], int]:
        """How many bytes of blobs of some repositories each node fetched; and where the registry's log ends now.

        Args:
            repositories: Their names.
            since: Where to begin in the log.
        """
        sent, end = self.registry.served(since)
        return {
            name: sum(sent[_source(number), one] for one in repositories)
            for number, name in enumerate(self.plan.names, 1)
        }, end

    def _registry(self) -> LocalRegistry:
        names = [REGISTRY.partition(":")[0]]
        return LocalRegistry(self.folder / "registry", auth=_LOGIN, host_names=names, access_log=True)

    def _control_plane(self) -> ControlPlane:
        extra = {"kube-apiserver": [f"--service-cluster-ip-range={SERVICES}"]}
        return ControlPlane(self.folder / "control-plane", controllers=control_flags.REAL_NODES, extra=extra)

    def _hardware(self, number: int, name: str, token: str) -> Hardware:
        port = self.plane.parts.ports[2]
        authority = self.plane.parts.authority.ca_file.read_bytes()
        credentials = {
            joining.BOOTSTRAP: joining.kubeconfig(f"https://{HOST}:{port}", authority, token),
            joining.EXTRA: joining.files(self._files(name)),
        }
        network = Network(
            forward={0: PORT},
            services={f"{SERVICE}:443": port, REGISTRY: self.registry.port},
            source=_source(number),
            address=f"10.0.2.{_FIRST + number}",
        )
        return Hardware(
            disks=(DiskImage(self.plan.disk.resolve()),),
            keys=self.plan.keys.resolve() if self.plan.keys else None,
            memory=self.plan.memory,
            network=network,
            credentials=credentials,
        )

    def _files(self, name: str) -> Mapping[str, str | bytes]:
        """What names this cluster and this node in /etc."""
        registry = self.registry
        assert registry.ca_file is not None  # noqa: S101
        hosts = joining.mirror(REGISTRY, _CA, *_LOGIN)
        arguments = f"--hostname-override={name} --node-labels={ZONE}={name} --client-ca-file={_CLUSTER_CA}"
        return {
            "/etc/default/kubelet": f"KUBELET_EXTRA_ARGS={arguments}\n",
            _CLUSTER_CA: self.plane.parts.authority.ca_file.read_bytes(),
            "/etc/cni/net.d/10-proof.conflist": json.dumps(_POD_NETWORK),
            _CA: registry.ca_file.read_bytes(),
            _AUTH: joining.auth_file(REGISTRY, *_LOGIN),
            "/etc/proa/registry.toml": f'ca_file = "{_CA}"\nauth_file = "{_AUTH}"\n',
            **{f"/etc/containerd/certs.d/{one}/hosts.toml": hosts for one in _MIRRORED},
        }


def _source(number: int) -> str:
    """What the registry sees a node come from."""
    return f"127.0.0.{_FIRST + number}"
