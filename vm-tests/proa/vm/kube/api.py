"""A small client of the Kubernetes API for tests: plain JSON, many connections, no model classes.

The kept ``kubernetes`` client makes an object of every field; a LIST of 5,000 nodes takes it 6 s.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube.access import ApiAccess

Object = dict[str, Any]
Query = Mapping[str, str | int]

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
"""RFC 7396: a null takes a key away."""
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
PAGE: Final = 500
"""Objects a page of a LIST."""

_AGAIN: Final = frozenset({429, 503, 504})
_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 90.0
"""Seconds of silence after which a watch counts as broken; bookmarks come once a minute."""


@dataclass(frozen=True)
class ApiResponse:
    """What the API server answered.

    Attributes:
        status: The HTTP status.
        document: What it sent; empty if that is not a JSON object.
        headers: Its headers.
        what: The request, for errors.
    """

    status: int
    document: Object
    headers: Mapping[str, str]
    what: str

    @property
    def message(self) -> str:
        """What a ``Status`` document says."""
        return str(self.document.get("message", ""))

    def check(self, *allowed: int) -> ApiResponse:
        """Raise unless the status is 2xx or one of ``allowed``.

        Raises:
            ProaError: ``NETWORK`` for what may be tried again: throttled, or a server that is only starting; ``TOOL``
                for all else.
        """
        if self.status // 100 != 2 and self.status not in allowed:
            code = Code.NETWORK if self.status in _AGAIN else Code.TOOL
            what = f"the API server answered {self.status}: {self.message}"
            raise ProaError(code, what, at=self.what, hint="Read the API server's log.")
        return self


class Watch:
    """A watch under way. One thread goes through it; any other may :meth:`stop` it.

    Args:
        response: The stream.
        what: The request, for errors.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, what: str) -> None:
        self._response = response
        self._what = what

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        """Every event: its type and its object, until the server closes the stream.

        Raises:
            ProaError: ``NETWORK`` when the stream breaks.
        """
        rest = b""
        try:
            while data := self._response.read1():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
        except (HTTPError, OSError, ValueError) as error:
            raise _lost(error, self._what) from error
        finally:
            self._response.close()

    def stop(self) -> None:
        """End it: who goes through it sees the end, or ``NETWORK``."""
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()


class KubeApi:
    """An API server. Threads may share it.

    Args:
        access: How it is reached.
        connections: How many connections are kept; who needs more than there are waits.
        agent: What it calls itself, for the audit log.
    """

    def __init__(self, access: ApiAccess, *, connections: int = 8, agent: str = "proa-vm") -> None:
        self.access = access
        headers = {"User-Agent": agent, "Accept": JSON}
        if access.token:
            headers["Authorization"] = f"Bearer {access.token}"
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=connections,
            block=True,
            headers=headers,
            ca_certs=str(access.ca_file),
            cert_file=str(access.cert_file) if access.cert_file else None,
            key_file=str(access.key_file) if access.key_file else None,
            retries=False,
        )

    def __enter__(self) -> KubeApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._pool.clear()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        content: str = JSON,
        seconds: float = _SECONDS,
    ) -> ApiResponse:
        """Ask once, whatever comes back.

        Args:
            method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
            path: From ``/api`` on.
            body: What is sent, as JSON values.
            query: What stands behind the ``?``.
            content: The type of the body.
            seconds: How long it may take.

        Raises:
            ProaError: ``NETWORK`` when there is no answer.
        """
        what = f"{method} {path}"
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        head = {**self._pool.headers} | ({"Content-Type": content} if data is not None else {})
        try:
            response = self._pool.request(
                method, _url(self.access, path, query), body=data, headers=head, timeout=seconds
            )
        except (HTTPError, OSError) as error:
            raise _lost(error, what) from error
        document = _document(response.data) if response.headers.get("Content-Type", "").startswith(JSON) else {}
        return ApiResponse(response.status, document, dict(response.headers), what)

    def get(self, path: str, query: Query | None = None) -> Object:
        """The document at a path.

        Raises:
            ProaError: ``TOOL`` for an answer that is an error, ``NETWORK``.
        """
        return self.call("GET", path, query=query).check().document

    def find(self, path: str) -> Object | None:
        """The document at a path, or none where there is none.

        Raises:
            ProaError: as :meth:`get`.
        """
        answer = self.call("GET", path).check(404)
        return None if answer.status == 404 else answer.document

    def post(self, path: str, body: Object) -> Object:
        """Create something; what came of it.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self.call("POST", path, body, query={"fieldValidation": "Strict"}).check().document

    def patch(self, path: str, body: Object, content: str = MERGE) -> Object:
        """Change something; what came of it.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self.call("PATCH", path, body, content=content).check().document

    def delete(self, path: str, **options: Any) -> None:
        """Delete something, unless it is gone already.

        Args:
            path: Of an object, or of a collection.
            options: Of ``DeleteOptions``: ``gracePeriodSeconds``, ``propagationPolicy``, ``preconditions``.

        Raises:
            ProaError: as :meth:`get`.
        """
        self.call("DELETE", path, options or None).check(404)

    def items(self, path: str, query: Query | None = None) -> Iterator[Object]:
        """Every object of a collection, a page at a time.

        Raises:
            ProaError: as :meth:`get`.
        """
        for page in self.pages(path, query):
            yield from page["items"]

    def pages(self, path: str, query: Query | None = None) -> Iterator[Object]:
        """The pages of a collection.

        Raises:
            ProaError: as :meth:`get`.
        """
        asked: dict[str, str | int] = {"limit": PAGE, **(query or {})}
        while True:
            page = self.get(path, asked)
            yield page
            if not (rest := page["metadata"].get("continue")):
                return
            asked["continue"] = rest

    def watch(self, path: str, version: str, query: Query | None = None) -> Watch:
        """What happens to a collection after ``version``. It holds a connection until it ends.

        Raises:
            ProaError: ``TOOL`` for an answer that is an error (410: list again), ``NETWORK``.
        """
        asked = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"} | dict(query or {})
        what = f"WATCH {path}"
        limit = urllib3.Timeout(connect=_SECONDS, read=_WATCH_SECONDS)
        try:
            response = self._pool.request(
                "GET", _url(self.access, path, asked), timeout=limit, preload_content=False, headers=self._pool.headers
            )
        except (HTTPError, OSError) as error:
            raise _lost(error, what) from error
        if response.status != 200:
            document = _document(response.data)
            response.close()
            ApiResponse(response.status, document, dict(response.headers), what).check()
        return Watch(response, what)


def _url(access: ApiAccess, path: str, query: Query | None) -> str:
    return f"{access.server}{path}" + (f"?{urlencode(query)}" if query else "")


def _document(data: bytes) -> Object:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _lost(error: Exception, what: str) -> ProaError:
    return ProaError(
        Code.NETWORK, f"the API server cannot be reached: {error}", at=what, hint=("Read the API server's log.")
    )
