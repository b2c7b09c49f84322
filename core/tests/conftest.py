"""Fixtures shared by the tests of the core: a small release, and a registry that is only a transport."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from proa.core.oci.access import Access
from proa.core.oci.reference import Reference, parse
from proa.core.oci.retry import Limits
from proa.core.oci.source import Target, blob_of
from proa.core.oci.target import open_target
from proa.core.release.document import MEDIA_TYPES, Boot, Release, Requires, Root
from proa.core.runtime.clock import VirtualClock


@pytest.fixture
def payload_files(tmp_path: Path) -> dict[str, Path]:
    """A file for every blob of a release."""
    folder = tmp_path / "payload"
    folder.mkdir()
    for name in MEDIA_TYPES:
        (folder / name).write_bytes(f"the {name} blob ".encode() * 500)
    return {name: folder / name for name in MEDIA_TYPES}


@pytest.fixture
def release(payload_files: dict[str, Path]) -> Release:
    """A release document about ``payload_files``."""
    return Release(
        name="node",
        version="1.0+deb12",
        architecture="amd64",
        compatible="worker",
        created="2026-01-01T00:00:00+00:00",
        serial=7,
        floor=3,
        root=Root("erofs", 40 * 4096, 4096, "a" * 64, "bb" * 32, 4096, 128 * 1024),
        boot=Boot(4096, f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"),
        requires=Requires(1, "0.1.0", 1),
        blobs={name: blob_of(path) for name, path in payload_files.items()},
    )


class Body(io.BytesIO):
    """The body of an answer; subclasses fail in the middle of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        return self.read1(size)


class CutBody(Body):
    """Resets the connection after so many bytes."""

    def __init__(self, data: bytes, at: int) -> None:
        super().__init__(data[:at])
        self.whole = data

    def read1(self, size: int | None = -1, /) -> bytes:
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
        if isinstance(self.body, CutBody):
            return self.body.whole
        return self.body if isinstance(self.body, bytes) else self.body.getvalue()


Fault = Callable[[requests.PreparedRequest, Answer], Answer]


class FakeRegistry(BaseAdapter):
    """A registry in memory, behind the interface that carries requests. ``faults`` are used up one by one."""

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

    def close(self) -> None:
        pass

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
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
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def urls(self, method: str = "GET") -> list[str]:
        return [str(request.url) for request in self.requests if request.method == method]

    def sent(self, header: str) -> list[str | None]:
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

    def serve(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
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


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fake_registry(clock: VirtualClock) -> FakeRegistry:
    return FakeRegistry(clock)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without auth files."""
    for variable in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


Opener = Callable[..., Target]


@pytest.fixture
def open_fake(fake_registry: FakeRegistry, clock: VirtualClock, no_credentials: None) -> Opener:
    """Opens ``registry.test/team/node`` in the fake registry; the clock is virtual, so nothing waits."""

    def open_it(text: str = "registry.test/team/node:1.0", limits: Limits | None = None, **options: Any) -> Target:
        reference: Reference = parse(text)
        return open_target(
            reference, Access(**options), transport=fake_registry, clock=clock, limits=limits or Limits()
        )

    return open_it
