"""Which nodes could never be drained, looked at for people: a snapshot knows no pods, and the leader looks late.

The controller looks at the pods of a node when its turn has come. Whoever plans ahead wants to know before, of every
node that has yet to be started; where somebody may not read pods, what the leader has told has to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from proa.scheduler.drain import budgets
from proa.scheduler.drain.budgets import BudgetView
from proa.scheduler.drain.undrainable import foresee
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server
from proa.scheduler.planning.node_progress import Step
from proa.scheduler.planning.planner import Planner
from proa.scheduler.planning.turns import turn
from proa.scheduler.planning.views import Snapshot
from proa.scheduler.spec.rollout import Drain, OnTimeout

MOST: Final = 200
"""Nodes whose pods are looked at, in the order of their turns: more would load a big cluster for a mere question."""
WORKERS: Final = 8
"""Nodes that are asked about at a time."""
NO_PODS: Final = "Pods may not be read here: what could never be drained is known only as far as the scheduler told it."
NO_BUDGETS: Final = (
    "Disruption budgets may not be read here: that one never lets a pod go is only known from the scheduler."
)
_FORBIDDEN: Final = 403


def look_ahead(
    api: Server, snapshot: Snapshot, now: datetime, *, rollout: str = "", node: str = ""
) -> tuple[Snapshot, tuple[str, ...]]:
    """A snapshot that knows what could never be drained, and notes on what is not known of that.

    Args:
        api: The API server.
        snapshot: What is known without pods.
        now: When that was.
        rollout: Only nodes of this one; of all if empty.
        node: Only this one; all if empty.

    Raises:
        ApiError: For any answer that is neither 2xx nor 403, or none.
    """
    asked = [(name, policy) for name, policy in _to_start(snapshot, now, rollout) if node in ("", name)]
    if not asked:
        return snapshot, ()
    policies = dict(asked[:MOST])
    known, notes = _budgets(api)
    with ThreadPoolExecutor(WORKERS, "foresee") as pool:
        try:
            looks = pool.map(lambda name: foresee(api, name, policies[name], known), policies)
            found = dict(zip(policies, looks, strict=True))
        except ApiError as error:
            if error.status != _FORBIDDEN:
                raise
            return snapshot, (NO_PODS,)
    if (left := len(asked) - len(policies)) > 0:
        notes = (*notes, f"The pods of the next {MOST} nodes were looked at: {left} more may prove to be undrainable.")
    told = {name: why for name, why in snapshot.undrainable.items() if NO_BUDGETS in notes or name not in policies}
    stuck = {name: why for name, why in found.items() if why}
    return dataclasses.replace(snapshot, undrainable=told | stuck), notes


def _to_start(snapshot: Snapshot, now: datetime, rollout: str) -> Iterator[tuple[str, Drain]]:
    """The nodes that have yet to be started, in the order of their turns, but for those that are drained by force."""
    planner = Planner()
    planner.plan(snapshot, now)
    for name in [rollout] if rollout else sorted(snapshot.rollouts):
        context = planner.context(name)
        if context is None or context.rollout_pass.spec.drain.on_timeout is OnTimeout.FORCE:
            continue
        rollout_pass = context.rollout_pass
        found = [one for step in _BEFORE for one in rollout_pass.by_step[step]]
        for progress in sorted(found, key=lambda one: turn(rollout_pass, one)):
            yield progress.node.name, rollout_pass.spec.drain


_BEFORE: Final = (Step.TO_STAGE, Step.STAGING, Step.READY)


def _budgets(api: Server) -> tuple[list[BudgetView], tuple[str, ...]]:
    """The disruption budgets of the cluster, and a note if nobody may tell."""
    try:
        pages = api.pages(paths.BUDGETS, {"resourceVersion": "0"})
        return [budgets.project(item) for page in pages for item in page.get("items") or ()], ()
    except ApiError as error:
        if error.status != _FORBIDDEN:
            raise
        return [], (NO_BUDGETS,)
