"""The API server: what of it the scheduler needs, on the official client's access and pool of connections.

Objects are plain JSON: the client's models cost 5,000 nodes 6 s and 367 MiB, and a typed PUT drops fields that it does
not know, so that nothing here writes whole objects. Every request has its time limit, says who asks, and is counted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from proa.core import VERSION
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.parsing import json_value
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import MAX_BODY, ApiError, of_failure, of_response
from proa.scheduler.kube.server import Query
from proa.scheduler.kube.stream import Object, Stream
from proa.scheduler.kube.tally import Tally

if TYPE_CHECKING:
    from proa.scheduler.kube.access import ApiSession
    from proa.scheduler.kube.podaccess import PodConnection

MANAGER: Final = "proa-scheduler"
"""Who owns the fields that we set."""
JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
_STRICT: Final = {"fieldManager": MANAGER, "fieldValidation": "Strict"}


@dataclass(frozen=True)
class _Call:
    """One request.

    Attributes:
        verb: Kubernetes' word for it.
        method: HTTP's.
        path: From ``/api`` on.
        query: What stands behind the ``?``.
        body: What is sent.
        content: What that is.
    """

    verb: str
    method: str
    path: str
    query: Query | None = None
    body: Object | None = None
    content: str = JSON

    @property
    def at(self) -> str:
        """For errors. Not the query: it may be long."""
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """What is asked for."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@dataclass(frozen=True)
class ApiLimits:
    """How long things may take, in seconds.

    Attributes:
        connect: Until a connection stands.
        read: Without a byte of an answer.
        silence: Without a byte of a watch: bookmarks come once a minute.
    """

    connect: float = 5.0
    read: float = 20.0
    silence: float = 80.0


