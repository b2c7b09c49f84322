"""What a node says of itself to the cluster: :class:`~proa.core.orders.messages.NodeStatus` out of one look. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Final

from proa.agent.node import reports
from proa.agent.node.order_book import AcceptedOrder
from proa.agent.node.record import SlotRecord
from proa.agent.node.states import NodeState
from proa.agent.node.view import View, known_slot
from proa.agent.settings.report import SettingsReport
from proa.agent.trial.health import HealthReport
from proa.core import VERSION
from proa.core.orders.messages import (
    MAX_NAMED,
    Action,
    Booted,
    Condition,
    LastError,
    Moved,
    NodeStatus,
    Observed,
    OrderResult,
    Phase,
    Progress,
    SettingsState,
    Standby,
)
from proa.partition.boot.bootstate import Slot

STRIDE: Final = 5
"""Percent between two reports of progress: each is a write to the API server."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def node_status(
    view: View,
    progress: reports.Progress | None = None,
    health: HealthReport | None = None,
    settings: SettingsReport | None = None,
) -> NodeStatus:
    """What the node says of itself.

    Args:
        view: A look at it.
        progress: The work that the daemon does now, as :meth:`proa.agent.api.jobs.Jobs.progress` tells it.
        health: What the last look at a trial's health found; none if nobody looked yet.
        settings: The node's settings.
    """
    accepted = view.record.order
    writing = Slot(progress.slot) if progress and progress.slot else None
    state = view.node_state(writing)
    return NodeStatus(
        observed_order=Observed(accepted.order.id, accepted.order.action.value, accepted.result.value)
        if accepted
        else None,
        phase=phase(view, state, accepted),
        booted=_booted(view),
        standby=_standby(view, writing),
        progress=_progress(progress) if progress and writing else None,
        last_error=_last_error(view, accepted),
        settings=_settings(settings) if settings else None,
        agent=VERSION,
        conditions=tuple(_conditions(view, state, health)),
    )


def phase(view: View, state: NodeState, accepted: AcceptedOrder | None) -> str:
    """What the node is doing; the first row that fits."""
    under_way = accepted.order.action if accepted and accepted.running else Action.NONE
    rows = (
        (state is NodeState.INCONSISTENT, Phase.FAILED),
        (state is NodeState.TRIAL, Phase.TRIAL),
        (state is NodeState.LEAVING or under_way in (Action.BOOT, Action.ROLLBACK), Phase.BOOTING),
        (state is NodeState.STAGING or under_way is Action.STAGE, Phase.STAGING),
        (state is NodeState.RETURNED, Phase.ROLLED_BACK),
        (accepted is not None and accepted.result is OrderResult.FAILED, Phase.FAILED),
        (state in (NodeState.STAGED, NodeState.ARMED) or _is_staged(view, accepted), Phase.STAGED),
        (view.is_good, Phase.GOOD),
    )
    return next((found for fits, found in rows if fits), Phase.IDLE)


def since(conditions: Iterable[Condition], before: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """The conditions with the time of their last change: that of before, where nothing changed."""
    known = {(one.type, one.status): one.last_transition_time for one in before}
    return tuple(
        dataclasses.replace(one, last_transition_time=known.get((one.type, one.status), now)) for one in conditions
    )


def _is_staged(view: View, accepted: AcceptedOrder | None) -> bool:
    """Whether the standby was good before, and is what was ordered to be there."""
    if accepted is None or accepted.order.action is not Action.STAGE or accepted.result is not OrderResult.DONE:
        return False
    other = view.record.slots.get(view.running.other)
    return other is not None and other.complete and other.manifest == accepted.digest


def _booted(view: View) -> Booted | None:
    if view.booted is None:
        return None
    known = known_slot(view, view.booted)
    return Booted(
        slot=view.booted.value,
        version=_cut(known.version, 128) if known else "",
        release=_fit(known.manifest, _DIGEST) if known else "",
        root_hash=_fit(known.root_hash, _HASH) if known else "",
        boot_id=_cut(view.boot_id, 64),
        committed=view.is_good,
        bytes=_moved(known),
    )


def _standby(view: View, writing: Slot | None) -> Standby:
    slot = view.running.other
    known = known_slot(view, slot)
    return Standby(
        slot=slot.value,
        version=_cut(known.version, 128) if known else "",
        release=_fit(known.manifest, _DIGEST) if known else "",
        root_hash=_fit(known.root_hash, _HASH) if known else "",
        state=view.slot_state(slot, writing).value,
        complete=known.complete if known else False,
        good=slot is view.state.good or view.state.alt,
        bytes=_moved(known),
    )


def _moved(known: SlotRecord | None) -> Moved | None:
    return Moved(**vars(known.bytes)) if known and known.bytes else None


def _progress(progress: reports.Progress) -> Progress:
    done, total = progress.done, progress.total
    percent = min(100, 100 * done // total) if total else 0
    return Progress(_cut(progress.step, 64), percent - percent % STRIDE)


def _last_error(view: View, accepted: AcceptedOrder | None) -> LastError | None:
    if accepted and accepted.result in (OrderResult.REFUSED, OrderResult.FAILED):
        return LastError(accepted.code, _cut(accepted.message, 2048))
    returned = view.record.returned
    by_order = accepted is not None and accepted.order.action is Action.ROLLBACK and accepted.result is OrderResult.DONE
    if returned and not by_order and view.node_state() is NodeState.RETURNED:
        return LastError(returned.code, _cut(returned.reason, 2048))
    return None


def _conditions(view: View, state: NodeState, health: HealthReport | None) -> Iterable[Condition]:
    if state is NodeState.TRIAL:
        yield _healthy(health)
    problem = view.problem
    if problem:
        yield Condition("Consistent", "False", problem.code.name, _cut(problem.message, 1024))
    else:
        yield Condition("Consistent", "True", "Agreed", "boot loader and boot state agree about this boot")
    if view.report:
        yield _persist(view)


def _persist(view: View) -> Condition:
    if view.persist:
        return Condition("PersistHealthy", "False", "ErrorsFound", _cut("; ".join(view.persist), 1024))
    return Condition("PersistHealthy", "True", "NoErrors", "the check at boot and the kernel found nothing wrong")


def _healthy(health: HealthReport | None) -> Condition:
    if health is None:
        return Condition("Healthy", "Unknown", "NotLookedYet", "no health check has run yet")
    if health.healthy:
        return Condition("Healthy", "True", "ChecksPassed", "all units and checks are healthy")
    return Condition("Healthy", "False", "ChecksFailed", _cut(health.summary, 1024))


def _settings(found: SettingsReport) -> SettingsState:
    return SettingsState(
        hash=found.hash,
        generation=found.generation,
        phase=found.phase.value,
        trial_hash=found.trial_hash,
        failed_hash=found.failed_hash,
        revision=found.revision,
        drift=tuple(_cut(one, 256) for one in found.drift[:MAX_NAMED]),
        refused=tuple(_cut(f"{one.key}: {one.message}", 256) for one in found.refused[:MAX_NAMED]),
        message=_cut(found.message, 1024),
    )


def _fit(text: str, pattern: re.Pattern[str]) -> str:
    """What the API server would take; nothing in place of what it would not."""
    return text if pattern.fullmatch(text) else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
