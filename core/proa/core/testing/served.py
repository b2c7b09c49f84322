"""An OCI layout folder behind a real socket, as a registry that may be far away, or do what it likes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.oci.source import write_index
from proa.core.release.document import INDEX_TYPE, MANIFEST_TYPE

Behave = Callable[["Request"], bool]
"""Answers a request in the server's place; whether it did."""


class Request(BaseHTTPRequestHandler):
    """One request; the answer is what the folder holds, but for what the server's behaviour does instead."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: ServedLayout

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        """Answer."""
        with self.server.counting:
            self.server.seen.append((self.path, dict(self.headers.items())))
            self.server.under_way += 1
            self.server.most = max(self.server.most, self.server.under_way)
        time.sleep(self.server.delay)
        try:
            if not self.server.behave(self):
                self.good()
        except ConnectionError:
            self.close_connection = True
        finally:
            with self.server.counting:
                self.server.under_way -= 1

    do_HEAD = do_GET  # noqa: N815 -- the library's name

    @property
    def is_blob(self) -> bool:
        """Whether a part of the payload is asked for, or all of it."""
        return "/blobs/" in self.path

    @property
    def asked(self) -> range | None:
        """The bytes that are asked for; none for all."""
        first, dash, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        return range(int(first), int(last) + 1) if dash else None

    def good(self) -> None:
        """The right answer."""
        kind, data = self.server.content(self.path)
        if data is None:
            self.send(404)
        else:
            self.send_part(kind, data)

    def send_part(self, kind: str, data: bytes, part: range | None = None) -> None:
        """A part of some bytes: that which is asked for, where no other one is named."""
        part = part or self.asked
        if part is None:
            self.send(200, data, Content_Type=kind)
            return
        told = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
        self.send(206, data[part.start : part.stop], Content_Type=kind, Content_Range=told)

    def send(self, status: int, data: bytes = b"", **headers: object) -> None:
        """An answer; underscores in names of headers stand for hyphens."""
        self.send_response(status)
        for name, value in {"Content_Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


class ServedLayout(ThreadingHTTPServer):
    """A registry on a free loopback port, which has a layout folder's content under any name; used in a ``with``.

    Args:
        folder: The folder.
        delay: Seconds before each answer, as a long line has them.
        behave: What it does in place of the right answer.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, delay: float = 0.0, behave: Behave = lambda _: False) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.folder = folder
        self.delay = delay
        self.behave = behave
        self.seen: list[tuple[str, dict[str, str]]] = []
        """Path and headers of each request."""
        self.counting = threading.Lock()
        self.under_way = self.most = 0
        self._read: dict[str, bytes] = {}
        self._stopped = False

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def blobs(self) -> int:
        """How many requests for blobs came."""
        return sum("/blobs/" in path for path, _ in self.seen)

    def reference(self) -> str:
        """The one release in it."""
        with LayoutDir(Reference("", "", layout=self.folder)) as layout:
            return f"{self.address}/os/node@{layout.resolve()}"

    def content(self, path: str) -> tuple[str, bytes | None]:
        """Media type and bytes of what a path names."""
        kind, _, name = path.partition("?")[0].rpartition("/")
        if name.startswith("sha256-"):
            with LayoutDir(Reference("", "", layout=self.folder)) as layout:
                return INDEX_TYPE, write_index(layout.referrers(name.replace("-", ":")))
        file = self.folder / "blobs/sha256" / name.removeprefix("sha256:")
        if kind.endswith("/referrers") or not file.is_file():
            return "", None
        if name not in self._read:
            self._read[name] = file.read_bytes()
        return MANIFEST_TYPE if kind.endswith("/manifests") else "application/octet-stream", self._read[name]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go when they like."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer no more; again is harmless."""
        if not self._stopped:
            self._stopped = True
            self.shutdown()
            self.server_close()
