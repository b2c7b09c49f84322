"""What the kubelet and Prometheus ask: ``/healthz``, ``/readyz``, ``/metrics``, by plain HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError

_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_BACKLOG: Final = 1024
MAX_CONNECTIONS: Final = 64
"""Connections at a time; for one more the oldest is shut, so that those who say nothing cannot keep out a probe."""


@dataclass(eq=False)
class HealthServer:
    """Answers in threads of its own.

    Attributes:
        address: Where to listen, as ``HOST:PORT`` or ``:PORT``.
        healthy: Why this process should be started again; empty if it should not.
        ready: Why it is not ready; empty if it is.
        metrics: The metrics in Prometheus' text format.
        look: Seconds between two looks at whether to stop.
    """

    address: str
    healthy: Callable[[], str]
    ready: Callable[[], str]
    metrics: Callable[[], bytes] = field(default=lambda: b"")
    look: float = 0.5

    def start(self) -> int:
        """Start listening; the port.

        Raises:
            ProaError: ``USAGE`` when that is not possible.
        """
        host, _, port = self.address.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ProaError(Code.USAGE, "the address must be HOST:PORT or :PORT", at=self.address)
        try:
            self._server = _listening(host, int(port), _handler(self))
        except OSError as error:
            raise ProaError(Code.USAGE, f"cannot listen there: {error}", at=self.address) from error
        threading.Thread(target=self._server.serve_forever, args=(self.look,), name="health", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """The status, the type and the body of an answer."""
        if path == "/metrics":
            try:
                return 200, _METRICS, self.metrics()
            except ProaError as error:
                return 500, _TEXT, f"{error.message}\n".encode()
        checks = {"/healthz": self.healthy, "/readyz": self.ready}
        if path not in checks:
            return 404, _TEXT, b"not found\n"
        problem = checks[path]()
        return (503, _TEXT, f"{problem}\n".encode()) if problem else (200, _TEXT, b"ok\n")


class _BoundedServer(ThreadingHTTPServer):
    """A server with so many connections, and so many threads, at most."""

    daemon_threads = True

    def __init__(self, *given: Any, **named: Any) -> None:
        self._open: dict[socket.socket, None] = {}
        self._changing = threading.Lock()
        super().__init__(*given, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer; the oldest connection makes room where there are too many."""
        with self._changing:
            oldest = next(iter(self._open)) if len(self._open) >= MAX_CONNECTIONS else None
            if oldest:
                del self._open[oldest]
            self._open[request] = None
        if oldest:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._changing:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever goes away in the middle is no news."""


def _listening(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """A server at an address; at all of the machine's, of both kinds, for no host.

    Raises:
        OSError: When that is not possible.
    """
    server = _BoundedServer((host, port), handler, bind_and_activate=False)
    server.socket.close()
    if not host and socket.has_dualstack_ipv6():
        server.socket = socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server.socket = socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    server.server_address = server.socket.getsockname()
    return server


def _handler(health: HealthServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        timeout = 10

        def do_GET(self) -> None:
            """Answer it."""
            status, kind, body = health.answer(self.path.split("?", 1)[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: it is asked every few seconds."""

    return Handler
