"""Why one node does or does not move: every gate that holds it back, since when, and who can open it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.times import read
from proa.scheduler.planning import gates, holds
from proa.scheduler.planning.node_progress import NodeProgress, Step
from proa.scheduler.planning.planner import Plan, Planner
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.planning.views import NodeOSView, NodeView, Snapshot
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.spec.selectors import matches


@dataclass(frozen=True)
class Shut:
    """One gate that holds a node back.

    Attributes:
        verdict: Why.
        since: Since when; none where nobody has written that down.
    """

    verdict: Verdict
    since: datetime | None = None

    @property
    def who(self) -> str:
        """Who can open it."""
        return self.verdict.reason.who


@dataclass(frozen=True)
class Explanation:
    """What there is to say of a node.

    Attributes:
        node: Its view.
        os: Its object's; none if it has none.
        rollouts: Those that select it, by name; more than one is a conflict.
        release: What the rollout wants there; empty if none acts.
        step: Where it stands, in a word; empty if no rollout counts it.
        progress: The same in a sentence.
        verdict: What the planner says of it; none if no rollout selects it.
        shut: Every gate that holds it back, the one that counts first.
        blockers: What keeps it from being drained.
        deadline: By when it must be drained; none if it is not being drained.
        next: What the planner would do with it now, in its words; empty if nothing.
    """

    node: NodeView
    os: NodeOSView | None
    rollouts: tuple[str, ...]
    release: str = ""
    step: str = ""
    progress: str = ""
    verdict: Verdict | None = None
    shut: tuple[Shut, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    deadline: datetime | None = None
    next: tuple[str, ...] = ()


def explain(snapshot: Snapshot, name: str, now: datetime) -> Explanation:
    """Explain a node.

    Args:
        snapshot: What is known.
        name: The node's name.
        now: When that was.

    Raises:
        ProaError: ``CLUSTER_MISSING`` when there is no such node.
    """
    node = snapshot.nodes.get(name)
    if node is None:
        raise ProaError(
            Code.CLUSTER_MISSING, f"there is no node {name!r}", at=name, hint=("List nodes with 'kubectl get nodes'.")
        )
    os = snapshot.oses.get(name)
    planner = Planner()
    plan = planner.plan(snapshot, now)
    chosen = tuple(
        rollout
        for rollout, view in sorted(snapshot.rollouts.items())
        if not view.problem and matches(view.spec.node_selector, node.labels)
    )
    verdict, progress = plan.verdicts.get(name), planner.progress(name)
    context = planner.context(chosen[0]) if len(chosen) == 1 else None
    if context is None or progress is None:
        shut = (Shut(verdict),) if verdict is not None else ()
        return Explanation(node, os, chosen, verdict=verdict, shut=shut)
    drain = snapshot.drains.get(name)
    return Explanation(
        node,
        os,
        chosen,
        release=context.rollout_pass.spec.release,
        step=progress.step.name,
        progress=progress.step.value,
        verdict=verdict,
        shut=tuple(_shut(plan, context, progress)),
        blockers=(*(drain.blockers if drain else ()), *snapshot.undrainable.get(name, ())),
        deadline=plan.drains.get(name),
        next=tuple(type(action).__name__ for action in plan.actions if action.node == name),
    )


def _shut(plan: Plan, context: holds.GateContext, progress: NodeProgress) -> Iterator[Shut]:
    """The gates that are shut; also those of a start of a node that has to fetch the release first.

    A node that fetches it next, and could never be started then, is told the latter.
    """
    rollout_pass, verdict = context.rollout_pass, plan.verdicts[progress.node.name]
    if verdict.reason in _MOVES:
        never = holds.undrainable(context, progress) if verdict.reason is Reason.StageNext else None
        if never is not None:
            yield Shut(never)
        return
    found = [verdict]
    if progress.step in (Step.TO_STAGE, Step.STAGING, Step.READY):
        found += holds.before_start(context, progress)
        if (closed := gates.closed_by(rollout_pass)) is not None:
            found.append(closed)
        elif not progress.away and context.precedence.away >= rollout_pass.allowance.unavailable:
            found.append(gates.no_slot(rollout_pass, context))
    if progress.step is not Step.READY:
        found = [one for one in found if one.reason is not Reason.StagingOthers]
    for one in {one.reason: one for one in found}.values():
        yield Shut(one, _since(one.reason, rollout_pass, progress))


_MOVES: Final = frozenset({Reason.UpToDate, Reason.BackOnOld, Reason.Next, Reason.StageNext})
"""Reasons for which nothing holds a node back."""


def _since(reason: Reason, rollout_pass: RolloutPass, progress: NodeProgress) -> datetime | None:
    """Since when a reason holds, as far as that is written down anywhere."""
    node, mark = progress.node, progress.mark
    order = progress.os.order if progress.os else None
    match reason:
        case Reason.NotReady:
            return node.ready_since
        case Reason.Draining:
            return mark.since if mark else None
        case Reason.Staging | Reason.Booting | Reason.Committing:
            return read(order.issued) if order else None
        case Reason.Proving | Reason.Finishing:
            return node.ready_since if node.ready else None
        case Reason.Parked | Reason.BackingOff | Reason.GivenUp:
            return progress.record.mark if progress.record else None
        case Reason.Halted:
            return _condition(rollout_pass, "Halted")
        case Reason.Soaking:
            return read(rollout_pass.status.canary.proved_at) if rollout_pass.status.canary else None
        case Reason.AwaitingCanary | Reason.StagingOthers:
            return read(rollout_pass.status.started_at)
        case _:
            return None


def _condition(rollout_pass: RolloutPass, kind: str) -> datetime | None:
    for condition in rollout_pass.view.status.conditions:
        if condition.type == kind and condition.status == "True":
            return read(condition.last_transition_time)
    return None
