"""What is asked of an API server, and what a proxy (:mod:`proa.vm.kube.apiproxy`) makes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proa.vm.kube.api import JSON, Object

_QUIET: Final = ("/leases", "/events")
"""What is written all the time, and changes nothing that a rollout goes by."""


@dataclass(frozen=True)
class Ask:
    """A request.

    Attributes:
        method: HTTP's.
        path: From ``/api`` on, without the query.
        query: What stands behind the ``?``, the last value of each name.
        body: What is sent; empty if that is no JSON object.
        at: When it came, by the monotonic clock.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Object
    at: float

    @property
    def is_watch(self) -> bool:
        """Whether it is a watch."""
        return self.query.get("watch") == "true"

    @property
    def is_write(self) -> bool:
        """Whether it asks for a change that counts: leases and events do not."""
        return self.method != "GET" and not any(part in self.path for part in _QUIET)


@dataclass(frozen=True)
class RequestFate:
    """What becomes of a request.

    Attributes:
        delay: Seconds that it waits before anything is done.
        hold: It waits until this is set, before anything is done.
        forward: Whether the API server is asked.
        after: Called once the API server has answered, before the client knows.
        reply: Whether the client gets an answer; the connection just ends otherwise.
        status: What is answered in place of the API server; 0 for its own answer.
        content: The type of that.
        text: The body of that.
        headers: More headers of that.
    """

    delay: float = 0.0
    hold: threading.Event | None = None
    forward: bool = True
    after: Callable[[], object] | None = None
    reply: bool = True
    status: int = 0
    content: str = JSON
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)


FINE: Final = RequestFate()
LOST: Final = RequestFate(forward=False, reply=False)
"""Nobody hears it."""
UNANSWERED: Final = RequestFate(reply=False)
"""The API server does it, and the answer gets lost."""


def refusal(status: int, reason: str, message: str = "spoiled", **headers: str) -> RequestFate:
    """A ``Status`` document as an API server sends it."""
    document = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": status, "reason": reason}
    return RequestFate(forward=False, status=status, text=json.dumps({**document, "message": message}), headers=headers)


def plain(status: int, text: str, **headers: str) -> RequestFate:
    """What a load balancer, or an API server that throttles, sends."""
    return RequestFate(forward=False, status=status, content="text/plain", text=text, headers=headers)


Rule = Callable[[Ask], RequestFate | None]
