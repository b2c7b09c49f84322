"""What ``kubectl proa status`` shows: rollouts, their nodes, and what runs on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from proa.core.orders.messages import Booted, NodeStatus, Standby
from proa.core.schema.model import document, keys
from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import RolloutView, Snapshot, digest_of
from proa.scheduler.report.explain import selecting
from proa.scheduler.report.rendering import MOST, result_of, table, why
from proa.scheduler.report.reports import NodeReport, RolloutReport, Rollouts
from proa.scheduler.spec.rolloutstatus import Counts

_DONE: Final = frozenset({"", Reason.UpToDate.name, Reason.BackOnOld.name})
_DIGEST: Final = 19
"""Characters of a digest that people look at: the algorithm and twelve digits."""


def rows(snapshot: Snapshot, now: datetime, rollout: str = "") -> list[NodeReport]:
    """Nodes, those with something to do first.

    Args:
        snapshot: What is known.
        now: The time.
        rollout: Only nodes that this one selects; all if empty.
    """
    verdicts = plan(snapshot, now).verdicts
    found = []
    for name, node in sorted(snapshot.nodes.items()):
        chosen, os, verdict = selecting(snapshot, node), snapshot.oses.get(name), verdicts.get(name)
        row = NodeReport(
            name=name,
            zone=node.zone,
            ready=node.ready,
            cordoned=node.unschedulable,
            rollouts=chosen,
            reason=verdict.reason.name if verdict else "",
            detail=(verdict.detail or verdict.reason.text) if verdict else "",
            order=os.order if os else None,
            status=os.status if os else None,
        )
        if not rollout or rollout in chosen:
            found.append(row)
    return sorted(found, key=_is_done)


def _is_done(row: NodeReport) -> bool:
    """Whether there is nothing to do, and nothing to look at."""
    return row.ready and row.reason in _DONE


# for programs


def status_report(views: Sequence[RolloutView], found: Sequence[NodeReport], notes: Sequence[str] = ()) -> Rollouts:
    """The whole; notes say what is not known."""
    versions = dict(sorted(_versions(found).items()))
    return Rollouts(tuple(map(rollout_report, views)), versions, tuple(found), tuple(notes))


def rollout_report(view: RolloutView) -> RolloutReport:
    """A rollout."""
    status = view.status
    return RolloutReport(
        name=view.name,
        release=view.spec.release,
        phase=status.phase,
        observed=status.observed_generation == view.generation,
        problem=view.problem,
        paused=view.spec.paused,
        attempt=view.spec.attempt,
        progress=status.progress,
        counts=dict.fromkeys(keys(Counts), 0) | document(status.counts),
        wave=status.wave,
        halted=status.halted,
        next_window=status.next_window,
        started_at=status.started_at,
        completed_at=status.completed_at,
        failed_digests=status.failed_digests,
        blockers=status.blockers,
        conditions=status.conditions,
        history=status.history,
    )


# text


def status_text(views: Sequence[RolloutView], found: Sequence[NodeReport], *, alone: bool, most: int = MOST) -> str:
    """The whole for people.

    Args:
        views: Rollouts.
        found: Nodes.
        alone: Whether all there is to say of the rollouts is said.
        most: How many nodes are shown at most; 0 for all.
    """
    return "\n".join(_lines(views, found, alone, most))


def _lines(views: Sequence[RolloutView], found: Sequence[NodeReport], alone: bool, most: int) -> Iterator[str]:
    if not views:
        yield "There is no rollout: create one with 'kubectl proa start ROLLOUT REF'."
    yield from table([_rollout_row(view) for view in views])
    for view in views:
        yield from _remarks(view, alone)
    if found:
        yield ""
        yield from table([{"VERSION": name, "NODES": str(count)} for name, count in _versions(found).most_common()])
        yield ""
        yield from table([_node_row(row) for row in found], most)


def _rollout_row(view: RolloutView) -> dict[str, str]:
    status, counts = view.status, view.status.counts
    seen = status.observed_generation == view.generation
    return {
        "ROLLOUT": view.name,
        "PHASE": status.phase if seen else f"{status.phase or '-'} (not seen by a scheduler yet)",
        "DONE": status.progress,
        "STAGED": str(counts.staged),
        "UPDATING": str(counts.updating),
        "FAILED": str(counts.failed),
        "HELD": str(counts.held),
        "WAVE": status.wave,
        "NEXT WINDOW": status.next_window,
        "RELEASE": short(view.spec.release),
    }


def _remarks(view: RolloutView, alone: bool) -> Iterator[str]:
    """What a person should know of a rollout."""
    status, name = view.status, view.name
    if view.problem:
        yield f"{name}: the spec cannot be read: {view.problem}"
    if status.halted:
        yield f"{name}: halted: {status.halted}"
    for condition in status.conditions:
        if condition.type == "Valid" and condition.status == "False":
            yield f"{name}: {condition.reason}: {condition.message}"
    for blocker in status.blockers:
        yield f"{name}: {blocker.node} is blocked{why(blocker)}"
    if alone:
        yield f"{name}: release {view.spec.release}"
        for past in status.history:
            ended = f"{past.phase or 'unknown'} on {past.nodes} nodes, until {past.ended_at}"
            yield f"{name}: before: {past.release}: {ended}"


def _node_row(row: NodeReport) -> dict[str, str]:
    order, status = row.order, row.status or NodeStatus()
    booted, standby = status.booted or Booted(), status.standby or Standby()
    return {
        "NODE": row.name,
        "ZONE": row.zone,
        "READY": ("yes" if row.ready else "no") + (", cordoned" if row.cordoned else ""),
        "PHASE": (status.phase or "-") + (f" {status.progress.percent}%" if status.progress else ""),
        "SLOT": booted.slot,
        "VERSION": _version_of(booted),
        "STANDBY": _version_of(standby),
        "ORDER": f"{order.action.value} {result_of(order, status) or 'not seen'}" if order else "",
        "ERROR": _trouble(status),
        "REASON": f"{row.reason}: {row.detail}" if row.reason else "no rollout selects it",
    }


def _trouble(status: NodeStatus) -> str:
    """The code of what is wrong on a node: its last error, else what one of its conditions says."""
    if status.last_error is not None:
        return status.last_error.code
    return next((one.reason for one in status.conditions if one.status == "False"), "")


def _versions(found: Sequence[NodeReport]) -> Counter[str]:
    """How many nodes run what."""
    booted = (row.status.booted if row.status else None for row in found)
    return Counter((one and _version_of(one)) or "unknown" for one in booted)


def _version_of(slot: Booted | Standby) -> str:
    return slot.version or short(slot.release)


def short(release: str) -> str:
    """A reference, or a digest, as long as people need it."""
    digest = digest_of(release) or release
    return release.replace(digest, digest[:_DIGEST]) if digest.startswith("sha256:") else release
