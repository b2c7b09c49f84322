"""What a simulated agent says, and how that changes: pure functions over a node status."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import datetime
from typing import Any, Final

from proa.core import VERSION
from proa.core.orders.messages import (
    Action,
    Booted,
    Condition,
    LastError,
    NodeStatus,
    Observed,
    Order,
    Phase,
    Result,
    Standby,
)
from proa.core.runtime import duration
from proa.core.runtime.errors import Code, ProaError
from proa.vm.simulated.releases import digest_of, root_hash_of, version_of

HEALTHY: Final = "Healthy"
"""The condition that tells of a trial's health checks."""


def first(release: str, now: datetime) -> NodeStatus:
    """Of a node that has never been told anything."""
    booted = Booted("a", version_of(release), digest_of(release), root_hash_of(release), new_boot_id(), True)
    standby = Standby("b", state="unknown")
    return NodeStatus(phase=Phase.GOOD, booted=booted, standby=standby, agent=VERSION, conditions=conditions(now))


def staged(slot: str, release: str) -> Standby:
    """A slot that holds a release."""
    return Standby(slot, version_of(release), digest_of(release), root_hash_of(release), "staged", True)


def begun(status: NodeStatus, order: Order) -> NodeStatus:
    """An order was taken in."""
    return dataclasses.replace(status, observed_order=Observed(order.id, order.action.value, Result.RUNNING.value))


def ended(status: NodeStatus, result: Result, **changes: Any) -> NodeStatus:
    """The last order has come to its end."""
    seen = status.observed_order
    observed = dataclasses.replace(seen, result=result.value) if seen else None
    return dataclasses.replace(status, observed_order=observed, progress=None, **changes)


def came_back(status: NodeStatus, code: Code) -> NodeStatus:
    """A trial came back. An order that had come to its end stays done: a boot was, once its trial ran."""
    error = LastError(code.name, code.value.summary)
    if status.observed_order and status.observed_order.result == Result.RUNNING.value:
        status = ended(status, Result.FAILED)
    return dataclasses.replace(status, phase=Phase.ROLLED_BACK, last_error=error, progress=None)


def swapped(status: NodeStatus, *, committed: bool, left: str, root_hash: str = "") -> NodeStatus:
    """The other slot runs.

    Args:
        status: What was before.
        committed: Whether what runs now is committed.
        left: The state of the slot that ran; it is good unless it ``failed``.
        root_hash: Of what runs, if it is not that of what was staged.
    """
    new, old = status.standby or Standby(), status.booted or Booted()
    root = root_hash or new.root_hash
    booted = Booted(new.slot, new.version, new.release, root, new_boot_id(), committed)
    standby = Standby(old.slot, old.version, old.release, old.root_hash, left, True, left != "failed")
    return dataclasses.replace(status, booted=booted, standby=standby)


def conditions(now: datetime, healthy: str = "", reason: str = "") -> tuple[Condition, ...]:
    """What an agent always tells, and of a trial what came of its health checks."""
    since = written(now)
    agreed = Condition("Consistent", "True", "Agreed", "boot loader and boot state agree about this boot", since)
    return (*([Condition(HEALTHY, healthy, reason, "", since)] if healthy else []), agreed)


def is_healthy(status: NodeStatus) -> bool:
    """Whether the health checks of a trial have passed."""
    return any(condition.type == HEALTHY and condition.status == "True" for condition in status.conditions)


def limit(order: Order) -> float:
    """Seconds that an order may take."""
    return duration.parse(order.timeout).total_seconds()


def check(order: Order) -> None:
    """Check what holds between the fields of an order.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    if order.action in (Action.STAGE, Action.BOOT) and not order.release:
        raise ProaError(Code.CONFIG_VALUE, f"{order.action.value} needs a release", at="release")
    if order.action is Action.COMMIT and not order.trial:
        raise ProaError(Code.CONFIG_VALUE, "Commit needs a trial", at="trial")


def written(time: datetime) -> str:
    """A time as Kubernetes writes it, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def new_boot_id() -> str:
    """A boot id as a kernel makes them."""
    return str(uuid.uuid4())
