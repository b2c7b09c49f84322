"""The command lines of a control plane's programs, and the files that they read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.core.runtime.files import replace
from proa.vm.kube import audit
from proa.vm.kube.access import ApiAccess
from proa.vm.support.certificates import Authority, Certificate, write_key_pair
from proa.vm.support.ports import free_ports
from proa.vm.support.registry import HOST_NAMES

ISSUER: Final = "https://kubernetes.default.svc"
"""Of service-account tokens."""
ADMINS: Final = "system:masters"
"""The group that may do everything and is never throttled."""
CONTROLLERS: Final = (
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "disruption-controller",
    "daemonset-controller",
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
)
"""What tests need: pods of Deployments and DaemonSets, budgets, and owners whose objects go with them."""
REAL_NODES: Final = (
    *CONTROLLERS,
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    "endpointslice-controller",
    "root-ca-certificate-publisher-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
)
"""What a cluster with real kubelets needs besides."""
NODE_LIFECYCLE: Final = "node-lifecycle-controller"
"""Marks nodes that fall silent, and taints them; without it a node's conditions are what it says itself."""

_SERVICES: Final = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1", "10.0.2.129")


@dataclass(frozen=True)
class Parts:
    """A control plane's folder, ports and credentials.

    Attributes:
        folder: Where all of it lies.
        bin: The folder of the programs.
        ports: Of etcd for clients and for peers, of the API server and of the controllers.
        authority: Who all certificates are from.
        server: The certificate of every server but etcd.
        etcd_server: Etcd's, which also calls itself.
        etcd_client: The API server's, for etcd.
        access: As administrator.
        controllers: Those that the controller-manager runs.
        extra: Further arguments, by program.
    """

    folder: Path
    bin: Path
    ports: tuple[int, int, int, int]
    authority: Authority
    server: Certificate
    etcd_server: Certificate
    etcd_client: Certificate
    access: ApiAccess
    controllers: tuple[str, ...] = CONTROLLERS
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Where etcd keeps everything."""
        return self.folder / "etcd"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.folder / "audit.log"

    @property
    def url(self) -> str:
        """The API server's address."""
        return self.access.server

    @property
    def etcd_url(self) -> str:
        """Etcd's address."""
        return f"https://127.0.0.1:{self.ports[0]}"

    @property
    def etcd_access(self) -> ApiAccess:
        """How etcd is reached."""
        client = self.etcd_client
        return ApiAccess(self.etcd_url, self.authority.ca_file, client.cert_file, client.key_file)

    @property
    def signing_key(self) -> Path:
        """The authority's key, with which the controllers sign kubelets' requests."""
        return self.folder / "certificates/signing.key"

    @property
    def account_key(self) -> Path:
        """What signs service-account tokens."""
        return self.folder / "certificates/accounts.key"


def make(folder: Path, programs: Path, controllers: Sequence[str], extra: Mapping[str, Sequence[str]]) -> Parts:
    """New credentials and free ports, in ``folder``.

    Args:
        folder: The control plane's own.
        programs: The folder of its programs.
        controllers: Those that the controller-manager runs; it is not started for none.
        extra: Further arguments, by program.
    """
    authority = Authority(folder / "certificates", "Proa test cluster")
    ports = free_ports(4)
    admin = authority.issue_user("proa-admin", [ADMINS])
    access = ApiAccess(f"https://127.0.0.1:{ports[2]}", authority.ca_file, admin.cert_file, admin.key_file)
    parts = Parts(
        folder,
        programs,
        (ports[0], ports[1], ports[2], ports[3]),
        authority,
        authority.issue((*HOST_NAMES, *_SERVICES)),
        authority.issue(("etcd", *HOST_NAMES), client=True, server=True),
        authority.issue_user("etcd-client"),
        access,
        tuple(controllers),
        extra,
    )
    write_key_pair(parts.account_key)
    authority.save_key(parts.signing_key)
    manager = authority.issue_user("system:kube-controller-manager", [ADMINS])
    ApiAccess(access.server, authority.ca_file, manager.cert_file, manager.key_file).write(folder / "controllers.conf")
    replace(folder / "audit-policy.json", json.dumps(audit.POLICY).encode())
    return parts


def etcd(parts: Parts) -> list[str]:
    """Etcd: nothing of a test needs to outlive a power cut, so it never waits for the disk."""
    client, peer = parts.etcd_url, f"https://127.0.0.1:{parts.ports[1]}"
    ca, server = str(parts.authority.ca_file), parts.etcd_server
    return [
        str(parts.bin / "etcd"),
        "--name=proa",
        f"--data-dir={parts.data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=proa={peer}",
        *(f"--{prefix}cert-file={server.cert_file}" for prefix in ("", "peer-")),
        *(f"--{prefix}key-file={server.key_file}" for prefix in ("", "peer-")),
        *(f"--{prefix}trusted-ca-file={ca}" for prefix in ("", "peer-")),
        *(f"--{prefix}client-cert-auth" for prefix in ("", "peer-")),
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--quota-backend-bytes={8 << 30}",
        *parts.extra.get("etcd", ()),
    ]


def apiserver(parts: Parts) -> list[str]:
    """The API server: Node and RBAC decide, and every request is written down."""
    ca = parts.authority.ca_file
    return [
        str(parts.bin / "kube-apiserver"),
        f"--etcd-servers={parts.etcd_url}",
        f"--etcd-cafile={ca}",
        f"--etcd-certfile={parts.etcd_client.cert_file}",
        f"--etcd-keyfile={parts.etcd_client.key_file}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={parts.ports[2]}",
        f"--tls-cert-file={parts.server.cert_file}",
        f"--tls-private-key-file={parts.server.key_file}",
        f"--client-ca-file={ca}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        *([] if NODE_LIFECYCLE in parts.controllers else ["--disable-admission-plugins=TaintNodesByCondition"]),
        "--allow-privileged=true",
        "--enable-bootstrap-token-auth",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--endpoint-reconciler-type=none",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-signing-key-file={parts.account_key}",
        f"--service-account-key-file={parts.account_key.with_suffix('.pub')}",
        f"--audit-policy-file={parts.folder / 'audit-policy.json'}",
        f"--audit-log-path={parts.audit}",
        "--audit-log-maxsize=1048576",  # MiB: it is never rotated; 0 would stand for 100
        "--delete-collection-workers=16",
        *parts.extra.get("kube-apiserver", ()),
    ]


def controller_manager(parts: Parts) -> list[str]:
    """The controllers; so quick that no test waits for them."""
    return [
        str(parts.bin / "kube-controller-manager"),
        f"--kubeconfig={parts.folder / 'controllers.conf'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={parts.ports[3]}",
        f"--tls-cert-file={parts.server.cert_file}",
        f"--tls-private-key-file={parts.server.key_file}",
        "--leader-elect=false",
        f"--controllers={','.join(parts.controllers)}",
        f"--root-ca-file={parts.authority.ca_file}",
        f"--service-account-private-key-file={parts.account_key}",
        f"--cluster-signing-cert-file={parts.authority.ca_file}",
        f"--cluster-signing-key-file={parts.signing_key}",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        *parts.extra.get("kube-controller-manager", ()),
    ]


def scheduler(parts: Parts) -> list[str]:
    """kube-scheduler, which real nodes need: simulated ones take their pods themselves."""
    return [
        str(parts.bin / "kube-scheduler"),
        f"--kubeconfig={parts.folder / 'controllers.conf'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_ports(1)[0]}",
        "--leader-elect=false",
    ]
