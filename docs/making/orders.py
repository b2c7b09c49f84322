"""The OpenAPI document of the order socket: written by hand, but for the schemas of the wire types."""

from __future__ import annotations

import json
from typing import Any

from proa.agent.orders.routes import OPENAPI
from proa.core.orders.messages import NodeStatus, Order
from proa.core.schema.json_schema import json_schema


def orders() -> str:
    """agent/proa/agent/orders/openapi.json."""
    document: dict[str, Any] = json.loads(OPENAPI.read_text())
    schemas = document["components"]["schemas"]
    schemas["Order"] = json_schema(Order) | {"additionalProperties": False}
    schemas["NodeStatus"] = json_schema(NodeStatus)
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
