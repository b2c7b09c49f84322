"""The API server's audit log as requests: who did what to which object, when, and what came of it.

The log is one ``Event`` of ``audit.k8s.io/v1`` a line (Kubernetes, "Auditing").
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
"""All requests, without their bodies."""
_PIECE: Final = 1 << 16
READS: Final = frozenset({"get", "list", "watch"})


@dataclass(frozen=True)
class AuditedRequest:
    """One request. A watch comes twice: when it has begun and when it has ended.

    Attributes:
        user: Who, as the API server knows them.
        agent: What the client calls itself.
        verb: ``get``, ``list``, ``watch``, ``create``, ``update``, ``patch``, ``delete``, ``deletecollection``.
        resource: What kind, in the plural; empty for a path that is none.
        subresource: Such as ``status`` or ``eviction``.
        group: The API group; empty for the core's.
        namespace: Of the object.
        name: Of the object; empty for a collection.
        status: The HTTP status of the answer; 0 while there is none.
        stage: ``ResponseComplete``, ``ResponseStarted`` of a watch, or ``Panic``.
        received: When it came.
        done: When it got to its stage.
        path: The whole address.
        reason: Why it was allowed or refused.
    """

    user: str
    agent: str
    verb: str
    resource: str
    subresource: str
    group: str
    namespace: str
    name: str
    status: int
    stage: str
    received: datetime
    done: datetime
    path: str
    reason: str

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change."""
        return self.verb not in READS

    @property
    def is_complete(self) -> bool:
        """Whether it has ended; every request but a watch has."""
        return self.stage == "ResponseComplete"

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.done - self.received).total_seconds()

    def __str__(self) -> str:
        what = "/".join(part for part in (self.resource, self.namespace, self.name, self.subresource) if part)
        return f"{self.received:%H:%M:%S.%f} {self.user} {self.verb} {what or self.path} -> {self.status}"


class AuditLog:
    """The log of an API server.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> int:
        """How long it is by now, for :meth:`requests`: up to its last whole line."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                begin = max(0, end - _PIECE)
                file.seek(begin)
                found = file.read(end - begin).rfind(b"\n")
                if found >= 0:
                    return begin + found + 1
                end = begin
        return 0

    def requests(self, since: int = 0, *, user: str = "", write: bool | None = None) -> list[AuditedRequest]:
        """What was asked, in the order in which it was answered.

        Args:
            since: A :meth:`mark`: only what was written after it.
            user: Only of this user: ``NAMESPACE/NAME`` for a service account, or the whole name.
            write: Only what asks for a change, or only what does not.
        """
        if "/" in user:
            user = f"system:serviceaccount:{user.replace('/', ':')}"
        return [
            request
            for request in parse(self._lines(since))
            if (not user or request.user == user) and write in (None, request.is_write)
        ]

    def _lines(self, since: int) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(since)
            for line in file:
                if line.endswith(b"\n"):  # the last one may be under way
                    yield line


def parse(lines: Iterable[bytes]) -> Iterator[AuditedRequest]:
    """Requests out of the lines of a log."""
    for line in lines:
        yield _request(json.loads(line))


def _request(event: dict[str, Any]) -> AuditedRequest:
    about = event.get("objectRef", {})
    return AuditedRequest(
        user=event.get("user", {}).get("username", ""),
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        resource=about.get("resource", ""),
        subresource=about.get("subresource", ""),
        group=about.get("apiGroup", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        status=event.get("responseStatus", {}).get("code", 0),
        stage=event["stage"],
        received=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        done=datetime.fromisoformat(event["stageTimestamp"]),
        path=event["requestURI"],
        reason=event.get("annotations", {}).get("authorization.k8s.io/reason", ""),
    )
