"""What an agent says after which event: pure functions over a node's status, the one model of all simulated nodes.

The world of ``simulate`` lets events happen in virtual time; the simulated nodes of ``proa.vm`` let them happen on a
real API server.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from proa.core.orders.messages import (
    Booted,
    LastError,
    NodeStatus,
    Observed,
    Order,
    OrderResult,
    Phase,
    SettingsState,
    Standby,
)
from proa.core.runtime.errors import Code
from proa.core.settings.document import EMPTY, Document

UNSET: Final = SettingsState(hash=EMPTY.digest, phase="Committed")
"""The settings of a node that was never configured."""


def begun(status: NodeStatus, order: Order, **changes: Any) -> NodeStatus:
    """An order was taken in."""
    observed = Observed(order.id, order.action.value, OrderResult.RUNNING.value)
    return dataclasses.replace(status, observed_order=observed, **changes)


def ended(status: NodeStatus, result: OrderResult, **changes: Any) -> NodeStatus:
    """The last order has come to its end."""
    seen = status.observed_order
    observed = dataclasses.replace(seen, result=result.value) if seen else None
    return dataclasses.replace(status, observed_order=observed, progress=None, **changes)


def staged(slot: str, version: str, release: str, root_hash: str) -> Standby:
    """A slot that holds a release, given by its digest."""
    return Standby(slot, version, release, root_hash, "staged", True)


def swapped(status: NodeStatus, boot_id: str, *, committed: bool, left: str, root_hash: str = "") -> NodeStatus:
    """The other slot runs.

    Args:
        status: What was before.
        boot_id: The boot that runs now.
        committed: Whether what runs now is committed.
        left: The state of the slot that ran; it is good unless it ``failed``.
        root_hash: Of what runs, if it is not that of what was staged.
    """
    new, old = status.standby or Standby(), status.booted or Booted()
    booted = Booted(new.slot, new.version, new.release, root_hash or new.root_hash, boot_id, committed)
    standby = Standby(old.slot, old.version, old.release, old.root_hash, left, True, left != "failed")
    return dataclasses.replace(status, booted=booted, standby=standby)


def came_back(status: NodeStatus, code: Code) -> NodeStatus:
    """A trial came back. An order that had come to its end stays done: a boot was, once its trial ran."""
    if status.observed_order and status.observed_order.result == OrderResult.RUNNING.value:
        status = ended(status, OrderResult.FAILED)
    error = LastError(code.name, code.value.summary)
    return dataclasses.replace(status, phase=Phase.ROLLED_BACK, last_error=error, progress=None)


def tried(status: NodeStatus, wanted: Document) -> NodeStatus:
    """Settings are in effect, on trial; nothing changes where they are committed already."""
    told = status.settings or UNSET
    if told.hash == wanted.digest and not told.trial_hash:
        return status
    return dataclasses.replace(
        status,
        settings=dataclasses.replace(
            told, phase="Trial", trial_hash=wanted.digest, failed_hash="", message="", generation=told.generation + 1
        ),
    )


def kept(status: NodeStatus) -> NodeStatus:
    """The settings on trial are committed."""
    told = status.settings or UNSET
    committed = dataclasses.replace(told, hash=told.trial_hash, trial_hash="", phase="Committed")
    return dataclasses.replace(status, settings=committed)


def configured(status: NodeStatus, wanted: Document) -> NodeStatus:
    """Settings are committed."""
    generation = (status.settings or UNSET).generation
    committed = SettingsState(wanted.digest, max(generation, 1), "Committed", revision=wanted.revision)
    return dataclasses.replace(status, settings=committed)


def reverted(status: NodeStatus, wanted: str, why: str, phase: str = "Reverted") -> NodeStatus:
    """Settings of a hash are taken back."""
    told = dataclasses.replace(
        status.settings or UNSET, phase=phase, trial_hash="", failed_hash=wanted, message=f"{phase}: {why}"
    )
    return dataclasses.replace(status, settings=told)
