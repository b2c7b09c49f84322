"""The local API: HTTP and JSON over a Unix socket, for root alone."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from proa.agent.api.listen import Peer, peer
from proa.core import VERSION
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.json_text import load_json

MAX_BODY: Final = 1 << 16
"""Bytes of a request's body beyond which it is refused unread."""
_STATUS: Final[Mapping[Exit, int]] = {
    Exit.USAGE: 400,
    Exit.REFUSED: 422,
    Exit.BUSY: 409,
    Exit.STATE: 409,
    Exit.NETWORK: 502,
    Exit.DEVICE: 500,
    Exit.FAILED: 500,
    Exit.INTERRUPTED: 503,
}
MAX_CALLERS: Final = 32
"""Connections at once; further ones are hung up on, for each takes a thread."""
_SLOW_CLIENT: Final = 30.0
"""Seconds that a client may take to send its request or to take its answer."""


@dataclass(frozen=True)
class ApiAnswer:
    """What a route gives back: a document and a status."""

    document: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True)
class ApiStream:
    """An answer that goes on as long as there are events."""

    lines: Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Gate:
    """Who may ask.

    Attributes:
        users: Numbers of users who may.
        group: The number of a group whose members may, as their primary one; none if there is no such group.
    """

    users: frozenset[int] = frozenset({0})
    group: int | None = None

    def check(self, caller: Peer) -> None:
        """Refuse a caller.

        Raises:
            ProaError: ``NOT_ALLOWED``.
        """
        if caller.user in self.users or caller.group == self.group:
            return
        if self.group is None:
            raise ProaError(Code.NOT_ALLOWED, "only root may use this API")
        hint = "Run the process with that group as its primary group."
        raise ProaError(Code.NOT_ALLOWED, f"only root and group {self.group} may use this API", hint=hint)


ROOT_ONLY: Final = Gate()
Body = Mapping[str, Any]
Route = Callable[[Body], ApiAnswer | ApiStream]
"""Serves one method and path. Gets the body, or what stands behind the ``?`` of a GET."""


class ApiServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers those who call a socket.

    Args:
        listening: The socket; it is closed at the end.
        routes: What is served, by method and path.
        gate: Who may ask.
    """

    daemon_threads = True

    def __init__(
        self,
        listening: socket.socket,
        routes: Mapping[tuple[str, str], Route],
        gate: Gate = ROOT_ONLY,
    ) -> None:
        self.routes = routes
        self.gate = gate
        self._lines = threading.BoundedSemaphore(MAX_CALLERS)
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def serve(self) -> None:
        """Serve until :meth:`stop`; an idle daemon is not woken."""
        self.serve_forever(poll_interval=3600)

    def stop(self) -> None:
        """End :meth:`serve`, from another thread."""
        asking = threading.Thread(target=self.shutdown)
        asking.start()
        while asking.is_alive():
            with socket.socket(socket.AF_UNIX) as caller, contextlib.suppress(OSError):
                caller.connect(self.socket.getsockname())  # it looks up when somebody calls
            asking.join(0.1)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the caller a thread, if one is free."""
        if not self._lines.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be had
            self._lines.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the caller, in that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._lines.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no matter."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = f"proa-agent/{VERSION}"
    sys_version = ""
    timeout = _SLOW_CLIENT

    def log_message(self, *_: Any) -> None:
        """Nothing is logged per request."""

    def address_string(self) -> str:
        """A Unix socket has no address."""
        return "local"

    def do_GET(self) -> None:
        """Serve a GET."""
        self._serve("GET")

    def do_POST(self) -> None:
        """Serve a POST."""
        self._serve("POST")

    def do_PUT(self) -> None:
        """Serve a PUT."""
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        try:
            answer = self._answer(method)
        except ProaError as error:
            status = 403 if error.code is Code.NOT_ALLOWED else _STATUS[error.exit]
            self._send(404 if error.code is Code.NOT_FOUND else status, error.document())
            return
        except Exception as defect:  # noqa: BLE001 -- a defect in one request must not end the daemon
            self._send(500, ProaError(Code.INTERNAL, f"{type(defect).__name__}: {defect}").document())
            return
        if isinstance(answer, ApiStream):
            self._stream(answer)
        else:
            self._send(answer.status, answer.document)

    def _answer(self, method: str) -> ApiAnswer | ApiStream:
        server = cast("ApiServer", self.server)
        try:
            server.gate.check(peer(self.connection))
        except ProaError:
            self.close_connection = True
            raise
        url = urlsplit(self.path)
        body = self._body() if method != "GET" else {key: value[-1] for key, value in parse_qs(url.query).items()}
        route = server.routes.get((method, url.path))
        if route is None:
            raise ProaError(Code.NOT_FOUND, f"there is no {method} {url.path[:80]}", hint="See /v1/openapi.json.")
        return route(body)

    def _body(self) -> Body:
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise ProaError(Code.USAGE, f"a body must have a length of at most {MAX_BODY} bytes")
        data = self.rfile.read(int(length))
        return load_json(data, Code.USAGE) if data else {}

    def _send(self, status: int, document: Mapping[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, stream: ApiStream) -> None:
        """One document a line, each flushed, until the events or the client end."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/jsonl")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in stream.lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")
