"""Plans and explanations, as text for people and as JSON (``proa.plan/v1``, ``proa.explain/v1``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from proa.core.schema.model import document
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Verdict
from proa.scheduler.report.explain import Explanation
from proa.scheduler.report.preview import Preview

PLAN: Final = "proa.plan/v1"
EXPLANATION: Final = "proa.explain/v1"
_MOST: Final = 60
"""Lines of nodes that a plan's text has, unless all are asked for."""
_HEADINGS: Final = ("#", "NODE", "WAVE", "STARTS", "DONE", "REASON")


def plan_document(preview: Preview, notes: Sequence[str] = ()) -> dict[str, Any]:
    """A plan, but for the two keys that all documents begin with; notes say what is not known."""
    return {
        "rollout": preview.rollout,
        "release": preview.release,
        "at": text(preview.now),
        "phase": preview.status.phase,
        "counts": document(preview.status.counts),
        "halted": preview.status.halted,
        "next_window": preview.status.next_window,
        "ends": _time(preview.ends),
        "notes": list(notes),
        "waves": [
            {"name": wave.name, "nodes": wave.nodes, "begins": text(wave.began), "ends": text(wave.ended)}
            for wave in preview.course.waves
        ],
        "nodes": [
            {
                "position": turn.position,
                "name": turn.node,
                "zone": turn.zone,
                "wave": turn.wave,
                "starts": _time(turn.starts),
                "ends": _time(turn.ends),
                **_reason(turn.verdict),
            }
            for turn in preview.turns
        ],
    }


def plan_text(preview: Preview, most: int = _MOST) -> str:
    """A plan for people.

    Args:
        preview: The plan.
        most: How many nodes are shown at most; 0 for all.
    """
    return "\n".join(_plan_lines(preview, most))


def explain_document(found: Explanation, notes: Sequence[str] = ()) -> dict[str, Any]:
    """An explanation, but for the two keys that all documents begin with; notes say what is not known."""
    os = found.os
    return {
        "node": found.node.name,
        "rollouts": list(found.rollouts),
        "release": found.release,
        "step": found.step,
        "reason": _reason(found.verdict) if found.verdict else None,
        "gates": [{**_reason(shut.verdict), "since": _time(shut.since)} for shut in found.shut],
        "blockers": [document(blocker) for blocker in found.blockers],
        "drain_until": _time(found.deadline),
        "next": list(found.next),
        "notes": list(notes),
        "order": document(os.order) if os and os.order else None,
        "status": document(os.status) if os and os.status else None,
    }


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
        return "no end in sight: only a person can move what is left"
    return f"{course.per_hour:.0f} nodes an hour; no further ahead was looked than {span(course.took)}"


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
        yield f"to be drained {_in(found.deadline, now)}"
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


def _reason(verdict: Verdict) -> dict[str, Any]:
    reason = verdict.reason
    return {"reason": reason.name, "text": reason.text, "detail": verdict.detail, "who": reason.who}


def _time(when: datetime | None) -> str | None:
    return text(when) if when is not None else None


def _in(when: datetime | None, now: datetime) -> str:
    if when is None:
        return "-"
    return f"in {span(when - now)}" if when > now else "now"


def _ago(when: datetime | None, now: datetime) -> str:
    return f"{span(now - when)} ago" if when is not None else "-"
