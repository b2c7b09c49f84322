"""What is wanted of the drainer, and what keeps nodes from being drained, told from a plan."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from proa.scheduler.drain.drainer import Wanted
from proa.scheduler.drain.nodedrain import DrainRequest
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import Snapshot
from proa.scheduler.spec.rollout import Drain
from proa.scheduler.spec.rolloutstatus import Blocker


def wanted(snapshot: Snapshot, plan: Plan, before: Mapping[str, Wanted]) -> dict[str, Wanted]:
    """By node. One with a write of ours under way stays as it was ``before``."""
    found: dict[str, Wanted] = {}
    for name, node in snapshot.nodes.items():
        if node.mark is None:
            continue
        rollout = snapshot.rollouts.get(node.mark.rollout)
        if rollout is None:
            continue
        daemon_sets = rollout.spec.health.daemon_sets
        if name in plan.drains:
            request = DrainRequest(rollout.spec.drain, forced=name in plan.forced)
            found[name] = Wanted(request, daemon_sets, node.attached)
        elif name in snapshot.pending and name in before:
            found[name] = before[name]
        elif daemon_sets:
            found[name] = Wanted(daemon_sets=daemon_sets)
    return found


def undrainable(snapshot: Snapshot, plan: Plan) -> dict[str, Drain]:
    """By node, of those that wait because they could never be drained: how it would be done."""
    return {
        node: snapshot.rollouts[rollout].spec.drain
        for rollout, verdicts in plan.by_rollout.items()
        for node, verdict in verdicts.items()
        if verdict.reason is Reason.Undrainable
    }


def blockers_of(snapshot: Snapshot, plan: Plan) -> tuple[Blocker, ...]:
    """What keeps nodes from being drained, and what would do so for ever with nodes that still follow a rollout."""
    drains = (view.blockers for view in snapshot.drains.values())
    never = (blockers for name, blockers in snapshot.undrainable.items() if name in plan.verdicts)
    return tuple(chain.from_iterable((*drains, *never)))
