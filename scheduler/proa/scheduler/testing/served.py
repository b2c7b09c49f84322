"""An HTTP server on loopback for tests of clients: a simulated API server behind it, or answers as the test tells."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from kubernetes.client import Configuration

from proa.scheduler.kube.access import ApiSession
from proa.scheduler.kube.api import APPLY
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.testing.apiserver import ApiServer

TOKEN: Final = "s3cr3t"


@dataclass(frozen=True)
class Request:
    """A request that the server got."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


class Reply:
    """What an answer is made with."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def send(self, status: int, body: bytes | str, kind: str = "application/json", **headers: str) -> None:
        """Send a whole answer; underscores in header names stand for hyphens."""
        data = body.encode() if isinstance(body, str) else body
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", kind)
        self._handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def json(self, document: object, status: int = 200, **headers: str) -> None:
        """Send a document."""
        self.send(status, json.dumps(document), **headers)

    def status(self, code: int, reason: str, message: str = "no", **headers: str) -> None:
        """Send a refusal as the API server writes it."""
        self.json({"kind": "Status", "code": code, "reason": reason, "message": message}, code, **headers)

    def begin(self) -> None:
        """Begin an answer in chunks."""
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "application/json")
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()

    def chunk(self, data: bytes | str) -> None:
        """Send a chunk."""
        raw = data.encode() if isinstance(data, str) else data
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
        self._handler.wfile.flush()

    def event(self, kind: str, item: object) -> None:
        """Send an event of a watch."""
        self.chunk(json.dumps({"type": kind, "object": item}) + "\n")

    def end(self) -> None:
        """End an answer in chunks."""
        self._handler.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection, whatever has been sent."""
        self._handler.close_connection = True
        self._handler.wfile.flush()


class HttpServer:
    """Answers every request with ``answer``, and remembers what it was asked.

    Args:
        answer: What answers, as :func:`behind` a simulated API server; an empty object if none.
    """

    def __init__(self, answer: Callable[[Request, Reply], object] = lambda asked, reply: reply.json({})) -> None:
        self.asked: list[Request] = []
        self.answer = answer
        self.ending = threading.Event()
        """Set when the test is over: who holds an answer back waits for it."""
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else the second half of an answer waits 40 ms for a delayed ACK

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                asked = Request(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), body)
                served.asked.append(asked)
                served.answer(asked, Reply(self))

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
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def access(self, token: str = TOKEN) -> ApiSession:
        """How it is reached."""
        found = Configuration(host=self.url)
        found.api_key["BearerToken"] = f"Bearer {token}"
        found.proxy = None
        return ApiSession(found)

    def close(self) -> None:
        """End it, with all its answers."""
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def behind(api: ApiServer) -> Callable[[Request, Reply], None]:
    """The answers of a simulated API server."""

    def answer(asked: Request, reply: Reply) -> None:
        try:
            if asked.query.get("watch") == "true":
                _watch(api, asked, reply)
            else:
                reply.json(_carry_out(api, asked), 201 if asked.method == "POST" else 200)
        except ApiError as error:
            reply.json(_refusal(error), error.status)

    return answer


def _refusal(error: ApiError) -> dict[str, Any]:
    causes = [{"reason": one.reason, "message": one.message, "field": one.field} for one in error.causes]
    status = {"kind": "Status", "code": error.status, "reason": error.reason, "message": error.message}
    return {**status, "details": {"causes": causes}}


def _watch(api: ApiServer, asked: Request, reply: Reply) -> None:
    with api.stream(unquote(asked.path), asked.query) as watch:
        reply.begin()
        try:
            for event in watch:
                reply.event(event.type, event.object)
        except ApiError as error:
            reply.event("ERROR", _refusal(error))
        reply.end()


def _carry_out(api: ApiServer, asked: Request) -> dict[str, Any]:
    path, body = unquote(asked.path), asked.body
    if asked.method == "POST" and path.endswith("/eviction"):
        space, name = path.split("/")[-4], path.split("/")[-2]
        options = dict(body["deleteOptions"])
        api.evict(space, name, uid=options.pop("preconditions", {}).get("uid", ""), **options)
        return {"kind": "Status", "status": "Success"}
    if asked.method == "POST":
        return api.create(path, body)
    if asked.method == "PATCH" and asked.headers["Content-Type"] == APPLY:
        return api.apply(path, body, force=asked.query.get("force") == "true")
    if asked.method == "PATCH":
        return api.merge(path, body)
    if asked.method == "DELETE":
        options = dict(body or {})
        api.delete(path, uid=options.pop("preconditions", {}).get("uid", ""), **options)
        return {"kind": "Status", "status": "Success"}
    return api.page(path, asked.query) if "limit" in asked.query else api.get(path, asked.query)