class Api:
    """An API server. Threads may share it.

    Args:
        load: Reads the access; again when the credentials are not known any more. One for the official client, or
            the pod's own.
        limits: Time limits.
        tally: Where requests are counted.
        agent: What it calls itself.
        clock: The clock.

    Raises:
        ProaError: ``KUBECONFIG``.
    """

    def __init__(
        self,
        load: Callable[[], ApiSession | PodConnection],
        *,
        limits: ApiLimits = ApiLimits(),
        tally: Tally | None = None,
        agent: str = f"proa-scheduler/{VERSION}",
        clock: Clock = SYSTEM,
    ) -> None:
        self.limits = limits
        self.tally = tally or Tally()
        self._load = load
        self._agent = agent
        self._clock = clock
        self._lock = threading.Lock()
        self._session: ApiSession | PodConnection | None = load()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        if self._session is not None:
            self._session.pool.clear()

    @property
    def host(self) -> str:
        """The address; empty while the access is not known."""
        return self._session.host if self._session is not None else ""

    # reading

    def get(self, path: str, query: Query | None = None) -> Object:
        """An object.

        Raises:
            ApiError: For any answer that is not 2xx, or none.
        """
        return self._ask(_Call("get", "GET", path, query))

    def pages(self, path: str, query: Query | None = None, size: int = 250) -> Iterator[Object]:
        """A collection, a page of ``size`` objects at a time.

        Raises:
            ApiError: as :meth:`get`; 410 when it took so long that the rest is no longer known.
        """
        asked = {"limit": str(size), **(query or {})}
        while True:
            page = self._ask(_Call("list", "GET", path, asked))
            yield page
            if not (rest := page.get("metadata", {}).get("continue")):
                return
            asked["continue"] = rest

    def stream(self, path: str, query: Query | None = None) -> Stream:
        """Watch a collection: what is told is up to ``query``. It holds a connection until it is closed.

        Raises:
            ApiError: as :meth:`get`.
        """
        asked = {"watch": "true", "allowWatchBookmarks": "true", **(query or {})}
        call = _Call("watch", "GET", path, asked)
        response = self._request(call, self.limits.silence)
        if response.status != 200:
            raise self._refusal(response, call.at)
        return Stream(response, call.at)

    # writing

    def create(self, path: str, body: Object) -> Object:
        """Create an object in a collection.

        Raises:
            ApiError: as :meth:`get`; 409 ``AlreadyExists``.
        """
        return self._ask(_Call("create", "POST", path, _STRICT, body))

    def merge(self, path: str, body: Object) -> Object:
        """JSON merge patch (RFC 7396): a null takes a key away. Nothing is created by it.

        ``metadata.uid`` and ``metadata.resourceVersion`` in it are conditions: 422 and 409 where they are others.

        Raises:
            ApiError: as :meth:`get`.
        """
        return self._ask(_Call("patch", "PATCH", path, _STRICT, body, MERGE))

    def apply(self, path: str, body: Object, *, force: bool) -> Object:
        """Server-side apply: what we have applied before and is not in ``body`` goes away, unless others own it too.

        An object that is not there is created, unless ``metadata.uid`` is in ``body``: that is a condition then.

        Args:
            path: The object.
            body: All that is ours of it.
            force: Whether fields with other values are taken over from their owners; else they are a 409.

        Raises:
            ApiError: as :meth:`get`.
        """
        return self._ask(_Call("apply", "PATCH", path, {**_STRICT, "force": str(force).lower()}, body, APPLY))

    def delete(self, path: str, *, uid: str = "", **options: Any) -> None:
        """Delete an object.

        Args:
            path: The object.
            uid: The one that is meant; another one of its name is a 409.
            options: More of ``DeleteOptions``: ``gracePeriodSeconds``, ``propagationPolicy``, ``dryRun``.

        Raises:
            ApiError: as :meth:`get`.
        """
        body = {**options, **({"preconditions": {"uid": uid}} if uid else {})}
        self._ask(_Call("delete", "DELETE", path, {}, body))

    def evict(self, namespace: str, name: str, *, uid: str = "", **options: Any) -> None:
        """Ask for the end of a pod by ``policy/v1``; that it is on its way already is no error.

        Args:
            namespace: Of the pod.
            name: Of the pod.
            uid: The pod that is meant. A weak condition: a full disruption budget answers first, and one that is free
                is charged all the same.
            options: More of ``DeleteOptions``.

        Raises:
            ApiError: as :meth:`get`; 429 with the cause ``DisruptionBudget``, or without it when the API server itself
                wants to be left alone; 500 when several budgets are about the pod.
        """
        conditions = {**options, **({"preconditions": {"uid": uid}} if uid else {})}
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": conditions,
        }
        path = paths.named(paths.within(paths.PODS, namespace), name, "eviction")
        self._ask(_Call("create", "POST", path, _STRICT, body))

    # inside

    def _ask(self, call: _Call) -> Object:
        """The object that a request gives."""
        response = self._request(call, self.limits.read)
        if not 200 <= response.status < 300:
            raise self._refusal(response, call.at)
        try:
            document = json_value(response.read())
        except (HTTPError, OSError) as error:
            raise of_failure(error, call.at) from error
        except ValueError as error:
            raise ApiError(0, "its answer is not JSON", at=call.at) from error
        if not isinstance(document, dict):
            raise ApiError(0, "its answer is not an object", at=call.at)
        return document

    def _request(self, call: _Call, silence: float) -> urllib3.BaseHTTPResponse:
        """One request, once; the body of its answer is not read yet."""
        session = self._current()
        headers = {"User-Agent": self._agent, "Accept": JSON, **session.authorization()}
        data = None
        if call.body is not None:
            data = json.dumps(call.body, separators=(",", ":")).encode()
            headers["Content-Type"] = call.content
        status = 0
        try:
            response = session.pool.request(
                call.method,
                session.host + call.target,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=self.limits.connect, read=silence),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            status = response.status
        except (HTTPError, OSError) as error:
            raise of_failure(error, call.at) from error
        finally:
            self.tally.add(call.verb, paths.resource(call.path), status)
        if status == 401:
            self._forget(session)
        return response

    def _refusal(self, response: urllib3.BaseHTTPResponse, at: str) -> ApiError:
        """The error that an answer is; its connection is used again if there is nothing left on it."""
        try:
            body = response.read(MAX_BODY)
        except (HTTPError, OSError):  # the status is known, and is what counts
            body = b""
        error = of_response(response.status, response.headers, body, at, self._clock.now())
        if response.length_remaining == 0:
            response.release_conn()
        else:
            response.close()
        return error

    def _current(self) -> ApiSession | PodConnection:
        with self._lock:
            if self._session is None:
                self._session = self._load()
            return self._session

    def _forget(self, session: ApiSession | PodConnection) -> None:
        """The credentials are not known: they are read anew before the next request."""
        with self._lock:
            if self._session is session:
                self._session = None
