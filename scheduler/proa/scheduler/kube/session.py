"""The official client's part in talking to the API server: who we are, and a pool of connections."""

from __future__ import annotations

from typing import Final

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException

from proa.core.runtime.errors import Code, ProaError

_CONNECTIONS: Final = 16
"""Connections that are kept; more are made when they are needed."""


class Session:
    """An access and its connections. Threads may share it.

    Args:
        configuration: The access.
    """

    def __init__(self, configuration: Configuration) -> None:
        configuration.connection_pool_maxsize = _CONNECTIONS
        self._configuration = configuration
        self.pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager
        self.host = configuration.host.rstrip("/")

    def authorization(self) -> dict[str, str]:
        """The header that says who we are; the official client has read the token again if it was time to.

        Raises:
            ProaError: ``KUBECONFIG`` when that is not possible.
        """
        try:
            found = self._configuration.auth_settings().get("BearerToken")
        except (ConfigException, OSError) as error:
            raise ProaError(Code.KUBECONFIG, "the token cannot be read again") from error
        value = found["value"] if found else None
        return {"Authorization": value.strip()} if value else {}
