"""Plans and explanations, as text for people and as JSON (``proa.plan/v1``, ``proa.explain/v1``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from proa.scheduler.kube.times import text
from proa.scheduler.report.explain import Explanation
from proa.scheduler.report.preview import Preview, Turn
from proa.scheduler.report.reports import (
    Because,
    ExplanationReport,
    PlannedNode,
    PlannedWave,
    PlanReport,
    ShutGate,
    because,
)

MOST: Final = 60
"""Lines of nodes that a plan's text has, unless all are asked for."""
_HEADINGS: Final = ("#", "NODE", "WAVE", "STARTS", "DONE", "REASON")


def plan_report(preview: Preview, notes: Sequence[str] = ()) -> PlanReport:
    """A plan for programs; notes say what is not known."""
    status = preview.status
    return PlanReport(
        rollout=preview.rollout,
        release=preview.release,
        at=text(preview.now),
        phase=status.phase,
        counts=status.counts,
        halted=status.halted,
        next_window=status.next_window,
        ends=_time(preview.ends),
        notes=tuple(notes),
        waves=tuple(PlannedWave(one.name, one.nodes, text(one.began), text(one.ended)) for one in preview.course.waves),
        nodes=tuple(map(_planned, preview.turns)),
    )


def _planned(turn: Turn) -> PlannedNode:
    times = _time(turn.starts), _time(turn.ends)
    return PlannedNode(*because(turn.verdict), turn.position, turn.node, turn.zone, turn.wave, *times)


def plan_text(preview: Preview, most: int = MOST) -> str:
    """A plan for people.

    Args:
        preview: The plan.
        most: How many nodes are shown at most; 0 for all.
    """
    return "\n".join(_plan_lines(preview, most))


def explain_report(found: Explanation, notes: Sequence[str] = ()) -> ExplanationReport:
    """An explanation for programs; notes say what is not known."""
    return ExplanationReport(
        node=found.node.name,
        rollouts=found.rollouts,
        release=found.release,
        step=found.step,
        reason=Because(*because(found.verdict)) if found.verdict else None,
        gates=tuple(ShutGate(*because(shut.verdict), _time(shut.since)) for shut in found.shut),
        blockers=found.blockers,
        drain_until=_time(found.deadline),
        next=found.next,
        notes=tuple(notes),
        order=found.os.order if found.os else None,
        status=found.os.status if found.os else None,
    )


def explain_text(found: Explanation, now: datetime) -> str:
    """An explanation for people."""
    return "\n".join(_explain_lines(found, now))


# inside


def _plan_lines(preview: Preview, most: int) -> Iterator[str]:
    counts, status = preview.status.counts, preview.status
    yield f"{preview.rollout}: {status.phase}, {counts.up_to_date} of {counts.nodes} nodes are done"
    yield f"release: {preview.release}"
    if status.halted:
        yield f"halted: {status.halted}"
    if status.next_window:
        yield f"next window: {status.next_window}"
    for wave in preview.course.waves:
        name, begins, ends = wave.name or "(no zone)", _in(wave.began, preview.now), _in(wave.ended, preview.now)
        yield f"wave {name}: {wave.nodes} nodes, {begins} to {ends}"
    yield _end(preview)
    yield ""
    shown = preview.turns[:most] if most else preview.turns
    yield from table(
        [
            _HEADINGS,
            *(
                (
                    str(turn.position or "-"),
                    turn.node,
                    turn.wave or "-",
                    _in(turn.starts, preview.now),
                    _in(turn.ends, preview.now),
                    str(turn.verdict),
                )
                for turn in shown
            ),
        ]
    )
    if len(shown) < len(preview.turns):
        yield f"... and {len(preview.turns) - len(shown)} more (--all shows them)"


def _end(preview: Preview) -> str:
    """When it is done, or why that is not known."""
    course = preview.course
    if preview.ends:
        return f"about done {_in(preview.ends, preview.now)}"
    if course.came_to_an_end or not course.ways:
        return "no end in sight: only a person can help the remaining nodes"
    return f"{course.per_hour:.0f} nodes an hour; the preview ends after {span(course.took)}"


def _explain_lines(found: Explanation, now: datetime) -> Iterator[str]:
    name = found.node.name
    if not found.rollouts:
        yield f"{name}: no rollout selects it."
        return
    yield f"{name}: {found.progress or 'No rollout counts it.'}"
    yield f"rollout: {', '.join(found.rollouts)}"
    os = found.os
    booted = os.status.booted if os and os.status else None
    if booted is not None:
        state = "committed" if booted.committed else "on trial"
        yield f"runs: {booted.version or booted.release or 'unknown'} in slot {booted.slot or '?'}, {state}"
    if os and os.order:
        observed = os.status.observed_order if os.status else None
        result = observed.result if observed and observed.id == os.order.id else "not seen yet"
        yield f"order: {os.order.id} {os.order.action.value}, {result}"
    if os and os.status and os.status.last_error:
        yield f"last error: {os.status.last_error.code}: {os.status.last_error.message}"
    for condition in os.status.conditions if os and os.status else ():
        if condition.status == "False":
            yield f"{condition.type} is False: {condition.reason}: {condition.message}"
    if not found.shut:
        yield f"{found.verdict}" if found.verdict else "nothing holds it back"
        return
    yield ""
    headings = ("REASON", "SINCE", "WHO CAN CHANGE IT", "WHAT")
    yield from table(
        [
            headings,
            *(
                (
                    shut.verdict.reason.name,
                    _ago(shut.since, now),
                    shut.who,
                    shut.verdict.detail or shut.verdict.reason.text,
                )
                for shut in found.shut
            ),
        ]
    )
    if found.deadline:
        yield f"drain deadline {_in(found.deadline, now)}"
    for blocker in found.blockers:
        what = blocker.pod or blocker.volume
        since = f", since {blocker.since}" if blocker.since else ""
        yield f"blocked by {what}: {blocker.reason}{since}"


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a table whose columns are as wide as they need; the last one is not filled up."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        yield "  ".join((*cells, row[-1])).rstrip()


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


def _time(when: datetime | None) -> str | None:
    return text(when) if when is not None else None


def _in(when: datetime | None, now: datetime) -> str:
    if when is None:
        return "-"
    return f"in {span(when - now)}" if when > now else "now"


def _ago(when: datetime | None, now: datetime) -> str:
    return f"{span(now - when)} ago" if when is not None else "-"
