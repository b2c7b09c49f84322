"""What ``status`` says: ``proa.status/v1``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from proa.agent.node.lock import owner
from proa.agent.node.record import Result
from proa.agent.node.view import Context, View, known_slot, look
from proa.agent.trial.change import floor_of
from proa.agent.trial.etc import hidden_files
from proa.partition.boot.bootstate import Slot

if TYPE_CHECKING:
    from proa.agent.node.order_book import AcceptedOrder


def status(context: Context, progress: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One look at the node as a document.

    Args:
        context: Where to look.
        progress: The work that this process does now: ``verb``, ``slot``, ``step``, ``done``, ``total``.

    Raises:
        ProaError: as :func:`proa.agent.node.view.look`.
    """
    view = look(context)
    writing = Slot(progress["slot"]) if progress and progress.get("slot") else None
    trial = view.state.trial
    return {
        "state": view.node_state(writing).value,
        "meaning": view.node_state(writing).meaning,
        "booted": view.booted.value if view.booted else None,
        "good": view.state.good.value,
        "trial": trial.value if trial else None,
        "left": view.state.left,
        "other_good": view.state.alt,
        "disk": str(view.disk.path),
        "boot_id": view.boot_id,
        "floor": floor_of(view),
        "slots": {slot.value: _slot(view, slot, writing) for slot in Slot},
        "progress": dict(progress) if progress else None,
        "last": _result(view.record.last),
        "returned": asdict(view.record.returned) if view.record.returned else None,
        "problem": {"code": view.problem.code.name, "message": view.problem.message} if view.problem else None,
        "warnings": _warnings(context, view, busy=progress is not None),
        "etc": {"hidden": hidden_files(context.paths, view.booted) if view.booted else None},
        "order": _order(view.record.order),
    }


def _warnings(context: Context, view: View, *, busy: bool) -> list[str]:
    found = [view.warning] if view.warning else []
    if not busy and (holder := owner(context.paths.lock)):
        os.close(holder.handle)
        found.append(f"process {holder.number} holds the lock: it may be changing this")
    return found


def _slot(view: View, slot: Slot, writing: Slot | None) -> dict[str, Any]:
    known = known_slot(view, slot)
    state = view.slot_state(slot, writing)
    return {
        "state": state.value,
        "meaning": state.meaning,
        "version": known.version if known else "",
        "root_hash": known.root_hash if known else "",
        "manifest": known.manifest if known else "",
        "serial": known.serial if known else 0,
        "complete": known.complete if known else False,
    }


def _order(accepted: AcceptedOrder | None) -> dict[str, Any] | None:
    if accepted is None:
        return None
    return {
        "id": accepted.order.id,
        "action": accepted.order.action.value,
        "release": accepted.order.release,
        "result": accepted.result.value,
        "code": accepted.code,
        "message": accepted.message,
    }


def _result(last: Result | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {
        "verb": last.verb,
        "ok": last.ok,
        "time": last.time,
        "code": last.code,
        "message": last.message,
        "details": dict(last.details),
    }
