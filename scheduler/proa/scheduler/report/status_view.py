"""What ``kubectl proa status`` shows: rollouts, their nodes, and what runs on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.core.orders.messages import NodeStatus
from proa.core.schema.model import document, keys
from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.views import NodeOSView, NodeView, RolloutView, Snapshot, digest_of
from proa.scheduler.report.rendering import table
from proa.scheduler.report.reports import NodeReport, RolloutReport, Rollouts
from proa.scheduler.spec.rolloutstatus import Counts
from proa.scheduler.spec.selectors import matches

MOST: Final = 60
"""Lines of nodes that are shown, unless all are asked for."""
_DONE: Final = frozenset({Reason.UpToDate, Reason.BackOnOld})
_DIGEST: Final = 19
"""Characters of a digest that people look at: the algorithm and twelve digits."""


@dataclass(frozen=True)
class Row:
    """A node.

    Attributes:
        node: Its view.
        os: Its object's; none if it has none.
        rollouts: Those that select it.
        verdict: Why it does or does not move; none if no rollout selects it.
    """

    node: NodeView
    os: NodeOSView | None
    rollouts: tuple[str, ...]
    verdict: Verdict | None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do, and nothing to look at."""
        return self.node.ready and (self.verdict is None or self.verdict.reason in _DONE)


def rows(snapshot: Snapshot, now: datetime, rollout: str = "") -> list[Row]:
    """Nodes, those with something to do first.

    Args:
        snapshot: What is known.
        now: The time.
        rollout: Only nodes that this one selects; all if empty.
    """
    verdicts = plan(snapshot, now).verdicts
    views = sorted(snapshot.rollouts.items())
    found = []
    for name, node in sorted(snapshot.nodes.items()):
        chosen = tuple(one for one, view in views if not view.problem and matches(view.spec.node_selector, node.labels))
        if not rollout or rollout in chosen:
            found.append(Row(node, snapshot.oses.get(name), chosen, verdicts.get(name)))
    return sorted(found, key=lambda row: row.is_done)


# for programs


def status_report(views: Sequence[RolloutView], found: Sequence[Row], notes: Sequence[str] = ()) -> Rollouts:
    """The whole; notes say what is not known."""
    versions = dict(sorted(_versions(found).items()))
    return Rollouts(tuple(map(rollout_report, views)), versions, tuple(map(_node_report, found)), tuple(notes))


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


def _node_report(row: Row) -> NodeReport:
    node, verdict = row.node, row.verdict
    return NodeReport(
        name=node.name,
        zone=node.zone,
        ready=node.ready,
        cordoned=node.unschedulable,
        rollouts=row.rollouts,
        reason=verdict.reason.name if verdict else "",
        detail=(verdict.detail or verdict.reason.text) if verdict else "",
        order=row.os.order if row.os else None,
        status=row.os.status if row.os else None,
    )


# text


def status_text(views: Sequence[RolloutView], found: Sequence[Row], *, alone: bool, most: int = MOST) -> str:
    """The whole for people.

    Args:
        views: Rollouts.
        found: Nodes.
        alone: Whether all there is to say of the rollouts is said.
        most: How many nodes are shown at most; 0 for all.
    """
    return "\n".join(_lines(views, found, alone, most))


def _lines(views: Sequence[RolloutView], found: Sequence[Row], alone: bool, most: int) -> Iterator[str]:
    if not views:
        yield "There is no rollout: create one with 'kubectl proa start ROLLOUT REF'."
    else:
        headings = (
            "ROLLOUT",
            "PHASE",
            "DONE",
            "STAGED",
            "UPDATING",
            "FAILED",
            "HELD",
            "WAVE",
            "NEXT WINDOW",
            "RELEASE",
        )
        yield from table([headings, *(_rollout_row(view) for view in views)])
    for view in views:
        yield from _remarks(view, alone)
    if versions := _versions(found):
        yield ""
        yield from table([("VERSION", "NODES"), *((name, str(count)) for name, count in versions.most_common())])
    if found:
        yield ""
        shown = found[:most] if most else found
        headings = ("NODE", "ZONE", "READY", "PHASE", "SLOT", "VERSION", "STANDBY", "ORDER", "ERROR", "REASON")
        yield from table([headings, *(_node_row(row) for row in shown)])
        if len(shown) < len(found):
            yield f"... and {len(found) - len(shown)} more (--all shows them)"


def _rollout_row(view: RolloutView) -> tuple[str, ...]:
    status, counts = view.status, view.status.counts
    seen = status.observed_generation == view.generation
    return (
        view.name,
        (status.phase or "-") if seen else f"{status.phase or '-'} (not seen by a scheduler yet)",
        status.progress or "-",
        str(counts.staged),
        str(counts.updating),
        str(counts.failed),
        str(counts.held),
        status.wave or "-",
        status.next_window or "-",
        short(view.spec.release),
    )


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
        what = blocker.pod or blocker.volume
        about = f" by {what}" if what else ""
        since = f", since {blocker.since}" if blocker.since else ""
        yield f"{name}: {blocker.node} is blocked{about}: {blocker.reason}{since}"
    if alone:
        yield f"{name}: release {view.spec.release}"
        for past in status.history:
            ended = f"{past.phase or 'unknown'} on {past.nodes} nodes, until {past.ended_at}"
            yield f"{name}: before: {past.release}: {ended}"


def _node_row(row: Row) -> tuple[str, ...]:
    node, status = row.node, row.os.status if row.os else None
    order = row.os.order if row.os else None
    booted, standby = (status.booted, status.standby) if status else (None, None)
    observed = status.observed_order if status else None
    result = observed.result if observed and order and observed.id == order.id else "not seen"
    progress = f" {status.progress.percent}%" if status and status.progress else ""
    return (
        node.name,
        node.zone or "-",
        ("yes" if node.ready else "no") + (", cordoned" if node.unschedulable else ""),
        ((status.phase or "-") + progress) if status else "-",
        (booted.slot or "-") if booted else "-",
        _version_of(row) or "-",
        (standby.version or short(standby.release) or "-") if standby else "-",
        f"{order.action.value} {result}" if order else "-",
        _trouble(status) or "-",
        str(row.verdict) if row.verdict else "no rollout selects it",
    )


def _trouble(status: NodeStatus | None) -> str:
    """The code of what is wrong on a node: its last error, else what one of its conditions says."""
    if status is None:
        return ""
    if status.last_error is not None:
        return status.last_error.code
    return next((one.reason for one in status.conditions if one.status == "False"), "")


def _versions(found: Sequence[Row]) -> Counter[str]:
    """How many nodes run what."""
    return Counter(_version_of(row) or "unknown" for row in found)


def _version_of(row: Row) -> str:
    booted = row.os.status.booted if row.os and row.os.status else None
    return (booted.version or short(booted.release)) if booted else ""


def short(release: str) -> str:
    """A reference, or a digest, as long as people need it."""
    digest = digest_of(release) or release
    return release.replace(digest, digest[:_DIGEST]) if digest.startswith("sha256:") else release
