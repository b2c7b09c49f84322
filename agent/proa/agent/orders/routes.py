"""What the order socket does for each method and path (``openapi.json`` describes them)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proa.agent.api.server import Answer, Body, Route, Stream
from proa.agent.orders.worker import OrderWorker
from proa.core import VERSION
from proa.core.orders.client import ALIVE, EVENTS, NODE, ORDER, SCHEMA
from proa.core.orders.messages import NodeStatus
from proa.core.schema.model import document

OPENAPI: Final = Path(__file__).parent / "openapi.json"


def order_routes(worker: OrderWorker) -> dict[tuple[str, str], Route]:
    """What is served: nothing but orders, and what became of them."""

    def node(_: Body) -> Answer:
        return Answer(SCHEMA, {"status": document(worker.feed.status())})

    def order(body: Body) -> Answer:
        worker.put(body)
        return node(body)

    return {
        ("GET", NODE): node,
        ("PUT", ORDER): order,
        ("GET", EVENTS): lambda _: Stream(_lines(worker)),
        ("GET", "/v1/openapi.json"): lambda _: Answer("", json.loads(OPENAPI.read_bytes())),
    }


def _lines(worker: OrderWorker) -> Iterator[Mapping[str, Any]]:
    for status in worker.feed.follow():
        yield _line(status)


def _line(status: NodeStatus | None) -> dict[str, Any]:
    """A status, or a sign of life."""
    if status is None:
        return {"schema": ALIVE, "proa": VERSION}
    return {"schema": SCHEMA, "proa": VERSION, "status": document(status)}
