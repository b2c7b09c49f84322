"""What ``kubectl proa status`` shows: rollouts, their nodes, and what runs on them."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from proa.core.orders.messages import Booted, NodeStatus, Phase, Standby
from proa.core.runtime.events import human_bytes
from proa.core.schema.model import document, keys
from proa.scheduler.planning.ordered import result_of
from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.views import NodeView, RolloutView, Snapshot, digest_of, named_group
from proa.scheduler.report.explain import selecting
from proa.scheduler.report.preview import find
from proa.scheduler.report.rendering import MOST, table, why
from proa.scheduler.report.reports import NodeReport, RolloutReport, Rollouts
from proa.scheduler.spec.rolloutstatus import Counts

_DONE: Final = frozenset({"", Reason.UpToDate.name, Reason.BackOnOld.name})
_FAILED: Final = frozenset(
    one.name
    for one in (
        Reason.BackingOff,
        Reason.GivenUp,
        Reason.Parked,
        Reason.WriteRefused,
        Reason.Undrainable,
        Reason.ForeignTrial,
        Reason.ForeignMark,
        Reason.NothingToReturnTo,
        Reason.AgentSilent,
        Reason.CannotBeSet,
        Reason.DisturbsMore,
        Reason.Conflict,
    )
)
"""Reasons that a person should look at."""
_UNDER_WAY: Final = frozenset(
    one.name
    for one in (
        Reason.Staging,
        Reason.StageNext,
        Reason.Next,
        Reason.Draining,
        Reason.AwaitingPods,
        Reason.Booting,
        Reason.Proving,
        Reason.Committing,
        Reason.Configuring,
        Reason.ProvingSettings,
        Reason.Finishing,
        Reason.TakingBack,
    )
)
_NODE: Final = 30
"""Characters of a node's name in a table that fits a terminal."""
_VERSION: Final = 14
_DIGEST: Final = 19
"""Characters of a digest that people look at: the algorithm and twelve digits."""


class Urgency(enum.IntEnum):
    """How soon a person should look at a node."""

    FAILED = 0
    AWAY = 1
    """It is not Ready, and not because of its turn."""
    UNDER_WAY = 2
    WAITS = 3
    DONE = 4


def status_report(snapshot: Snapshot, now: datetime, rollout: str = "", notes: Sequence[str] = ()) -> Rollouts:
    """Rollouts, and nodes, those with something to do first.

    Args:
        snapshot: What is known.
        now: The time.
        rollout: Only this one, and nodes that it selects; all if empty.
        notes: What is not known.

    Raises:
        ProaError: ``CLUSTER_MISSING`` when there is no such rollout.
    """
    views = [find(snapshot, rollout)] if rollout else [view for _, view in sorted(snapshot.rollouts.items())]
    verdicts = plan(snapshot, now).verdicts
    nodes = [_node_report(snapshot, node, verdicts.get(name)) for name, node in sorted(snapshot.nodes.items())]
    found = sorted((node for node in nodes if not rollout or rollout in node.rollouts), key=urgency)
    versions = Counter(_version_of(node.status.booted if node.status else None) or "unknown" for node in found)
    return Rollouts(tuple(map(rollout_report, views)), dict(sorted(versions.items())), tuple(found), tuple(notes))


def _node_report(snapshot: Snapshot, node: NodeView, verdict: Verdict | None) -> NodeReport:
    os = snapshot.oses.get(node.name)
    return NodeReport(
        name=node.name,
        zone=node.zone,
        ready=node.ready,
        cordoned=node.unschedulable,
        rollouts=selecting(snapshot, node),
        reason=verdict.reason.name if verdict else "",
        detail=(verdict.detail or verdict.reason.text) if verdict else "",
        order=os.order if os else None,
        status=os.status if os else None,
    )


def urgency(row: NodeReport) -> Urgency:
    """How urgent a node is: those on which something failed come first."""
    if row.reason in _FAILED or (row.status is not None and row.status.last_error is not None):
        return Urgency.FAILED
    if row.reason in _UNDER_WAY:
        return Urgency.UNDER_WAY
    if not row.ready:
        return Urgency.AWAY
    return Urgency.DONE if row.reason in _DONE else Urgency.WAITS


