"""Fixtures shared by the tests of the scheduler: an HTTP server on loopback that answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from kubernetes.client import Configuration

TOKEN = "s3cr3t"


@dataclass(frozen=True)
class Asked:
    """A request that the server got."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class Reply:
    """What an answer is made with."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def send(self, status: int, body: bytes | str, kind: str = "application/json", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", kind)
        self._handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def json(self, document: object, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(document), **headers)

    def status(self, code: int, reason: str, message: str = "no", **headers: str) -> None:
        """A refusal as the API server writes it."""
        self.json({"kind": "Status", "code": code, "reason": reason, "message": message}, code, **headers)

    def begin(self) -> None:
        """Begin an answer in chunks."""
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "application/json")
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()

    def chunk(self, data: bytes | str) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
        self._handler.wfile.flush()

    def event(self, kind: str, item: object) -> None:
        self.chunk(json.dumps({"type": kind, "object": item}) + "\n")

    def end(self) -> None:
        self._handler.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection, whatever has been sent."""
        self._handler.close_connection = True
        self._handler.wfile.flush()


class FakeServer:
    """Answers every request with ``answer``, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked, Reply], None] = lambda asked, reply: reply.json({})
        self.ending = threading.Event()
        """Set when the test is over: who holds an answer back waits for it."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else the second half of an answer waits 40 ms for a delayed ACK

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), body)
                fake.asked.append(asked)
                fake.answer(asked, Reply(self))

            do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 -- the library's names

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that has gone is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def access(self, token: str = TOKEN) -> Configuration:
        """How it is reached."""
        found = Configuration(host=self.url)
        found.api_key["BearerToken"] = f"Bearer {token}"
        found.proxy = None
        return found

    def close(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """An HTTP server that answers as the test tells it to."""
    running = FakeServer()
    yield running
    running.close()
