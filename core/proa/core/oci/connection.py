"""Connections as the ``requests`` library makes them, with TLS settings and a time limit of our own."""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

_HEAD_TIMES: Final = 2.0
"""How long the head of an answer may take, in times of the limit of silence, which begins anew with every byte."""


class _PlainConnection(HTTPConnection):
    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override] # the base class is narrower
        with _Cutter(self.sock, self.timeout):
            return super().getresponse()


class _TlsConnection(HTTPSConnection):
    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override] # the base class is narrower
        with _Cutter(self.sock, self.timeout):
            return super().getresponse()


class _Cutter:
    """Cuts a connection unless the block ends in time."""

    def __init__(self, connection: socket.socket | None, silence: float | None) -> None:
        self._timer = threading.Timer(_HEAD_TIMES * (silence or 30.0), _cut, [connection])
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _cut(connection: socket.socket | None) -> None:
    if connection is not None:
        with suppress(OSError, ValueError):
            connection.shutdown(socket.SHUT_RDWR)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Adapter(HTTPAdapter):
    """Carries requests over connections whose TLS settings are ``context`` and nothing else.

    Args:
        context: Makes the settings, when they are first needed.
    """

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = functools.cache(context)
        super().__init__()
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """The library's place for settings of a pool of connections: here the context, no bundle of its own."""
        host, pool = super().build_connection_pool_key_attributes(request, False, None)
        return host, {"ssl_context": self._context()} if host["scheme"] == "https" else pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing to set: the context verifies, always."""


def proxies(url: str) -> Mapping[str, str]:
    """The proxies of the environment (``https_proxy``, ``no_proxy``) for a URL; never one to this machine."""
    name = (urlsplit(url).hostname or "").lower()
    try:
        here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        here = name == "localhost"
    return {} if here else get_environ_proxies(url)
