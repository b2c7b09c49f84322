"""What the order socket does for each method and path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from proa.agent.api import openapi
from proa.agent.api.openapi import Operation
from proa.agent.api.server import ApiAnswer, ApiStream, Body, Route
from proa.agent.orders.worker import OrderWorker
from proa.core.orders.client import EVENTS, NODE, ORDER
from proa.core.orders.messages import Alive, Node, NodeStatus, Order
from proa.core.schema.model import document

OPERATIONS: Final = (
    Operation("node", "GET", NODE, "The node's status.", Node),
    Operation(
        "order",
        "PUT",
        ORDER,
        "Give an order. Repeating it changes nothing; a stale order is refused with STALE_ORDER.",
        Node,
        Order,
        needed=True,
    ),
    Operation(
        "events",
        "GET",
        EVENTS,
        "The node's status, now and on every change, one JSON document a line, until the client disconnects; a sign of"
        " life every 15 s.",
        Node,
        stream=True,
        answers=(Alive,),
    ),
)
"""All that is served."""
_WHO: Final = (
    "HTTP and JSON over the Unix socket /run/proa/orders.sock, for root and for processes whose primary group is the"
    " one that the setting cluster.group names (by the peer's credentials). docs/explanation/orders.md says what each"
    " order does."
)


def description() -> Mapping[str, Any]:
    """The order socket as OpenAPI describes it."""
    return openapi.describe("The orders of a Proa node", _WHO, "/run/proa/orders.sock", OPERATIONS)


def order_routes(worker: OrderWorker) -> dict[tuple[str, str], Route]:
    """What is served: nothing but orders, and what became of them."""

    def node(_: Body) -> ApiAnswer:
        return ApiAnswer(_line(worker.feed.status()))

    def order(body: Body) -> ApiAnswer:
        worker.put(body)
        return node(body)

    def events(_: Body) -> ApiStream:
        return ApiStream(_lines(worker))

    serving: dict[str, Route] = {"node": node, "order": order, "events": events}
    served = {(one.method, one.path): serving[one.name] for one in OPERATIONS}
    return served | {("GET", openapi.PATH): lambda _: ApiAnswer(description())}


def _lines(worker: OrderWorker) -> Iterator[Mapping[str, Any]]:
    for status in worker.feed.follow():
        yield _line(status)


def _line(status: NodeStatus | None) -> dict[str, Any]:
    """A status, or a sign of life."""
    return document(Alive() if status is None else Node(status))
