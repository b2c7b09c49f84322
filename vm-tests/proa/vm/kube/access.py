"""How an API server is reached, and as whom: what a kubeconfig file holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import replace

_NAME: Final = "proa"


@dataclass(frozen=True)
class ApiAccess:
    """A server and an identity.

    Attributes:
        server: Its address, ``https://HOST:PORT``.
        ca_file: The authority that its certificate is from.
        cert_file: The client's certificate; none where a token says who it is.
        key_file: The key of that.
        token: A bearer token.
    """

    server: str
    ca_file: Path
    cert_file: Path | None = None
    key_file: Path | None = None
    token: str = ""

    def document(self, namespace: str = "default") -> dict[str, Any]:
        """As a kubeconfig, whose only context has the given namespace."""
        user: dict[str, str] = {}
        if self.cert_file and self.key_file:
            user = {"client-certificate": str(self.cert_file), "client-key": str(self.key_file)}
        if self.token:
            user["token"] = self.token
        cluster = {"server": self.server, "certificate-authority": str(self.ca_file)}
        context = {"cluster": _NAME, "user": _NAME, "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": _NAME, "cluster": cluster}],
            "users": [{"name": _NAME, "user": user}],
            "contexts": [{"name": _NAME, "context": context}],
            "current-context": _NAME,
        }

    def write(self, path: Path, namespace: str = "default") -> Path:
        """Write it as a kubeconfig (as JSON, which is YAML); its path."""
        replace(path, json.dumps(self.document(namespace), indent=1).encode(), 0o600)
        return path

    @classmethod
    def read(cls, path: Path) -> ApiAccess:
        """What :meth:`write` has written.

        Raises:
            ProaError: ``FILE_MISSING``, ``CONFIG_SYNTAX`` for any other kubeconfig.
        """
        try:
            document = json.loads(path.read_text())
            cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
            cert, key = user.get("client-certificate"), user.get("client-key")
            return cls(
                cluster["server"],
                Path(cluster["certificate-authority"]),
                Path(cert) if cert else None,
                Path(key) if key else None,
                user.get("token", ""),
            )
        except OSError as error:
            raise ProaError(Code.FILE_MISSING, "the kubeconfig cannot be read", at=path) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            hint = "Use a kubeconfig that a control plane of proa.vm has written."
            raise ProaError(Code.CONFIG_SYNTAX, "it is not a kubeconfig of proa.vm", at=path, hint=hint) from error
