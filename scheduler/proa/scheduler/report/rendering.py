"""Plans and explanations as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from proa.scheduler.kube.times import read
from proa.scheduler.planning.node_step import NodeStep
from proa.scheduler.planning.ordered import result_of
from proa.scheduler.report.preview import Preview
from proa.scheduler.report.reports import ExplanationReport
from proa.scheduler.simulation.simulate import STOPPED
from proa.scheduler.spec.rolloutstatus import Blocker

MOST: Final = 60
"""Lines of nodes that a text has, unless all are asked for."""


def plan_lines(preview: Preview, most: int = MOST) -> Iterator[str]:
    """A plan.

    Args:
        preview: The plan.
        most: How many nodes are shown at most; 0 for all.
    """
    found, now = preview.report, read(preview.report.at)
    yield f"{found.rollout}: {found.phase}, {found.counts.up_to_date} of {found.counts.nodes} nodes are done"
    yield f"release: {found.release}"
    if found.halted:
        yield f"halted: {found.halted}"
    if found.next_window:
        yield f"next window: {found.next_window}"
    for wave in found.waves:
        times = f"{_in(wave.begins, now)} to {_in(wave.ends, now)}"
        yield f"wave {wave.name or '(no zone)'}: {wave.nodes} nodes, {times}"
    yield f"about done {_in(found.ends, now)}" if found.ends else _no_end(preview)
    yield ""
    rows = [
        {
            "#": str(node.position or ""),
            "NODE": node.name,
            "WAVE": node.wave,
            "STARTS": _in(node.starts, now),
            "DONE": _in(node.ends, now),
            "REASON": str(node),
        }
        for node in found.nodes
    ]
    yield from table(rows, most)


def _no_end(preview: Preview) -> str:
    """Why it is not known when it is done."""
    course, found = preview.course, preview.report
    status = course.statuses.get(found.rollout)
    ended = status.phase if status is not None and course.came_to_an_end else found.phase
    if ended in STOPPED:
        return f"not done: it ends as {ended}; see 'kubectl proa status {found.rollout}' for what a person can do"
    if course.came_to_an_end or not course.ways:
        return "no end in sight: only a person can help the remaining nodes"
    return f"{course.per_hour:.0f} nodes an hour; the preview ends after {span(course.took)}"


def explain_lines(found: ExplanationReport, now: datetime) -> Iterator[str]:
    """An explanation."""
    if not found.rollouts:
        yield f"{found.node}: no rollout selects it."
        return
    yield f"{found.node}: {NodeStep[found.step].value if found.step else 'No rollout counts it.'}"
    yield f"rollout: {', '.join(found.rollouts)}"
    order, status = found.order, found.status
    if status and (booted := status.booted):
        state = "committed" if booted.committed else "on trial"
        yield f"runs: {booted.version or booted.release or 'unknown'} in slot {booted.slot or '?'}, {state}"
    if order:
        yield f"order: {order.id} {order.action.value}, {result_of(order, status) or 'not seen yet'}"
    if status and status.last_error:
        yield f"last error: {status.last_error.code}: {status.last_error.message}"
    for condition in status.conditions if status else ():
        if condition.status == "False":
            yield f"{condition.type} is False: {condition.reason}: {condition.message}"
    if not found.gates:
        yield str(found.reason or "nothing holds it back")
        return
    yield ""
    rows = [
        {
            "REASON": gate.reason,
            "SINCE": _ago(gate.since, now),
            "WHO CAN CHANGE IT": gate.who,
            "WHAT": gate.detail or gate.text,
        }
        for gate in found.gates
    ]
    yield from table(rows)
    if found.drain_until:
        yield f"drain deadline {_in(found.drain_until, now)}"
    yield from (f"blocked{why(blocker)}" for blocker in found.blockers)


def why(blocker: Blocker) -> str:
    """What is in the way of a drain, and since when."""
    what = blocker.pod or blocker.volume
    return (
        (f" by {what}" if what else "") + f": {blocker.reason}" + (f", since {blocker.since}" if blocker.since else "")
    )


def table(rows: Sequence[Mapping[str, str]], most: int = 0) -> Iterator[str]:
    """Lines of a table whose columns are as wide as they need; the last one is not filled up, and no cell is empty.

    Args:
        rows: Cells by heading.
        most: How many rows are shown at most; 0 for all.
    """
    shown = rows[:most] if most else rows
    lines = [tuple(row) for row in shown[:1]] + [tuple(cell or "-" for cell in row.values()) for row in shown]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        yield "  ".join((*cells, line[-1])).rstrip()
    if len(shown) < len(rows):
        yield f"... and {len(rows) - len(shown)} more (--all shows them)"


def span(time: timedelta) -> str:
    """``2d 3h``, ``3h 5m``, ``5m 10s``, ``10s``."""
    seconds = max(0, round(time.total_seconds()))
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for number, (unit, size) in enumerate(units):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            finer = f" {rest // units[number + 1][1]}{units[number + 1][0]}" if number < 3 else ""
            return f"{whole}{unit}{finer}".removesuffix(" 0s").removesuffix(" 0m").removesuffix(" 0h")
    return "0s"


def _in(said: str | None, now: datetime | None) -> str:
    when = read(said or "")
    if when is None or now is None:
        return ""
    return f"in {span(when - now)}" if when > now else "now"


def _ago(said: str | None, now: datetime) -> str:
    when = read(said or "")
    return f"{span(now - when)} ago" if when is not None else ""
