"""A registry in memory, behind the interface that carries requests, and what may go wrong with its answers."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from proa.core.runtime.clock import VirtualClock


class Body(io.BytesIO):
    """The body of an answer; subclasses fail in the middle of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Give what comes at once, as a socket does."""
        return self.read1(size)


class CutBody(Body):
    """Resets the connection after so many bytes."""

    def __init__(self, data: bytes, at: int) -> None:
        super().__init__(data[:at])
        self.whole = data

    def read1(self, size: int | None = -1, /) -> bytes:
        """Read, or find the connection reset."""
        data = super().read1(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


class SlowBody(Body):
    """Gives ``step`` bytes at a time and lets ``seconds`` go by before each."""

    def __init__(self, data: bytes, clock: VirtualClock, step: int, seconds: float) -> None:
        super().__init__(data)
        self.clock, self.step, self.seconds = clock, step, seconds

    def read1(self, size: int | None = -1, /) -> bytes:
        """Read a little, after a while."""
        self.clock.at += self.seconds
        return super().read1(min(self.step, self.step if size is None or size < 0 else size))


@dataclass
class Answer:
    """What the registry answers; a fault changes it or puts another one in its place."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Body = b""

    @property
    def data(self) -> bytes:
        """The whole body."""
        if isinstance(self.body, CutBody):
            return self.body.whole
        return self.body if isinstance(self.body, bytes) else self.body.getvalue()


Fault = Callable[[requests.PreparedRequest, Answer], Answer]
Serve = Callable[[str, str, dict[str, str], bytes], Answer]
"""An answer to a method, an address, headers and a body."""


class FakeRegistry(BaseAdapter):
    """A registry in memory, behind the interface that carries requests.

    ``faults`` are used up one by one, and ``serve`` may be replaced.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.requests: list[requests.PreparedRequest] = []
        self.faults: list[Fault | None] = []
        self.always: Fault | None = None
        self.referrers_api = False
        self.ranges = True
        self.serve: Serve = self.answer

    def close(self) -> None:
        """There is nothing to close."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer a request, with the next fault if there is one."""
        body = request.body
        chunks: Any = [body] if isinstance(body, bytes) else body or ()
        self.requests.append(request)
        answer = self.serve(str(request.method), str(request.url), dict(request.headers), b"".join(chunks))
        fault = self.faults.pop(0) if self.faults else self.always
        if fault:
            answer = fault(request, answer)
        stream = answer.body if isinstance(answer.body, io.BytesIO) else Body(answer.body)
        headers = (
            {"Content-Length": str(len(answer.data))} | answer.headers if request.method != "HEAD" else answer.headers
        )
        raw = urllib3.HTTPResponse(
            stream,
            {key: value for key, value in headers.items() if value},
            answer.status,
            preload_content=False,
            request_method=request.method,
        )
        return HTTPAdapter().build_response(request, raw)

    def put_blob(self, data: bytes) -> str:
        """Keep a blob; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def urls(self, method: str = "GET") -> list[str]:
        """The addresses that were asked for by a method."""
        return [str(request.url) for request in self.requests if request.method == method]

    def sent(self, header: str) -> list[str | None]:
        """What each request had in a header."""
        return [request.headers.get(header) for request in self.requests]

    # what may go wrong with an answer

    @staticmethod
    def status(status: int, body: bytes = b"", **headers: str) -> Fault:
        """Another answer; underscores in header names stand for hyphens."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return lambda _request, _answer: Answer(status, named, body)

    @staticmethod
    def headers(**headers: str) -> Fault:
        """The same with other headers; an empty one is taken away."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return lambda _request, answer: Answer(answer.status, answer.headers | named, answer.body)

    @staticmethod
    def cut(at: int) -> Fault:
        """The connection is reset after ``at`` bytes of the body."""
        return lambda _request, answer: Answer(answer.status, answer.headers, CutBody(answer.data, at))

    def slow(self, step: int, seconds: float) -> Fault:
        """``step`` bytes come every ``seconds``."""
        clock = self.clock
        return lambda _request, answer: Answer(
            answer.status, answer.headers, SlowBody(answer.data, clock, step, seconds)
        )

    @staticmethod
    def altered(change: Callable[[bytes], bytes]) -> Fault:
        """Other bytes."""
        return lambda _request, answer: Answer(answer.status, answer.headers, change(answer.data))

    @staticmethod
    def broken(error: Exception) -> Fault:
        """No answer at all."""

        def fault(_request: requests.PreparedRequest, _answer: Answer) -> Answer:
            raise error

        return fault

    # the registry

    def answer(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """The answer without any fault."""
        path = urlsplit(url).path
        kind, _, name = path.removeprefix("/v2/team/node/").partition("/")
        if kind == "blobs" and name.startswith("uploads"):
            return self._upload(method, url, body)
        if kind == "blobs":
            return self._blob(name, headers)
        if kind == "manifests" and method == "PUT":
            return self._put_manifest(name, headers, body)
        if kind == "manifests" and name in self.manifests:
            data = self.manifests[name]
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            return Answer(200, {"Docker-Content-Digest": digest, "Content-Type": self.types[digest]}, data)
        if kind == "referrers" and self.referrers_api:
            return self._referrers(name)
        return Answer(404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def _blob(self, digest: str, headers: dict[str, str]) -> Answer:
        if digest not in self.blobs:
            return Answer(404)
        data = self.blobs[digest]
        if "Range" not in headers or not self.ranges:
            return Answer(200, {}, data)
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        return Answer(206, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}, part)

    def _upload(self, method: str, url: str, body: bytes) -> Answer:
        if method == "POST":
            return Answer(202, {"Location": "/v2/team/node/blobs/uploads/1?_state=x"})
        digest = parse_qs(urlsplit(url).query)["digest"][0]
        return Answer(201 if self.put_blob(body) == digest else 400)

    def _put_manifest(self, name: str, headers: dict[str, str], body: bytes) -> Answer:
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        self.manifests[name] = self.manifests[digest] = body
        self.types[digest] = headers["Content-Type"]
        subject = json.loads(body).get("subject")
        return Answer(201, {"OCI-Subject": subject["digest"]} if subject and self.referrers_api else {})

    def _referrers(self, subject: str) -> Answer:
        listed = []
        for digest, data in self.manifests.items():
            document = json.loads(data)
            if digest.startswith("sha256:") and document.get("subject", {}).get("digest") == subject:
                listed.append({"mediaType": document["mediaType"], "digest": digest, "size": len(data)})
                listed[-1]["artifactType"] = document["artifactType"]
        index = "application/vnd.oci.image.index.v1+json"
        return Answer(200, {"Content-Type": index}, json.dumps({"mediaType": index, "manifests": listed}).encode())