def rollout_report(view: RolloutView) -> RolloutReport:
    """A rollout."""
    own: dict[str, Any] = {
        "name": view.name,
        "release": view.spec.release,
        "observed": view.status.observed_generation == view.generation,
        "problem": view.problem,
        "paused": view.spec.paused,
        "attempt": view.spec.attempt,
        "approved": view.approved,
        "approved_groups": view.approved_groups,
        "counts": dict.fromkeys(keys(Counts), 0) | document(view.status.counts),
    }
    return RolloutReport(**own, **{key: getattr(view.status, key) for key in keys(RolloutReport) if key not in own})


# text


@dataclass(frozen=True)
class Look:
    """How a report looks.

    Attributes:
        alone: Whether all there is to say of the rollouts is said.
        most: How many nodes are shown at most; 0 for all.
        wide: Whether every column is shown, however wide that is.
        width: Columns that the other tables have at most.
        colour: Whether lines of nodes are coloured by how urgent they are.
    """

    alone: bool = False
    most: int = MOST
    wide: bool = False
    width: int = 80
    colour: bool = False


def status_lines(found: Rollouts, look: Look = Look()) -> Iterator[str]:
    """The whole for people."""
    if not found.rollouts:
        yield "There is no rollout: create one with 'kubectl proa start ROLLOUT REF'."
    row = _rollout_row if look.wide else _rollout
    yield from _fitted([row(rollout) for rollout in found.rollouts], look)
    for rollout in found.rollouts:
        yield from _remarks(rollout, look)
    if found.nodes:
        versions = sorted(found.versions.items(), key=lambda one: -one[1])
        yield ""
        yield from table([{"VERSION": version, "NODES": str(count)} for version, count in versions])
        yield ""
        yield from _nodes(found.nodes, look)
        if not look.wide:
            yield from _reasons(found.nodes)


def _fitted(rows: Sequence[Mapping[str, str]], look: Look) -> Iterator[str]:
    """A table whose lines end at the width, unless it is a wide one."""
    for line in table(rows):
        yield line if look.wide else _cut(line, look.width)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _nodes(nodes: Sequence[NodeReport], look: Look) -> Iterator[str]:
    """The table of nodes, one line each."""
    shown = nodes[: look.most or None]
    head, *lines = _fitted([(_node_row if look.wide else _node)(node) for node in shown], look)
    yield head
    for node, line in zip(shown, lines, strict=True):
        yield Painted.of(line, _COLOURS[urgency(node)]) if look.colour else line
    if len(shown) < len(nodes):
        yield f"... and {len(nodes) - len(shown)} more (--all shows them)"


_COLOURS: Final = {
    Urgency.FAILED: "red",
    Urgency.AWAY: "yellow",
    Urgency.UNDER_WAY: "cyan",
    Urgency.WAITS: "",
    Urgency.DONE: "green",
}


class Painted(str):
    """A line with a colour."""

    __slots__ = ("colour",)
    colour: str

    @classmethod
    def of(cls, line: str, colour: str) -> Painted:
        """A line, and the colour in which a terminal shows it; its usual one if empty."""
        made = cls(line)
        made.colour = colour
        return made


def _reasons(nodes: Sequence[NodeReport]) -> Iterator[str]:
    """What the reasons in the table mean, each once."""
    counts = Counter(node.reason for node in nodes if node.reason and node.reason not in _DONE)
    if counts:
        yield ""
    for name, count in counts.most_common():
        yield f"{name} ({count}): {Reason[name].text}"


def _rollout(rollout: RolloutReport) -> dict[str, str]:
    counts = rollout.counts
    return {
        "ROLLOUT": rollout.name,
        "DONE": rollout.progress,
        "FAILED": str(counts["failed"]),
        "WAVE": rollout.wave,
        "PHASE": rollout.phase if rollout.observed else f"{rollout.phase or '-'} (not seen by a scheduler yet)",
    }


