"""What would keep a node from being drained for ever, looked at before anything is done to it.

Pods and their budgets tell what to suspect. Whether it is true the API server tells: it is asked for evictions that it
does not carry out (Kubernetes, "API-initiated Eviction" and "Dry-run").

The controller looks at the pods of a node when its turn has come, and keeps what it saw: what could never be drained is
told, and not even begun. Whoever plans ahead for people wants to know before, of every node that has yet to be started;
where somebody may not read pods, what the leader has told has to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.drain import pods
from proa.scheduler.drain.pods import BudgetView, PodFate, PodView, fate, may_finish, over
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, items, unless
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.planning.node_step import TO_START
from proa.scheduler.planning.planner import Planner
from proa.scheduler.planning.views import Snapshot
from proa.scheduler.spec.rollout import Drain, OnTimeout, Undrainable
from proa.scheduler.spec.rolloutstatus import Blocker

AGAIN: Final = 300.0
"""Seconds after which a node that could never be drained is looked at again."""
MOST_AGAIN: Final = 20
"""Nodes that are looked at again in one pass."""
MOST_AHEAD: Final = 200
"""Nodes whose pods are looked at, in the order of their turns: more would load a big cluster for a mere question."""
WORKERS: Final = 8
"""Nodes that are asked about at a time."""
NO_PODS: Final = (
    "You may not list pods here, so nodes that can never be drained are known only as far as the "
    "scheduler reported them."
)
NO_BUDGETS: Final = (
    "You may not list disruption budgets here, so only the scheduler's report says which of them "
    "never allow an eviction."
)


def foresee(
    api: Server, node: str, policy: Drain, budgets: Iterable[BudgetView], own_pod: str = ""
) -> tuple[Blocker, ...]:
    """What is in the way, by what the API server has seen of the node's pods but for ``own_pod``, which stays.

    That may be a moment ago: an answer as of now takes 0.1 s, as its cache asks etcd how far it has come. Where a
    budget seems to be in the way the API server is asked as well: it lets pods go that are Pending, and, where the
    budget says so, those that are not Ready.

    Raises:
        ApiError: When the pods cannot be listed.
    """
    query = {"fieldSelector": f"spec.nodeName={node}", "resourceVersion": "0"}
    found = map(pods.project, items(api, paths.PODS, query))
    suspected = undrainable((pod for pod in found if pod.key != own_pod), policy, budgets, node)
    free = {pod for pod in {one.pod for one in suspected if one.budget} if _would_go(api, pod)}
    return tuple(one for one in suspected if one.pod not in free)


def _would_go(api: Server, pod: str) -> bool:
    """Whether the API server would carry out the eviction of a pod. Where it cannot be asked, what is known holds."""
    namespace, _, name = pod.partition("/")
    try:
        api.evict(namespace, name, dryRun=["All"])
    except ApiError as error:
        return error.status == 404
    return True


def undrainable(
    pods: Iterable[PodView], policy: Drain, budgets: Iterable[BudgetView], node: str
) -> tuple[Blocker, ...]:
    """What would be in the way for ever, told before anything is done to a node."""
    found: list[tuple[str, str, str]] = []
    known = tuple(budgets)
    for pod in pods:
        what, why = fate(pod, policy)
        if may_finish(pod, policy):
            continue  # and then it is in nobody's way
        if what is PodFate.BLOCKED:
            found.append((pod.key, "", why))
        elif what is PodFate.GOES and pod.deleting is None:
            above = over(pod, known)
            for budget in above:
                if budget.never:
                    why = f"disruption budget {budget.key} never allows an eviction: {budget.never}"
                    found.append((pod.key, budget.key, why))
            if len(above) > 1:
                names = ", ".join(budget.key for budget in above)
                found.append((pod.key, names[:320], f"several disruption budgets cover it: {names}"))
    return tuple(Blocker(node, pod, budget, reason=f"pod {pod}: {why}"[:256]) for pod, budget, why in sorted(found))


@dataclass(eq=False)
class DrainPrecheck:
    """Nodes that were looked at.

    Attributes:
        look: What would keep a node from being drained for ever.
        clock: The clock.
    """

    look: Callable[[str, Drain], tuple[Blocker, ...]]
    clock: Clock = SYSTEM
    _undrainable: dict[str, tuple[float, tuple[Blocker, ...]]] = field(default_factory=dict)

    @property
    def undrainable(self) -> Mapping[str, tuple[Blocker, ...]]:
        """What keeps which nodes from being drained for ever, as far as was looked."""
        return {node: blockers for node, (_, blockers) in self._undrainable.items()}

    def look_again(self, waiting: Callable[[], Mapping[str, Drain]], now: float) -> None:
        """Look at those again whose time is over, before anything is planned: they are not said to go on meanwhile.

        Args:
            waiting: Tells by node, of those that wait for nothing else, how it would be drained; others are forgotten.
            now: The monotonic clock's.

        Raises:
            ApiError: When pods cannot be listed for now; where they may not be, what was seen last holds on.
        """
        over = [node for node, (until, _) in self._undrainable.items() if until <= now][:MOST_AGAIN]
        policies = waiting() if over else {}
        for node in over:
            if node not in policies:
                del self._undrainable[node]
                continue
            try:
                self._look(node, policies[node], now)
            except ApiError as error:
                if error.is_away:
                    raise
                self._undrainable[node] = (now + AGAIN, self._undrainable[node][1])

    def allows(self, cordon: Cordon, policy: Drain, now: float) -> bool:
        """Look at a node that is about to be cordoned; whether that makes sense.

        What is foreseen puts a node behind all others, and warns. It is no veto, unless the policy says so: when the
        node has its turn again it is tried.

        Raises:
            ApiError: When its pods cannot be listed.
        """
        warned = cordon.node in self._undrainable and policy.undrainable is Undrainable.TRY
        return self._look(cordon.node, policy, now) or warned

    def due(self, now: float) -> float | None:
        """Seconds until one of them may be looked at again; none if there is none."""
        return min((max(0.0, until - now) for until, _ in self._undrainable.values()), default=None)

    def clear(self) -> None:
        """Another term begins."""
        self._undrainable.clear()

    def _look(self, node: str, policy: Drain, now: float) -> bool:
        """Look at a node; whether it can be drained."""
        blockers = () if policy.on_timeout is OnTimeout.FORCE else self.look(node, policy)
        if blockers:
            _, before = self._undrainable.get(node, (0.0, ()))
            self._undrainable[node] = (now + AGAIN, self._since(blockers, before))
        else:
            self._undrainable.pop(node, None)
        return not blockers

    def _since(self, blockers: tuple[Blocker, ...], before: tuple[Blocker, ...]) -> tuple[Blocker, ...]:
        """With the time at which each was seen first."""
        known = {(one.pod, one.budget): one.since for one in before}
        now = text(self.clock.now())
        return tuple(dataclasses.replace(one, since=known.get((one.pod, one.budget), now)) for one in blockers)


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
    policies = dict(asked[:MOST_AHEAD])
    budgets = unless(lambda: list(map(pods.budget, items(api, paths.BUDGETS, {"resourceVersion": "0"}))), 403)
    notes: tuple[str, ...] = () if budgets is not None else (NO_BUDGETS,)
    with ThreadPoolExecutor(WORKERS, "foresee") as pool:
        looks = pool.map(lambda name: foresee(api, name, policies[name], budgets or ()), policies)
        found = unless(lambda: dict(zip(policies, looks, strict=True)), 403)
    if found is None:
        return snapshot, (NO_PODS,)
    if (left := len(asked) - len(policies)) > 0:
        notes = (
            *notes,
            f"The pods of the next {MOST_AHEAD} nodes were checked: {left} more nodes may prove undrainable.",
        )
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
        found = [one for step in TO_START for one in rollout_pass.by_step[step]]
        for progress in sorted(found, key=rollout_pass.turn):
            yield progress.node.name, rollout_pass.spec.drain
