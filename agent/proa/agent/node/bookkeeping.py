"""What is written down: the boot state in STATE, and the agent's record on PERSIST. The caller holds the lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proa.agent.node import record as records
from proa.agent.node.record import AgentRecord, LastResult, SlotRecord
from proa.agent.node.view import Context, View, state_file
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import Note
from proa.core.runtime.lock import locked
from proa.partition.boot.bootstate import BootState, Slot


def write_state(view: View, state: BootState) -> None:
    """Write the boot state.

    Raises:
        ProaError: as :meth:`proa.partition.boot.statefile.StateFile.write`.
    """
    state_file(view.disk).write(state)


def amend(context: Context, change: Callable[[AgentRecord], AgentRecord]) -> AgentRecord:
    """Read the record, change it and save it in one step; returns the new record.

    This needs no other lock: an order is taken in while an install writes. A change that gives back the record that it
    was given saves nothing.

    Raises:
        ProaError: as :func:`proa.agent.node.record.save`, and what the change raises: nothing is saved then.
    """
    with locked(context.paths.record_lock):
        record, _ = records.load(context.paths.record)
        changed = change(record)
        if changed is not record:
            records.save(context.paths.record, changed)
        return changed


def remember(context: Context, **changes: object) -> None:
    """Save the record with some fields changed."""
    amend(context, lambda record: dataclasses.replace(record, **changes))  # type: ignore[arg-type]  # by name


def remember_slot(context: Context, slot: Slot, known: SlotRecord) -> None:
    """Save what is known of one slot."""
    amend(context, lambda record: record.with_slot(slot, known))


def result(context: Context, verb: str, error: ProaError | None = None, **details: object) -> LastResult:
    """The result of a verb as it is remembered."""
    code, message = (error.code.name, error.message) if error else ("", "")
    return LastResult(verb, error is None, context.time(), code, message, details)


@contextmanager
def afterwards(context: Context) -> Iterator[None]:
    """Run what follows a completed action: a failure is reported, and raised only if a stop was requested."""
    try:
        yield
    except ProaError as error:
        if context.cancel.asked:
            raise
        context.monitor.emit(Note(f"it succeeded, but what follows failed: {error.message}", "warning"))
