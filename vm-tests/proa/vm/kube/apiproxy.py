"""Stands between a client and the API server: counts what is asked, and spoils of it what a test wants spoiled.

The client speaks plain HTTP to it and needs no credentials; the proxy asks the API server with its own.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from proa.core.runtime.files import replace
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.api import JSON, Object
from proa.vm.kube.apifate import FINE, LOST, Ask, RequestFate, Rule

_SECONDS: Final = urllib3.Timeout(connect=5.0, read=400.0)
_PASSED: Final = ("Content-Type", "Retry-After")
"""Headers of answers that clients look at."""
_SENT: Final = ("Content-Type", "Accept", "User-Agent")


class ApiProxy:
    """A proxy that runs as long as the ``with`` block.

    Args:
        access: The API server, and as whom it is asked.
    """

    def __init__(self, access: ApiAccess) -> None:
        self.access = access
        self.rule: Rule = lambda ask: None
        """What becomes of each request; none and it is forwarded. While it is asked, no other request goes on."""
        self.asked: list[Ask] = []
        """All that came so far."""
        self.answered: list[tuple[Ask, int]] = []
        """What the API server answered to what is no watch: the HTTP status."""
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=64,
            ca_certs=str(access.ca_file),
            cert_file=str(access.cert_file) if access.cert_file else None,
            key_file=str(access.key_file) if access.key_file else None,
            retries=False,
        )
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.05), name="apiproxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rule = lambda ask: LOST
        self._server.shutdown()
        self._server.server_close()
        self.cut()
        self._pool.clear()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads to it; its path."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
            "current-context": "proxy",
        }
        replace(path, json.dumps(document).encode(), 0o600)
        return path

    @property
    def watched(self) -> set[str]:
        """The paths of all watches under way."""
        return {stream.path for stream in tuple(self._streams)}

    # verbs; any thread may use them

    def cut(self) -> None:
        """Break all watches off."""
        for stream in tuple(self._streams):
            stream.cut()

    def expire(self) -> None:
        """Tell all watches that what they know is too old, as an API server does that has compacted its history."""
        for stream in tuple(self._streams):
            stream.expire()

    # for the handler

    def judge(self, ask: Ask) -> RequestFate:
        """What becomes of a request."""
        with self._lock:
            self.asked.append(ask)
            return self.rule(ask) or FINE

    def forward(self, ask: Ask, target: str, headers: dict[str, str], body: bytes | None) -> urllib3.BaseHTTPResponse:
        """Ask the API server."""
        if self.access.token:
            headers["Authorization"] = f"Bearer {self.access.token}"
        return self._pool.request(
            ask.method,
            self.access.server + target,
            body=body,
            headers=headers,
            timeout=_SECONDS,
            preload_content=False,
            decode_content=False,
        )

    @contextlib.contextmanager
    def streaming(self, stream: _Stream) -> Iterator[None]:
        """Note a watch as long as it lasts."""
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    proxy: ApiProxy


class _Stream:
    """A watch that is passed on, piece by piece."""

    def __init__(self, path: str, response: urllib3.BaseHTTPResponse, write: Callable[[bytes], object]) -> None:
        self.path = path
        self._response = response
        self._write = write
        self._lock = threading.Lock()

    def run(self) -> None:
        """Pass everything on until one of both sides ends."""
        try:
            while data := self._response.read1():
                self._chunk(data)
        except (HTTPError, OSError, ValueError):
            pass
        finally:
            self._response.close()

    def cut(self) -> None:
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def expire(self) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}
        event = {"type": "ERROR", "object": {**status, "message": "too old resource version"}}
        with contextlib.suppress(OSError):
            self._chunk(json.dumps(event).encode() + b"\n")
        self.cut()

    def _chunk(self, data: bytes) -> None:
        with self._lock:
            self._write(b"%x\r\n%s\r\n" % (len(data), data))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Nothing: the proxy keeps what was asked."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client is gone
            super().handle()

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        ask = Ask(self.command, parts.path, query, _object(body), time.monotonic())
        proxy = self.server.proxy
        fate = proxy.judge(ask)
        time.sleep(fate.delay)
        if fate.hold is not None:
            fate.hold.wait()
        if not fate.forward:
            self._answer(fate)
            return
        headers = {name: self.headers[name] for name in _SENT if name in self.headers}
        try:
            response = proxy.forward(ask, self.path, headers, body)
            if ask.is_watch and response.status == 200 and fate.reply:
                self._stream(ask.path, response)
                return
            data = response.read()
        except (HTTPError, OSError):
            self.close_connection = True
            return
        proxy.answered.append((ask, response.status))
        if fate.after is not None:
            fate.after()
        if fate.status or not fate.reply:
            self._answer(fate)
            return
        passed = {name: response.headers[name] for name in _PASSED if name in response.headers}
        response.release_conn()
        self._send(response.status, passed, data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 -- names of the library

    def _answer(self, fate: RequestFate) -> None:
        if fate.reply:
            self._send(fate.status, {"Content-Type": fate.content, **fate.headers}, fate.text.encode())
        else:
            self.close_connection = True

    def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, path: str, response: urllib3.BaseHTTPResponse) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", response.headers.get("Content-Type", JSON))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        stream = _Stream(path, response, self.wfile.write)
        with self.server.proxy.streaming(stream):
            stream.run()


def _object(body: bytes | None) -> Object:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
