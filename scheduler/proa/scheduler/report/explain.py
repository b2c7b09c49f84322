"""Why one node does or does not move: every gate that holds it back, since when, and who can open it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning import gates, holds
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import TO_START, NodeStep
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.planning.views import NodeView, Snapshot
from proa.scheduler.report.reports import Because, ExplanationReport, ShutGate, because
from proa.scheduler.spec.selectors import matches


def explain(snapshot: Snapshot, name: str, now: datetime, notes: Sequence[str] = ()) -> ExplanationReport:
    """Explain a node.

    Args:
        snapshot: What is known.
        name: The node's name.
        now: When that was.
        notes: What is not known.

    Raises:
        ProaError: ``CLUSTER_MISSING`` when there is no such node.
    """
    node = snapshot.nodes.get(name)
    if node is None:
        raise ProaError(
            Code.CLUSTER_MISSING, _no_node(snapshot, name), at=name, hint="List nodes with 'kubectl get nodes'."
        )
    planner = Planner()
    plan = planner.plan(snapshot, now)
    chosen, verdict = selecting(snapshot, node), plan.verdicts.get(name)
    os, drain, deadline = snapshot.oses.get(name), snapshot.drains.get(name), plan.drains.get(name)
    found = ExplanationReport(
        node=name,
        rollouts=chosen,
        reason=Because(*because(verdict)) if verdict else None,
        gates=(_gate(verdict),) if verdict else (),
        notes=tuple(notes),
        order=os.order if os else None,
        status=os.status if os else None,
    )
    context, progress = planner.context(chosen[0]) if len(chosen) == 1 else None, planner.progress(name)
    if context is None or progress is None:
        return found
    return dataclasses.replace(
        found,
        release=context.rollout_pass.spec.release,
        step=progress.step.name,
        gates=tuple(_shut(plan, context, progress)),
        blockers=(*(drain.blockers if drain else ()), *snapshot.undrainable.get(name, ())),
        drain_until=text(deadline) if deadline else None,
        next=tuple(type(action).__name__ for action in plan.actions if action.node == name),
    )


def _no_node(snapshot: Snapshot, name: str) -> str:
    """What is known of a node that is not there."""
    for view in snapshot.rollouts.values():
        if out := next((one for one in view.status.outstanding if one.node == name), None):
            return (
                f"the node {name!r} was removed from the cluster after its order to reboot at {out.since}: rollout"
                f" {view.name} keeps its place for health.timeout, and then counts it as failed"
            )
        if view.status.lost is not None and name in view.status.lost.nodes:
            return f"the node {name!r} was removed from the cluster before it proved the release: it counts as failed"
    return f"there is no node {name!r}"


def selecting(snapshot: Snapshot, node: NodeView) -> tuple[str, ...]:
    """The rollouts that select a node, by name."""
    views = sorted(snapshot.rollouts.items())
    return tuple(name for name, view in views if not view.problem and matches(view.spec.node_selector, node.labels))


def _gate(verdict: Verdict, since: datetime | None = None) -> ShutGate:
    return ShutGate(*because(verdict), text(since) if since else None)


def _shut(plan: Plan, context: holds.GateContext, progress: NodeProgress) -> Iterator[ShutGate]:
    """The gates that are shut; also those of a start of a node that has to fetch the release first.

    A node that fetches it next, and could never be started then, is told the latter.
    """
    rollout_pass, verdict = context.rollout_pass, plan.verdicts[progress.node.name]
    if verdict.reason in _MOVES:
        never = holds.undrainable(context, progress) if verdict.reason is Reason.StageNext else None
        if never is not None:
            yield _gate(never)
        return
    found = [verdict]
    if progress.step in TO_START:
        found += holds.before_start(context, progress)
        if (closed := gates.closed_by(rollout_pass)) is not None:
            found.append(closed)
        elif not progress.away and context.precedence.away >= rollout_pass.allowance.unavailable:
            found.append(gates.no_slot(rollout_pass, context))
        elif (alerts := gates.held_by_alerts(rollout_pass)) is not None:
            found.append(alerts)
    if progress.step is not NodeStep.READY:
        found = [one for one in found if one.reason is not Reason.StagingOthers]
    for one in {one.reason: one for one in found}.values():
        yield _gate(one, _since(one.reason, rollout_pass, progress))


_MOVES: Final = frozenset({Reason.UpToDate, Reason.BackOnOld, Reason.Next, Reason.StageNext})
"""Reasons for which nothing holds a node back."""


def _since(reason: Reason, rollout_pass: RolloutPass, progress: NodeProgress) -> datetime | None:
    """Since when a reason holds, as far as that is written down anywhere."""
    node, mark = progress.node, progress.mark
    order = progress.os.order if progress.os else None
    match reason:
        case Reason.NotReady:
            return node.ready_since
        case Reason.Draining | Reason.AwaitingPods:
            return mark.since if mark else None
        case Reason.Staging | Reason.Booting | Reason.Committing | Reason.Configuring | Reason.ProvingSettings:
            return read(order.issued) if order else None
        case Reason.Proving | Reason.Finishing:
            return node.ready_since if node.ready else None
        case Reason.Parked | Reason.BackingOff | Reason.GivenUp:
            return progress.record.mark if progress.record else None
        case Reason.Halted:
            conditions = rollout_pass.status.conditions
            halts = [one for one in conditions if one.type == "Halted" and one.status == "True"]
            return read(halts[0].last_transition_time) if halts else None
        case Reason.Soaking:
            return read(rollout_pass.status.canary.proved_at) if rollout_pass.status.canary else None
        case Reason.GroupSoaking:
            soaking = [one for one in rollout_pass.status.groups if not one.soaked_at]
            return read(soaking[0].proved_at) if soaking else None
        case Reason.ZoneSoaking:
            return read(rollout_pass.status.zone.proved_at) if rollout_pass.status.zone else None
        case Reason.AlertsFiring | Reason.AlertsUnknown:
            return read(rollout_pass.status.alerts.since) if rollout_pass.status.alerts else None
        case Reason.AwaitingCanary | Reason.StagingOthers:
            return read(rollout_pass.status.started_at)
        case _:
            return None
