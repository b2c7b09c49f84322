"""What is written down: the boot state in STATE, and the agent's record on PERSIST. The caller holds the lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from proa.agent import record as records
from proa.agent.record import Result, SlotRecord
from proa.agent.view import Context, View, state_file
from proa.core.errors import ProaError
from proa.core.events import Note
from proa.partition.bootstate import BootState, Slot


def write_state(view: View, state: BootState) -> None:
    """Write the boot state.

    Raises:
        ProaError: as :meth:`proa.partition.statefile.StateFile.write`.
    """
    state_file(view.disk).write(state)


def remember(context: Context, **changes: object) -> None:
    """Save the record with some fields changed."""
    record, _ = records.load(context.paths.record)
    records.save(context.paths.record, dataclasses.replace(record, **changes))  # type: ignore[arg-type]  # by name


def remember_slot(context: Context, slot: Slot, known: SlotRecord) -> None:
    """Save what is known of one slot."""
    record, _ = records.load(context.paths.record)
    records.save(context.paths.record, record.with_slot(slot, known))


def result(context: Context, verb: str, error: ProaError | None = None, **details: object) -> Result:
    """The result of a verb as it is remembered."""
    code, message = (error.code.name, error.message) if error else ("", "")
    return Result(verb, error is None, context.time(), code, message, details)


@contextmanager
def afterwards(context: Context) -> Iterator[None]:
    """What follows a deed that is done: that it fails is told, and raised only when somebody asked to stop."""
    try:
        yield
    except ProaError as error:
        if context.cancel.asked:
            raise
        context.monitor.emit(Note(f"it is done, but what follows is not: {error.message}", "warning"))
