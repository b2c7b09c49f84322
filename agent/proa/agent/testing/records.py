"""A record with something in every part of it, and what outlives a release with every field of this version.

Run as a program, it records the latter anew for the tests, after a field has come.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Final

from proa.agent.node.failure import HealthFailure
from proa.agent.node.order_book import AcceptedOrder, TimeSpent
from proa.agent.node.record import AgentRecord, Kept, LastResult, MovedBytes, Returned, SlotRecord, TrialRecord
from proa.agent.trial.trial import TrialBoot, TrialNotes
from proa.core.orders.messages import Action, Order, OrderResult, Proof
from proa.core.schema.model import document
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

FULL: Final = dataclasses.replace(
    RECORD,
    committed=3,
    slots={
        Slot.A: dataclasses.replace(RECORD.slots[Slot.A], failed=True, downgrade=True),
        Slot.B: dataclasses.replace(
            RECORD.slots[Slot.B],
            compatible="os",
            expires="2027-01-01T00:00:00Z",
            signers=("c" * 64,),
            bytes=MovedBytes(7, 20, 3, 27, 1),
            settings="{}",
        ),
    },
    trial=TrialRecord("b", "2", "a" * 64, 2, 7, NOW, "boot", ("d" * 64,), ("bad.service",)),
    returned=Returned(
        "b",
        "1",
        "b" * 64,
        NOW,
        "why",
        3,
        1,
        (HealthFailure("unit x", "bad", "said", waiting=True),),
        ("panic",),
        Kept("/k", ("f",)),
        "NO_COMMIT_ORDER",
        "no-order",
        "/var/lib/proa/returned-journal.txt",
    ),
    order=AcceptedOrder(
        Order(
            7,
            Action.COMMIT,
            3,
            f"r.example/os@sha256:{'e' * 64}",
            "1h",
            Proof("boot-1", "a" * 64),
            NOW,
            allow_downgrade=True,
            bytes_per_second=1 << 20,
            settings="{}",
            settings_hash="f" * 64,
        ),
        NOW,
        "boot-1",
        100,
        OrderResult.FAILED,
        "NETWORK",
        "so",
        begun=True,
        slot="b",
        spent=TimeSpent("boot-2", 20, 320),
        forgotten=True,
    ),
)
"""A record with every field of this version."""
NOTES: Final = TrialNotes(
    "a" * 64,
    7,
    (
        TrialBoot(
            "boot-2", 1, NOW, (HealthFailure("unit x", "bad"),), "not healthy: unit x", "TRIAL_RETURNED", "unhealthy"
        ),
    ),
)
"""The notes of a trial, as full."""


def recorded(name: str) -> str:
    """The file that tests keep of this version: ``agent`` or ``trial``."""
    return json.dumps(document(FULL if name == "agent" else NOTES), indent=1) + "\n"


if __name__ == "__main__":
    for one in ("agent", "trial"):
        (Path(__file__).parents[3] / f"tests/node/data/{one}-unreleased.json").write_text(recorded(one))
