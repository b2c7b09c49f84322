"""What the proxy knows of both sides: the node's object in the API server, and its agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proa.core.orders.messages import NodeStatus
from proa.scheduler.kube.stream import Object, part
from proa.scheduler.kube.versions import number_of, version_of


@dataclass(frozen=True, slots=True)
class Seen:
    """The node's NodeOS, as the API server has it.

    Attributes:
        uid: Another one is another object, although it has the same name.
        version: Its resource version; 0 for one that is no number.
        order: ``spec.order`` as it stands there; none if it was never given one.
        status: ``status`` as it stands there; empty if it has none.
    """

    uid: str
    version: int
    order: Mapping[str, Any] | None
    status: Mapping[str, Any]


def seen(item: Object, _: Seen | None = None) -> Seen:
    """What is kept of a NodeOS, whatever stands in it."""
    order = part(part(item, "spec"), "order")
    return Seen(str(item["metadata"].get("uid", "")), number_of(version_of(item)), order or None, part(item, "status"))


@dataclass(frozen=True, slots=True)
class Told:
    """What the agent has told of the node.

    Attributes:
        status: Its last word; none if it has not said any yet.
        answering: Whether it is listened to now.
        since: Since when it is, or is not, by the clock's monotonic reading.
        connection: How often it was listened to anew: it may be another agent each time.
        problem: Why it is not listened to.
    """

    status: NodeStatus | None = None
    answering: bool = False
    since: float = 0.0
    connection: int = 0
    problem: str = ""
