"""Drains nodes: follows the pods of each, evicts them by and by, and tells what is in the way.

Evictions are not fenced: what a leader asked for just before it lost its lease may still come through. A pod that is
evicted by two leaders is evicted once.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.drain import pods
from proa.scheduler.drain.evictor import Ask, Evictor
from proa.scheduler.drain.nodedrain import DrainRequest, NodeDrain
from proa.scheduler.drain.pods import BudgetView, PodView
from proa.scheduler.drain.undrainable import foresee
from proa.scheduler.kube import paths
from proa.scheduler.kube.reflector import Reflector
from proa.scheduler.kube.server import Server
from proa.scheduler.kube.worker import Worker
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import DrainView, Snapshot
from proa.scheduler.spec.rollout import DaemonSet, Drain
from proa.scheduler.spec.rolloutstatus import Blocker

SETTLE: Final = 1.0
"""Seconds for which a node is looked at before it counts as drained: a pod may have been bound to it just before."""
_GATHER: Final = 0.05
"""Seconds in which news of many pods is gathered."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one node.

    Attributes:
        request: How it is to be drained; none if its pods are only looked at.
        daemon_sets: DaemonSets whose pods on it must be ready.
        attached: Volumes that are attached to it.
    """

    request: DrainRequest | None = None
    daemon_sets: tuple[DaemonSet, ...] = ()
    attached: tuple[str, ...] = ()


@dataclass(eq=False)
class _Followed:
    """A node whose pods are followed."""

    reflector: Reflector[PodView]
    drain: NodeDrain
    since: float | None = None
    view: DrainView = DrainView(done=False)  # noqa: RUF009 -- frozen
    daemon_set: str | None = None


@dataclass(eq=False)
class Drainer(Worker):
    """Drains the nodes that it is told to, in threads of its own.

    Attributes:
        api: The API server.
        may_act: Whether we lead, asked before each eviction.
        budgets: The disruption budgets of the cluster, by their keys.
        changed: Raised when a drain has got on.
        clock: The clock.
        own_pod: The pod that this scheduler runs in, as ``NAMESPACE/NAME``; empty if in none. It stays on its node, as
            nobody else would drain that one to its end; it dies with the reboot, and its kubelet starts it again.
    """

    api: Server
    may_act: Callable[[], bool]
    budgets: Callable[[], Mapping[str, BudgetView]]
    changed: ChangeSignal
    clock: Clock = SYSTEM
    own_pod: str = ""

    def __post_init__(self) -> None:
        super().__init__("drainer", self._step_and_wait, self.changed)
        self._news = ChangeSignal()
        self._lock = threading.Lock()
        self._wanted: Mapping[str, Wanted] = {}
        self._followed: dict[str, _Followed] = {}
        self.views: Mapping[str, DrainView] = {}
        """How the drains stand; the mapping does not change, the next one may differ."""
        self.daemon_sets: Mapping[str, str] = {}
        """By node, of those whose pods have been seen: which DaemonSet's pod is not ready; empty if all are."""
        self._evictor = Evictor(self.api, lambda: self.may_act(), self._news)
        self._heard = 0

    # what others see

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """Follow these nodes and no others.

        Raises:
            ProaError: ``INTERNAL`` when a defect has ended the thread.
        """
        self.check("the drainer has stopped")
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = dict(wanted)
        self._news.notify()

    def foresee(self, node: str, policy: Drain) -> tuple[Blocker, ...]:
        """What would keep a node from being drained for ever.

        Raises:
            ApiError: When its pods cannot be listed.
        """
        return foresee(self.api, node, policy, self.budgets().values(), self.own_pod)

    # life

    def stop(self, seconds: float = 3.0) -> bool:
        """Stop, soon; whether all has ended."""
        self._stop.set()
        self._news.notify()
        ended = self.join(seconds)
        self._evictor.stop()
        return ended

    def _step_and_wait(self) -> float:
        self._heard = self._news.wait(self._heard, self.step())
        return _GATHER

    def _ended(self) -> None:
        for followed in self._followed.values():
            followed.reflector.stop()

    # inside

    def step(self) -> float | None:
        """Look at every node once; how many seconds until there is something to do although nothing has changed."""
        with self._lock:
            wanted = self._wanted
        self._evictor.settle(self.clock.monotonic())
        for name in [name for name in self._followed if name not in wanted]:
            self._followed.pop(name).reflector.stop()
        wakes = []
        asks: list[Ask] = []
        for name, want in wanted.items():
            followed = self._followed.get(name) or self._follow(name)
            wakes.append(self._look(name, followed, want, asks))
        self._evictor.ask(asks)
        self._show(wanted)
        return min((wake for wake in wakes if wake is not None), default=None)

    def _follow(self, name: str) -> _Followed:
        fields = f"spec.nodeName={name}"
        reflector = Reflector(self.api, paths.PODS, pods.project, self._news, fields, self.clock)
        found = self._followed[name] = _Followed(reflector, NodeDrain(name))
        reflector.start()
        return found

    def _look(self, name: str, followed: _Followed, want: Wanted, asks: list[Ask]) -> float | None:
        """Look at one node: what is to be asked is added to ``asks``; in how many seconds to look again."""
        reflector = followed.reflector
        if not reflector.synced or reflector.stale_since is not None:
            followed.view = dataclasses.replace(followed.view, done=False)
            followed.daemon_set = followed.since = None
            return 1.0
        known = {pod.key: pod for pod in reflector.objects.values() if pod.key != self.own_pod}
        followed.daemon_set = _not_ready(known, want.daemon_sets)
        if want.request is None:
            followed.view, followed.since = DrainView(done=False), None
            return None
        now = self.clock.monotonic()
        followed.since = now if followed.since is None else followed.since
        budgets = self.budgets().values()
        look = followed.drain.look(known, want.attached, want.request, budgets, self.clock.now(), now)
        asks += [Ask(followed.drain, pod, want.request.policy) for pod in look.evict]
        asks += [Ask(followed.drain, pod, want.request.policy, delete=True) for pod in look.delete]
        settled = followed.since + SETTLE - now
        followed.view = DrainView(look.done and settled <= 0, look.blockers, look.waits, look.began)
        wakes = [wake for wake in (look.wake, settled if look.done else None) if wake is not None and wake > 0]
        return max(_GATHER, min(wakes)) if wakes else None

    def _show(self, wanted: Mapping[str, Wanted]) -> None:
        """Put out how all stands, and tell if that has changed."""
        views = {name: self._followed[name].view for name, want in wanted.items() if want.request is not None}
        sets = {
            name: said
            for name, want in wanted.items()
            if want.daemon_sets and (said := self._followed[name].daemon_set) is not None
        }
        if views != self.views or sets != self.daemon_sets:
            self.views, self.daemon_sets = views, sets
            self.changed.notify()


def _not_ready(known: Mapping[str, PodView], daemon_sets: tuple[DaemonSet, ...]) -> str:
    """The first DaemonSet that has no ready pod there; empty if all have."""
    ready = {
        (pod.namespace, pod.owner[1])
        for pod in known.values()
        if pod.owner[0] == "DaemonSet" and pod.ready and pod.deleting is None
    }
    return next((f"{one.namespace}/{one.name}" for one in daemon_sets if (one.namespace, one.name) not in ready), "")


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
            request = DrainRequest(rollout.spec.drain, name in plan.forced, plan.waits.get(name))
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
