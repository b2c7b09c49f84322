"""Which cluster, and as whom: in a pod by its service account, elsewhere by a kubeconfig.

The official client reads all of it: tokens that are renewed, programs that give credentials, proxies. Its pool of
connections is used, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.printable import one_line
from proa.scheduler.kube import podaccess

DEFAULT: Final = Path("~/.kube/config")
_CONNECTIONS: Final = 16
"""Connections that are kept; more are made when they are needed."""


class ApiSession:
    """An access and its connections. Threads may share it.

    Args:
        configuration: The access.
    """

    def __init__(self, configuration: Configuration) -> None:
        configuration.connection_pool_maxsize = _CONNECTIONS
        self.configuration = configuration
        self.pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager
        self.host = configuration.host.rstrip("/")

    def authorization(self) -> dict[str, str]:
        """The header that says who we are; the official client has read the token again if it was time to.

        Raises:
            ProaError: ``KUBECONFIG`` when that is not possible.
        """
        try:
            found = self.configuration.auth_settings().get("BearerToken")
        except (ConfigException, OSError) as error:
            raise ProaError(Code.KUBECONFIG, "the token cannot be read again") from error
        value = found["value"] if found else None
        return {"Authorization": value.strip()} if value else {}


Load = Callable[[], ApiSession]
"""Reads the access anew: what it gives may have changed since the last time."""


def find(kubeconfig: str = "", context: str = "", environ: Mapping[str, str] = os.environ) -> Load:
    """The access that is meant: what is named, else ``KUBECONFIG``, else the default file, else the pod's own.

    Args:
        kubeconfig: Paths of kubeconfig files, separated by colons.
        context: One of their contexts; the current one if empty.
        environ: The environment.
    """
    named = kubeconfig or environ.get("KUBECONFIG", "")
    if not named and (DEFAULT.expanduser().exists() or not podaccess.is_pod(environ)):
        named = str(DEFAULT.expanduser())
    return (lambda: from_kubeconfig(named, context)) if named else in_cluster


def in_cluster() -> ApiSession:
    """The access of a pod; its token is read again once a minute.

    Raises:
        ProaError: ``KUBECONFIG``.
    """
    return _loaded(load_incluster_config, "the service account of this pod")


def from_kubeconfig(path: str, context: str = "") -> ApiSession:
    """The access that kubeconfig files give.

    Raises:
        ProaError: ``KUBECONFIG``.
    """
    return _loaded(partial(load_kube_config, path, context or None, persist_config=False), path)


def own_namespace(path: Path = podaccess.FOLDER / "namespace") -> str:
    """The namespace of this pod; empty where this is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _loaded(load: Callable[..., object], at: str) -> ApiSession:
    found = Configuration()
    found.keep_alive = True
    try:
        load(client_configuration=found)
    except Exception as error:  # a malformed file makes its parsers raise anything
        told = one_line(str(error), 200) if isinstance(error, (ConfigException, OSError)) else type(error).__name__
        raise ProaError(Code.KUBECONFIG, f"there is no access to a cluster: {told}", at=at) from error
    return ApiSession(found)