def _rollout_row(rollout: RolloutReport) -> dict[str, str]:
    counts = rollout.counts
    return {
        "ROLLOUT": rollout.name,
        "PHASE": rollout.phase if rollout.observed else f"{rollout.phase or '-'} (not seen by a scheduler yet)",
        "DONE": rollout.progress,
        "STAGED": str(counts["staged"]),
        "UPDATING": str(counts["updating"]),
        "FAILED": str(counts["failed"]),
        "HELD": str(counts["held"]),
        "WAVE": rollout.wave,
        "NEXT WINDOW": rollout.next_window,
        "RELEASE": short(rollout.release),
    }


def _remarks(rollout: RolloutReport, look: Look) -> Iterator[str]:
    """What a person should know of a rollout."""
    name = rollout.name
    if rollout.next_window and not look.wide:
        yield f"{name}: the next window opens at {rollout.next_window}"
    if rollout.problem:
        yield f"{name}: the spec cannot be read: {rollout.problem}"
    if rollout.approved:
        yield f"{name}: approved by {rollout.approved}"
    for group, said in rollout.approved_groups.items():
        yield f"{name}: {named_group(group)} approved by {said}"
    if rollout.halted:
        yield f"{name}: halted: {rollout.halted}"
    for condition in rollout.conditions:
        if condition.type == "Valid" and condition.status == "False":
            yield f"{name}: {condition.reason}: {condition.message}"
    for blocker in rollout.blockers:
        yield f"{name}: {blocker.node} is blocked{why(blocker)}"
    if look.alone:
        yield f"{name}: release {rollout.release}"
        for past in rollout.history:
            ended = f"{past.phase or 'unknown'} on {past.nodes} nodes, until {past.ended_at}"
            yield f"{name}: before: {past.release}: {ended}"


def _node(row: NodeReport) -> dict[str, str]:
    status, name = row.status or NodeStatus(), row.name
    phase = (status.phase or "-") + (f" {status.progress.percent}%" if status.progress else "")
    away = "" if row.ready else "not Ready" + (", cordoned" if row.cordoned else "")
    known = row.reason and row.detail == Reason[row.reason].text
    detail = "" if known else row.detail
    return {
        "NODE": name if len(name) <= _NODE else name[: _NODE - 1] + "\N{HORIZONTAL ELLIPSIS}",
        "REASON": row.reason or "no rollout",
        "PHASE": phase,
        "VERSION": _version_of(status.booted)[:_VERSION],
        "DETAIL": "; ".join(filter(None, (_trouble(status), away, detail))),
    }


def _node_row(row: NodeReport) -> dict[str, str]:
    order, status = row.order, row.status or NodeStatus()
    return {
        "NODE": row.name,
        "ZONE": row.zone,
        "READY": ("yes" if row.ready else "no") + (", cordoned" if row.cordoned else ""),
        "PHASE": (status.phase or "-") + (f" {status.progress.percent}%" if status.progress else ""),
        "SLOT": status.booted.slot if status.booted else "",
        "VERSION": _version_of(status.booted),
        "STANDBY": _version_of(status.standby),
        "FETCHED": _fetched(status),
        "ORDER": f"{order.action.value} {result_of(order, status) or 'not seen'}" if order else "",
        "ERROR": _trouble(status),
        "REASON": f"{row.reason}: {row.detail}" if row.reason else "no rollout selects it",
    }


def _fetched(status: NodeStatus) -> str:
    """What the node fetched of the release that it goes to, or runs."""
    slot = status.standby if status.phase in (Phase.STAGED, Phase.BOOTING) else status.booted
    return human_bytes(slot.bytes.fetch) if slot and slot.bytes else ""


def _trouble(status: NodeStatus) -> str:
    """The code of what is wrong on a node: its last error, else what one of its conditions says."""
    if status.last_error is not None:
        return status.last_error.code
    return next((one.reason for one in status.conditions if one.status == "False"), "")


def _version_of(slot: Booted | Standby | None) -> str:
    return (slot.version or short(slot.release)) if slot else ""


def short(release: str) -> str:
    """A reference, or a digest, as long as people need it."""
    digest = digest_of(release) or release
    return release.replace(digest, digest[:_DIGEST]) if digest.startswith("sha256:") else release
