"""A record with something in every part of it."""

from __future__ import annotations

from typing import Final

from proa.agent.node.failure import HealthFailure
from proa.agent.node.order_book import AcceptedOrder
from proa.agent.node.record import AgentRecord, Kept, LastResult, Returned, SlotRecord, TrialRecord
from proa.core.orders.messages import Action, Order
from proa.partition.boot.bootstate import Slot

NOW: Final = "2026-01-01T00:00:00+00:00"
RECORD: Final = AgentRecord(
    floor=3,
    slots={
        Slot.A: SlotRecord("1", "b" * 64, "5a", 4096),
        Slot.B: SlotRecord("2", "a" * 64, "5a", 4096, "os", "sha256:x", 3, 1, 4096, "sha256:y", complete=True),
    },
    trial=TrialRecord("b", "2", "a" * 64, 2, 7, NOW, "boot"),
    last=LastResult("install", ok=False, time=NOW, code="NETWORK", message="gone", details={"slot": "b"}),
    returned=Returned(
        "b",
        "1",
        "b" * 64,
        NOW,
        "why",
        3,
        1,
        (HealthFailure("unit x", "bad"),),
        ("panic",),
        Kept("/k", ("f",)),
        "NO_COMMIT_ORDER",
    ),
    layout=1,
    loader=1,
    order=AcceptedOrder(Order(7, Action.NONE, 3), NOW, "boot-1", 100),
)
