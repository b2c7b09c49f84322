"""Connections as the ``requests`` library makes them, with TLS settings and time limits of our own."""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from proa.core.oci.wire import UNWATCHED, Wire, connect, current
from proa.core.runtime.stop import NEVER, Stop


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def putrequest(self, method: str, url: str, *options: Any, **named: Any) -> None:
        super().putrequest(method, _watched_target(self.sock, url), *options, **named)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def putrequest(self, method: str, url: str, *options: Any, **named: Any) -> None:
        super().putrequest(method, _watched_target(self.sock, url), *options, **named)


def _connect(connection: HTTPConnection) -> socket.socket:
    seconds = connection.timeout if isinstance(connection.timeout, int | float) else None
    return connect(connection._dns_host, connection.port, seconds, [*(connection.socket_options or ())])


def _watched_target(connection: socket.socket | None, url: str) -> str:
    """The request's target. A connection of an earlier exchange is watched for this one."""
    wire = current.get()
    if connection is not None:
        wire.hold(connection)
    return wire.target or url


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class WatchedResponse(requests.Response):
    """An answer whose connection is watched as long as it is read."""

    def __init__(self, response: requests.Response, wire: Wire) -> None:
        super().__init__()
        vars(self).update(vars(response))
        self.wire = wire

    def close(self) -> None:
        """Give back the connection."""
        try:
            super().close()
        finally:
            self.wire.close()


def wire_of(response: requests.Response) -> Wire:
    """What watches the connection of an answer."""
    return response.wire if isinstance(response, WatchedResponse) else UNWATCHED


class Adapter(HTTPAdapter):
    """Carries requests over connections whose TLS settings are ``context`` and nothing else.

    Args:
        context: Makes the settings, when they are first needed.
        stop: Who may want an exchange to end.
    """

    def __init__(self, context: Callable[[], ssl.SSLContext], stop: Stop = NEVER) -> None:
        self._context = functools.cache(context)
        self._stop = stop
        super().__init__()
        self._take_pools(self.poolmanager)

    def exchange(
        self, request: requests.PreparedRequest, seconds: float, limits: tuple[float, float], proxies: Mapping[str, str]
    ) -> requests.Response:
        """The answer to a request, its body not read yet, within so many seconds.

        Raises:
            OSError: As the library does; ``TimeoutError`` when the time was up.
            ProaError: Somebody wanted the work to end.
        """
        wire = Wire(self._stop)
        whole = str(self.request_url(request, proxies))
        wire.target = str(request.url) if whole.startswith("http") else str(request.path_url)
        token = current.set(wire)
        with ExitStack() as failing:
            failing.callback(wire.close)
            failing.callback(current.reset, token)
            with wire.within(seconds):
                response = self.send(request, stream=True, timeout=limits, verify=True, proxies=proxies)
                failing.callback(response.close)  # a head that was cut off may pass for one that ended
            failing.pop_all()
        current.reset(token)
        return WatchedResponse(response, wire)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The library's place for connections by way of a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        self._take_pools(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """The library's place for settings of a pool of connections: here the context, no bundle of its own."""
        host, pool = super().build_connection_pool_key_attributes(request, False, None)
        return host, {"ssl_context": self._context()} if host["scheme"] == "https" else pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing to set: the context verifies, always."""

    @staticmethod
    def _take_pools(manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
