"""What ``status`` says: ``proa.status/v1``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from proa.agent.node.health_seen import load_health
from proa.agent.node.lock import owner
from proa.agent.node.order_book import AcceptedOrder
from proa.agent.node.refused_order import load_refused
from proa.agent.node.reports import Etc, GivenOrder, Problem, Progress, SettingsInEffect, SlotStatus, Status
from proa.agent.node.view import Context, View, known_slot, look
from proa.agent.trial.etc import hidden_files
from proa.agent.trial.merging import load_clashes
from proa.agent.trial.standing import floor_of
from proa.core.runtime.errors import ProaError
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.kernelimage import KernelImage, read_kernel_image

_WARNED_BEFORE: Final = timedelta(days=30)
"""How long before the running release expires there is a warning."""


def status(context: Context, progress: Progress | None = None) -> Status:
    """One look at the node.

    Args:
        context: Where to look.
        progress: The work that this process does now.

    Raises:
        ProaError: as :func:`proa.agent.node.view.look`.
    """
    view = look(context)
    writing = Slot(progress.slot) if progress and progress.slot else None
    state = view.node_state(writing)
    return Status(
        state=state,
        meaning=state.meaning,
        booted=view.booted,
        good=view.state.good,
        trial=view.state.trial,
        left=view.state.left,
        other_good=view.state.alt,
        disk=str(view.disk.path),
        boot_id=view.boot_id,
        floor=floor_of(view),
        slots={slot: _slot(view, slot, writing) for slot in Slot},
        progress=progress,
        last=view.record.last,
        returned=view.record.returned,
        problem=Problem(view.problem.code.name, view.problem.message) if view.problem else None,
        warnings=tuple(_warnings(context, view, busy=progress is not None)),
        etc=Etc(hidden_files(context.paths, view.booted) if view.booted else None),
        order=given_order(view.record.order),
        health=load_health(context.paths),
        persist_encrypted=view.node.encrypted,
        settings=_settings(context),
    )


def _settings(context: Context) -> SettingsInEffect | None:
    if not (context.paths.etc / "settings").is_dir():
        return None
    from proa.agent.settings.engine import Engine

    found = Engine(context).report()
    return SettingsInEffect(found.hash, found.generation, found.phase.value, found.drift)


def _warnings(context: Context, view: View, *, busy: bool) -> list[str]:
    found = [*([view.warning] if view.warning else []), *view.persist]
    if not busy and (holder := owner(context.paths.lock)):
        os.close(holder.handle)
        found.append(f"process {holder.number} holds the lock and may be changing this state")
    found += load_clashes(context.paths)
    if refused := load_refused(context.paths):
        found.append(refused.warning)
    return [*found, *_expiry(view.booted_release.expires if view.booted_release else "", context.clock.now())]


def _expiry(expires: str, now: datetime) -> Iterator[str]:
    """A warning before the running release expires: then it is installed no more, here or on another node."""
    try:
        left = datetime.fromisoformat(expires) - now if expires else None
    except (ValueError, TypeError):
        left = None
    if left is not None and left < _WARNED_BEFORE:
        when = f"expires at {expires}" if left > timedelta() else f"expired at {expires}"
        yield f"the running release {when}; by this node's clock it is {now:%Y-%m-%d}: install a newer release"


def _slot(view: View, slot: Slot, writing: Slot | None) -> SlotStatus:
    known, state = known_slot(view, slot), view.slot_state(slot, writing)
    if known is None:
        lies = _image(view, slot)
        return SlotStatus(state, state.meaning, lies.version, lies.root_hash, name=lies.name)
    facts = known.version, known.root_hash, known.manifest, known.serial, known.complete
    return SlotStatus(state, state.meaning, *facts, known.name, known.bytes)


def _image(view: View, slot: Slot) -> KernelImage:
    """What the kernel image says that lies in a slot of which nothing is recorded, as on a disk from the factory."""
    try:
        return read_kernel_image(view.extents(slot)[1]) or KernelImage()
    except ProaError:
        return KernelImage()


def given_order(accepted: AcceptedOrder | None) -> GivenOrder | None:
    """An order as reports show it."""
    if accepted is None:
        return None
    order = accepted.order
    became = accepted.result.value, accepted.code, accepted.message
    return GivenOrder(order.id, order.action.value, order.release, *became, order.fence, accepted.forgotten)
