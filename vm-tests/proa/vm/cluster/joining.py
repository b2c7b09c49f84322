"""How a node of the profile ``kubernetes-node`` joins a control plane: a token there, and credentials for its machine.

Everything that is special about a node and a cluster comes from outside, as systemd credentials
(systemd.system-credentials(7)): ``kubernetes.bootstrap`` is a kubeconfig with a bootstrap token, ``tmpfiles.extra``
are lines of tmpfiles.d(5) for the files in /etc that name the cluster. Nothing of it is in an image.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Final

from proa.vm.kube.api import Object

BOOTSTRAP: Final = "kubernetes.bootstrap"
EXTRA: Final = "tmpfiles.extra"
_GROUP: Final = "system:bootstrappers"
_RBAC: Final = "rbac.authorization.k8s.io"
_ROLES: Final = {
    "node-bootstrapper": ("system:node-bootstrapper", _GROUP),
    "approve-new-nodes": ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", _GROUP),
    "approve-renewals": ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"),
}
"""Who may ask for a node's certificate, and gets it (Kubernetes, "TLS bootstrapping")."""


def token() -> str:
    """A new bootstrap token, ``ID.SECRET`` (Kubernetes, "Authenticating with bootstrap tokens")."""
    return f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"


def documents(token: str) -> list[Object]:
    """What a cluster needs for nodes to join by a token."""
    name, secret = token.split(".")
    data = {"token-id": name, "token-secret": secret, "usage-bootstrap-authentication": "true"}
    found: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": f"bootstrap-token-{name}", "namespace": "kube-system"},
            "stringData": data,
        }
    ]
    for binding, (role, group) in _ROLES.items():
        found.append(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": binding},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
            }
        )
    return found


def kubeconfig(server: str, authority: bytes, token: str) -> str:
    """The kubeconfig that a kubelet begins with.

    Args:
        server: The API server's address as the node reaches it.
        authority: The certificate of its authority, PEM.
        token: Of :func:`token`.
    """
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    return json.dumps(document)


def files(contents: Mapping[str, str | bytes]) -> str:
    """The credential ``tmpfiles.extra`` that writes files, root's alone, at every boot; by path."""
    lines = []
    for path, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        lines.append(f"f+~ {path} 0600 root root - {base64.b64encode(data).decode()}")
    return "\n".join([*lines, ""])


def mirror(server: str, ca: str, user: str, password: str) -> str:
    """Containerd's ``hosts.toml`` of a registry that another one stands in for (containerd, docs/hosts.md).

    Args:
        server: ``HOST:PORT`` of the one that is asked.
        ca: The path of its authority's certificate on the node.
        user: Its login.
        password: Of that.
    """
    return (
        f'[host."https://{server}"]\n'
        'capabilities = ["pull", "resolve"]\n'
        f'ca = "{ca}"\n'
        f'[host."https://{server}".header]\n'
        f'authorization = "Basic {_login(user, password)}"\n'
    )


def auth_file(server: str, user: str, password: str) -> str:
    """A docker auth file that knows a registry's login (docker, "config.json").

    Args:
        server: ``HOST:PORT`` of the registry.
        user: Its login.
        password: Of that.
    """
    return json.dumps({"auths": {server: {"auth": _login(user, password)}}})


def _login(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
