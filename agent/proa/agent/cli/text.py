"""Reports as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator

from proa.agent.node.record import Bytes, Returned
from proa.agent.node.reports import (
    Change,
    ForgottenOrder,
    Installed,
    PlannedInstall,
    ReturnedTrial,
    Scrubbed,
    Status,
)
from proa.agent.node.states import SlotState
from proa.core.runtime.events import human_bytes
from proa.core.runtime.printable import printable


def describe_status(told: Status) -> str:
    """``proa.status/v1``."""
    return printable("\n".join(_status_lines(told)))


def _status_lines(told: Status) -> Iterator[str]:
    yield f"{told.state.value}: {told.meaning}"
    for slot, holds in told.slots.items():
        roles = {"booted": told.booted, "good": told.good, "trial": told.trial}
        empty = holds.state is SlotState.EMPTY
        marks = ", ".join(role for role, one in roles.items() if one is slot and not empty)
        yield f"  slot {slot.value}  {holds.version or '-':<20} {holds.state.value:<9} {marks}".rstrip()
        if holds.root_hash:
            yield f"          root {holds.root_hash}"
        if holds.bytes:
            yield f"          {describe_bytes(holds.bytes)}"
    if told.trial:
        yield f"  attempts left:  {told.left}"
    if told.problem:
        yield f"  problem: {told.problem.message}"
    yield from (f"  warning: {warning}" for warning in told.warnings)
    if told.persist_encrypted:
        yield "  PERSIST is encrypted"
    if now := told.progress:
        yield f"  now: {now.verb}, {now.step} {now.done} of {now.total} bytes"
    if last := told.last:
        yield f"  last: {last.verb} at {last.time}: {'done' if last.ok else f'{last.code}: {last.message}'}"
    if order := told.order:
        why = f": {order.code}: {order.message}" if order.code else ""
        yield f"  order: {order.id}, {order.action}: {order.result}{why}"
    if seen := told.health:
        well = f"healthy for {seen.steady:.0f} s of {seen.wanted:g} s" if seen.steady or seen.healthy else "not well"
        looked = f"{len(seen.units)} required units, {seen.services} services, {len(seen.checks)} checks"
        yield f"  health: {well}; looked at {looked} at {seen.time}"
        yield from (f"    {failure.what}: {failure.why}" for failure in seen.failures)
        yield from (f"    {unit}: restarted {count} times" for unit, count in seen.restarts.items())
    if back := told.returned:
        yield from (f"  {line}" for line in _returned_lines(back, kernel=5))
    if set_to := told.settings:
        yield f"  settings: {set_to.phase}, generation {set_to.generation}, document {set_to.hash[:12]}"
        yield from (f"    drift: {one}" for one in set_to.drift)
    if hidden := told.etc.hidden:
        yield f"  /etc: {len(hidden)} files hide the release's:  {', '.join(hidden[:10])}"


def describe_returned(told: ReturnedTrial) -> str:
    """``proa.returned/v1``."""
    back = told.returned
    when = f"slot {back.slot}, noticed at {back.time}, cause: {back.cause or 'unknown'}"
    return printable("\n".join([*_returned_lines(back, kernel=len(back.kernel)), f"  {when}"]))


def _returned_lines(back: Returned, kernel: int) -> Iterator[str]:
    yield f"returned: {back.version}: {back.reason}"
    yield from (f"  {failure.what}: {failure.why}" for failure in back.failures)
    yield from (f"  kernel: {line}" for line in back.kernel[-kernel:] if kernel)
    if back.journal:
        yield f"  journal: {back.journal} (proa-agent returned --journal)"


def describe_plan(plan: PlannedInstall) -> str:
    """``proa.install-plan/v1``."""
    lines = [f"{plan.release.name} {plan.release.version} -> slot {plan.slot.value}"]
    lines += [f"  {number}. {action}" for number, action in enumerate(plan.actions, 1)]
    lines += [] if plan.bytes.write or plan.bytes.keep else ["  nothing to write: the good slot holds it"]
    return "\n".join([*lines, f"  {describe_bytes(plan.bytes)}"])


def describe_bytes(sizes: Bytes) -> str:
    """Bytes by origin."""
    return ", ".join(f"{name} {human_bytes(count)}" for name, count in vars(sizes).items())


def describe_install(done: Installed) -> str:
    """``proa.install/v1``."""
    release = f"{done.release.name} {done.release.version}"
    if done.unchanged:
        what = "the other slot was disarmed" if done.taken_back else "nothing to do"
        return f"{release} is what the good slot holds: {what}"
    armed, size = ", armed" if done.activated else "", done.bytes.write
    told = f"{human_bytes(size)} written in {done.seconds:.1f} s" if size else "it was there already"
    return f"{release} is in slot {done.slot.value}{armed}: {told}, peak memory {human_bytes(done.peak_memory)}"


def describe_change(change: Change) -> str:
    """``proa.change/v1``."""
    planned = "would: " if change.dry_run else ""
    trial = f", trial {change.trial.value} with {change.left} attempts" if change.trial else ""
    return f"{planned}{'; '.join(change.actions)}\n{change.state.value}: good slot {change.good.value}{trial}"


def describe_forgotten(found: ForgottenOrder) -> str:
    """``proa.orders-forgotten/v1``."""
    if found.order is None:
        return "no order has been given yet"
    would = "would be" if found.dry_run else "are"
    return f"the numbers of order {found.order.id} (fence {found.order.fence}) {would} forgotten"


def describe_scrub(found: Scrubbed) -> str:
    """``proa.scrub/v1``."""
    return f"slot {found.slot.value}: {found.blocks} blocks are intact"
