"""What ``proa-scheduler`` and ``kubectl proa`` print with ``--json``, field by field; the schemas are made from it.

What is taken from an object of the cluster has that object's own names, in camel case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from proa.core.orders.messages import Condition, NodeStatus, Order
from proa.core.schema.json_schema import Schema, json_schema
from proa.core.schema.model import Part, Report, field, keys, limits
from proa.core.schema.values import Count, Positive, Seconds
from proa.scheduler.install.removal import Uninstalled
from proa.scheduler.install.render import Manifests
from proa.scheduler.planning.reasons import Verdict
from proa.scheduler.simulation.simulate import Trouble, Wave
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Blocker, Counts, PastRollout, RolloutStatus

Fence = Annotated[int, limits(minimum=-1)]


@dataclass(frozen=True)
class Because(Part):
    """Why a node does or does not move."""

    reason: str = field("The reason, in one word (docs/reference/reasons.md).")
    text: str = field("The reason, in a sentence.")
    detail: str = field("Details; empty if there are none.")
    who: str = field("Who can change it; `-` if there is nothing to change.")

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail or self.text}"


def because(verdict: Verdict) -> tuple[str, str, str, str]:
    """The fields of a :class:`Because`."""
    return verdict.reason.name, verdict.reason.text, verdict.detail, verdict.reason.who


# kubectl proa status, start, pause, resume, rollback


@dataclass(frozen=True)
class RolloutReport(Part):
    """A rollout."""

    name: str = field("Its name.")
    release: str = field("The target release, by digest.")
    phase: str = field("What it is doing; empty until a scheduler has seen it.")
    observed: bool = field("Whether this report reflects the current spec.")
    problem: str = field("Why its spec cannot be read; empty if it can.")
    paused: bool = field("Whether it is paused.")
    attempt: Count = field("The attempt in the spec.")
    approved: str = field("Who has approved the release, and when; empty if nobody has.")
    approved_groups: Mapping[str, str] = field("The same by group; `in_no_group` for nodes in none.")
    progress: str = field("Nodes up to date, of all: `3/12`.")
    counts: Mapping[str, int] = field("Numbers of nodes by state.", keys=keys(Counts))
    wave: str = field("Whose turn it is; empty if no node is under way.")
    halted: str = field("Why it halted; empty if it did not.")
    next_window: str = field("When the next window opens (RFC 3339, UTC); empty while one is open.")
    started_at: str = field("When it started (RFC 3339, UTC); empty if it has not.")
    completed_at: str = field("When all were up to date (RFC 3339, UTC); empty if they are not.")
    failed_digests: tuple[str, ...] = field("Releases that failed too often.")
    blockers: tuple[Blocker, ...] = field("What keeps nodes from being drained.")
    conditions: tuple[Condition, ...] = field("Its conditions.")
    history: tuple[PastRollout, ...] = field("Earlier targets, the latest first.")


@dataclass(frozen=True)
class NodeReport(Part):
    """A node."""

    name: str = field("Its name.")
    zone: str = field("Its zone; empty if it has none.")
    ready: bool = field("Whether it is Ready.")
    cordoned: bool = field("Whether it is cordoned.")
    rollouts: tuple[str, ...] = field("Rollouts that select it.")
    reason: str = field("Why it does or does not move; empty if no rollout selects it.")
    detail: str = field("The same, in a sentence.")
    order: Order | None = field("Its order; null if it has none.")
    status: NodeStatus | None = field("What it reports; null if it has not reported yet.")


@dataclass(frozen=True)
class Rollouts(Report, schema="proa.rollouts/v1"):
    """`kubectl proa status`."""

    rollouts: tuple[RolloutReport, ...] = field("The requested rollout, or all.")
    versions: Mapping[str, Positive] = field("How many nodes run each version.")
    nodes: tuple[NodeReport, ...] = field("Nodes; those with something to do come first.")
    notes: tuple[str, ...] = field("What is unknown, and why; empty if nothing is.")


@dataclass(frozen=True)
class Changed(Report, schema="proa.rollout/v1"):
    """`kubectl proa start`, `pause`, `resume` and `rollback`."""

    name: str = field("The rollout's name.")
    changed: bool = field("Whether anything was written.")
    said: str = field("What was done, or would be, without its subject.")
    notes: tuple[str, ...] = field("What else you should know.")
    request: Mapping[str, Any] | None = field("The object, or the merge patch; null if there is nothing to do.")
    rollout: RolloutReport | None = field("The rollout afterwards; null if there is none.")


# proa-scheduler plan, explain, simulate


@dataclass(frozen=True)
class PlannedWave(Part):
    """A wave."""

    name: str = field("`Canary`, `ControlPlane`, or a zone; with groups, `GROUP/` before it.")
    nodes: Count = field("Nodes in it.")
    begins: str = field("When it starts (RFC 3339, UTC).")
    ends: str = field("When it ends (RFC 3339, UTC).")


@dataclass(frozen=True)
class PlannedNode(Because):
    """A node."""

    position: Count = field("Its position, from 1; 0 if it has no turn.")
    name: str = field("Its name.")
    zone: str = field("Its zone; empty if it has none.")
    wave: str = field("Its wave.")
    starts: str | None = field("The estimated time of its cordon (RFC 3339, UTC); null if there is none.")
    ends: str | None = field("The estimated time of its uncordon (RFC 3339, UTC); null if there is none.")


@dataclass(frozen=True)
class PlanReport(Report, schema="proa.plan/v1"):
    """`proa-scheduler plan` and `kubectl proa plan`."""

    rollout: str = field("The rollout's name.")
    release: str = field("The target release, by digest.")
    at: str = field("The time of the preview (RFC 3339, UTC).")
    phase: str = field("What the rollout is doing.")
    counts: Counts = field("Numbers of nodes by state; zeros may be missing.")
    halted: str = field("Why it halted; empty if it did not.")
    next_window: str = field("When the next window opens (RFC 3339, UTC); empty while one is open.")
    ends: str | None = field("The estimated time when all nodes are done (RFC 3339, UTC); null if no end is in sight.")
    notes: tuple[str, ...] = field("What is unknown, and why; empty if nothing is.")
    waves: tuple[PlannedWave, ...] = field("In the estimated order.")
    nodes: tuple[PlannedNode, ...] = field(
        "Nodes under way, then those to come, those that are done, and those without a turn."
    )


@dataclass(frozen=True)
class ShutGate(Because):
    """A gate that is closed."""

    since: str | None = field("Since when (RFC 3339, UTC); null if that is not recorded.")


@dataclass(frozen=True)
class ExplanationReport(Report, schema="proa.explain/v1"):
    """`proa-scheduler explain` and `kubectl proa explain`."""

    node: str = field("The node's name.")
    rollouts: tuple[str, ...] = field("Rollouts that select it; more than one is a conflict.")
    release: str = field("The release that the rollout wants there; empty if none acts.", default="")
    step: str = field("The node's step, in one word; empty if no rollout counts it.", default="")
    reason: Because | None = field("Why it does or does not move; null if no rollout selects it.", default=None)
    gates: tuple[ShutGate, ...] = field("Everything that holds it back; the effective gate comes first.", default=())
    blockers: tuple[Blocker, ...] = field("What keeps it from being drained.", default=())
    drain_until: str | None = field(
        "The deadline of its drain (RFC 3339, UTC); null if it is not being drained.", default=None
    )
    next: tuple[str, ...] = field("What the scheduler would do with it now.", default=())
    notes: tuple[str, ...] = field("What is unknown, and why; empty if nothing is.", default=())
    order: Order | None = field("Its order; null if it has none.", default=None)
    status: NodeStatus | None = field("What it reports; null if it has not reported yet.", default=None)


@dataclass(frozen=True)
class SimulatedRollout(Part):
    """A rollout."""

    name: str = field("Its name.")
    phase: str = field("How it ended.")
    halted: str = field("Why it halted; empty if it did not.")
    counts: Counts = field("Numbers of nodes by state; zeros may be missing.")


@dataclass(frozen=True)
class SimulationReport(Report, schema="proa.simulation/v1"):
    """`proa-scheduler simulate`."""

    nodes: Count = field("Nodes of the cluster.")
    ended: bool = field("Whether all rollouts ended.")
    began_at: str = field("When it started, in virtual time (RFC 3339, UTC).")
    ended_at: str = field("When it ended, in virtual time (RFC 3339, UTC).")
    took_seconds: Count = field("Virtual seconds from start to end.")
    nodes_per_hour: Seconds = field("Nodes done per virtual hour.")
    done: Count = field("Nodes that were done.")
    boots: Count = field("Reboots.")
    most_away: Count = field("The most nodes that were unavailable at once.")
    passes: Count = field("Passes of the planner.")
    seconds: Seconds = field("Duration of the simulation.")
    rollouts: tuple[SimulatedRollout, ...] = field("How they ended.")
    waves: tuple[Wave, ...] = field("In order.")
    troubles: tuple[Trouble, ...] = field("What went wrong.")
    left: tuple[str, ...] = field("Nodes that stay cordoned, or are not Ready.")


# proa-scheduler snapshot


@dataclass(frozen=True)
class SeenRollout(Part):
    """A rollout."""

    name: str = field("Its name.")
    uid: str = field("Its UID.")
    generation: Count = field("Its generation.")
    spec: RolloutSpec = field("The desired state.")
    status: RolloutStatus = field("The observed state.")
    problem: str = field("Why its spec cannot be read; empty if it can.")
    approved: str = field("Who has approved its release, and when; empty if nobody has.", default="")
    approved_groups: Mapping[str, str] = field("The same by group; `in_no_group` for nodes in none.", default={})


@dataclass(frozen=True)
class SeenNode(Part):
    """A node."""

    name: str = field("Its name.")
    uid: str = field("Its UID.")
    labels: Mapping[str, str] = field("Its labels.")
    ready: bool = field("Whether it is Ready.")
    ready_since: str = field("Since when it is or is not Ready (RFC 3339, UTC); empty if that is unknown.")
    unschedulable: bool = field("Whether it is cordoned.")
    boot_id: str = field("The boot that its kubelet reports.")
    mark: str = field("Proa's mark on it, as in the annotation; empty if it has none.")
    fence: Fence = field("The fence of the leader that set the mark; -1 if there is none.")
    hold: str | None = field("Why a person holds it; null if nobody does.")
    excluded: bool = field("Whether a person has excluded it.")
    role: str = field("What marks it as a control-plane node if no label does: a taint, or `static pods`.", default="")
    leaving: str = field("Why it is about to be removed from the cluster; empty if it is not.", default="")


@dataclass(frozen=True)
class SeenNodeOS(Part):
    """A NodeOS."""

    name: str = field("Its name.")
    uid: str = field("Its UID.")
    owner: str = field("The UID of its node.")
    order: Order | None = field("Its order; null if it has none.")
    status: NodeStatus | None = field("What the node reports; null if it has not reported yet.")
    record: str = field("What went wrong on it, as in the annotation; empty if nothing did.")
    fence: Fence = field("The highest fence on it; -1 if there is none.")
    created: str = field("When it was made (RFC 3339, UTC); empty if that is unknown.", default="")


@dataclass(frozen=True)
class SnapshotReport(Report, schema="proa.snapshot/v1"):
    """`proa-scheduler snapshot`: what the planner sees of a cluster; `plan`, `explain` and `simulate` read it."""

    at: str = field("When it was taken (RFC 3339, UTC).")
    own_node: str = field("The node that the scheduler runs on; empty if that is unknown.")
    rollouts: tuple[SeenRollout, ...] = field("All rollouts.")
    nodes: tuple[SeenNode, ...] = field("All nodes.")
    nodeoses: tuple[SeenNodeOS, ...] = field("The NodeOS of all nodes.")
    hopeless: tuple[Blocker, ...] = field("What would block drains forever.", default=())


_REPORTS: Final[tuple[type[Report], ...]] = (
    Changed,
    ExplanationReport,
    Manifests,
    PlanReport,
    Rollouts,
    SimulationReport,
    SnapshotReport,
    Uninstalled,
)
SCHEMAS: Final[Mapping[str, Schema]] = {report.SCHEMA: json_schema(report) for report in _REPORTS}
"""The schemas of this package, by name."""
