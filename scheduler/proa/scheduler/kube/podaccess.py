"""A pod's own access to the API server, without the official client: it takes 16 MiB, and this runs on every node.

Two variables and two files say all of it (Kubernetes, "Accessing the Kubernetes API from a Pod").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import urllib3

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError

FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST: Final = "KUBERNETES_SERVICE_HOST"
_PORT: Final = "KUBERNETES_SERVICE_PORT"
_CONNECTIONS: Final = 2
"""A watch, and one write at a time."""
_KEEP_SECONDS: Final = 60.0
"""How long a token is used before its file is read again: kubelet puts a new one there long before it expires."""


class PodConnection:
    """A pod's access and its connections, in place of a :class:`proa.scheduler.kube.access.ApiSession`.

    Args:
        folder: Where token and authority are.
        environ: The environment.
        clock: The clock.

    Raises:
        ProaError: ``KUBECONFIG``.
    """

    def __init__(self, folder: Path = FOLDER, environ: Mapping[str, str] = os.environ, clock: Clock = SYSTEM) -> None:
        if not is_pod(environ):
            raise ProaError(Code.KUBECONFIG, f"this is not a pod: {_HOST} and {_PORT} are not set")
        host = environ[_HOST]
        self.host = f"https://{f'[{host}]' if ':' in host else host}:{environ[_PORT]}"
        authority = folder / "ca.crt"
        if not authority.is_file():
            raise ProaError(Code.KUBECONFIG, "the API server's CA certificate is missing", at=authority)
        self.pool = urllib3.PoolManager(num_pools=1, maxsize=_CONNECTIONS, ca_certs=str(authority))
        self._token = folder / "token"
        self._clock = clock
        self._read_at = 0.0
        self._header: dict[str, str] = {}
        self.authorization()

    def authorization(self) -> dict[str, str]:
        """The header that says who we are.

        Raises:
            ProaError: ``KUBECONFIG`` when the token cannot be read.
        """
        now = self._clock.monotonic()
        if not self._header or now - self._read_at >= _KEEP_SECONDS:
            try:
                token = self._token.read_text().strip()
            except (OSError, ValueError) as error:
                raise ProaError(Code.KUBECONFIG, "the token of this pod cannot be read", at=self._token) from error
            self._header, self._read_at = {"Authorization": f"Bearer {token}"}, now
        return self._header


def is_pod(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a pod."""
    return bool(environ.get(_HOST) and environ.get(_PORT))
