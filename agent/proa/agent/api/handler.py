"""One connection to the local API: a request is read within bounds, and whatever is wrong with it is told as JSON."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qs, urlsplit

from proa.agent.api.listen import Peer, peer
from proa.agent.api.timed import SlowRequest, TimedReader
from proa.core import VERSION
from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.runtime.parsing import foreign

MAX_BODY: Final = 1 << 16
"""Bytes of a request's body beyond which it is refused unread."""
_BY_EXIT: Final[Mapping[Exit, int]] = {
    Exit.USAGE: 400,
    Exit.REFUSED: 422,
    Exit.BUSY: 409,
    Exit.STATE: 409,
    Exit.NETWORK: 502,
    Exit.PERMANENT: 502,
    Exit.DEVICE: 500,
    Exit.FAILED: 500,
    Exit.INTERRUPTED: 503,
}
_BY_CODE: Final[Mapping[Code, int]] = {Code.NOT_ALLOWED: 403, Code.NOT_FOUND: 404}
_SLOW_CLIENT: Final = 30.0
"""Seconds that a client may take to send its request or to take its answer."""


@dataclass(frozen=True)
class ApiAnswer:
    """What a route returns: a document and a status."""

    document: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True)
class ApiStream:
    """An answer that continues as long as there are events."""

    lines: Iterable[Mapping[str, Any]]


Body = Mapping[str, Any]
Route = Callable[[Body], ApiAnswer | ApiStream]
"""Serves one method and path. Gets the body, or what stands behind the ``?`` of a GET."""


class _Gate(Protocol):
    def check(self, caller: Peer) -> None:
        """Refuse a caller."""


class _Callers(Protocol):
    def following(self, peer: Peer) -> AbstractContextManager[None]:
        """Have a place for a stream."""


class _Server(Protocol):
    """What a connection needs of its server."""

    routes: Mapping[tuple[str, str], Route]
    gate: _Gate
    callers: _Callers


def refusal(error: ProaError, status: int = 503) -> bytes:
    """A complete answer for a caller that gets no thread."""
    body = json.dumps(error.document()).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    """So that an error in a first line which nobody understands has headers too."""
    server_version = f"proa-agent/{VERSION}"
    sys_version = ""
    timeout = _SLOW_CLIENT

    def setup(self) -> None:
        """Read within a deadline."""
        super().setup()
        self._reader = TimedReader(self.connection, self.timeout)
        self.rfile = io.BufferedReader(self._reader)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged per request."""

    def address_string(self) -> str:
        """A Unix socket has no address."""
        return "local"

    def handle_one_request(self) -> None:
        """Serve one request; a late one is answered with an error, unless nothing was sent at all."""
        self._reader.begin()
        self.command = self.requestline = ""
        try:
            super().handle_one_request()
        except SlowRequest as error:
            self.close_connection = True
            if self._reader.begun:
                self.request_version = self.default_request_version
                self._send(408, error.document())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the base class refuses, as JSON."""
        self.close_connection = True
        told = message or explain or HTTPStatus(code).phrase
        hint = "See /v1/openapi.json."
        self._send(code, ProaError(Code.USAGE, f"the request cannot be served: {told[:200]}", hint=hint).document())

    def do_GET(self) -> None:
        """Serve a GET."""
        self._serve("GET")

    def do_HEAD(self) -> None:
        """Serve a GET without its body."""
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
            if not isinstance(answer, ApiStream):
                self._send(answer.status, answer.document)
            elif self.command == "HEAD":
                self._head(200, "application/jsonl")
            else:
                with cast("_Server", self.server).callers.following(peer(self.connection)):
                    self._stream(answer)
        except (SlowRequest, OSError):
            raise
        except ProaError as error:
            self._send(_BY_CODE.get(error.code, _BY_EXIT[error.exit]), error.document())
        except Exception as defect:  # noqa: BLE001 -- a defect in one request must not end the daemon
            self._send(500, told(defect).document())

    def _answer(self, method: str) -> ApiAnswer | ApiStream:
        server = cast("_Server", self.server)
        try:
            server.gate.check(peer(self.connection))
        except ProaError:
            self.close_connection = True
            raise
        body = self._body()
        with foreign(Code.USAGE, "the request's target is malformed"):
            url = urlsplit(self.path)
        if method == "GET":
            if body:
                raise ProaError(Code.USAGE, f"a {self.command} has no body")
            body = {key: value[-1] for key, value in parse_qs(url.query).items()}
        route = server.routes.get((method, url.path))
        if route is None:
            raise ProaError(Code.NOT_FOUND, f"there is no {method} {url.path[:80]}", hint="See /v1/openapi.json.")
        return route(body)

    def _body(self) -> Body:
        """The body, read whole, so that nothing of it is taken for the next request."""
        data = self._read_body(self._length())
        return load_json(data, Code.USAGE) if data else {}

    def _length(self) -> int:
        """Bytes of the body: said once, in digits, and within bounds."""
        lengths = self.headers.get_all("Content-Length", ["0"])
        one = len(lengths) == 1 and re.fullmatch(r"[0-9]{1,9}", lengths[0])
        if not one or int(lengths[0]) > MAX_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise ProaError(Code.USAGE, f"a body must have a length of at most {MAX_BODY} bytes")
        return int(lengths[0])

    def _read_body(self, length: int) -> bytes:
        data = self.rfile.read(length)
        if len(data) < length:
            self.close_connection = True
            raise ProaError(Code.USAGE, f"the body ends after {len(data)} of {length} bytes")
        return data

    def _head(self, status: int, media_type: str, *headers: tuple[str, str]) -> None:
        self.connection.settimeout(self.timeout)
        self.send_response(status)
        for name, value in (("Content-Type", media_type), *headers):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, status: int, document: Mapping[str, Any]) -> None:
        data = json.dumps(document).encode()
        self._head(status, "application/json", ("Content-Length", str(len(data))))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _stream(self, stream: ApiStream) -> None:
        """One document a line, each flushed, until the events or the client end."""
        self.close_connection = True
        self._head(200, "application/jsonl")
        for line in stream.lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")
