"""What the controller follows: nodes, their orders, rollouts and disruption budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.drain import pods
from proa.scheduler.drain.pods import BudgetView
from proa.scheduler.kube import paths
from proa.scheduler.kube.reflector import Reflector
from proa.scheduler.kube.server import Server
from proa.scheduler.objects import reading
from proa.scheduler.planning.views import NodeOSView, NodeView, RolloutView
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS


@dataclass(frozen=True, eq=False)
class Sources:
    """The collections that are followed."""

    nodes: Reflector[NodeView]
    oses: Reflector[NodeOSView]
    rollouts: Reflector[RolloutView]
    budgets: Reflector[BudgetView]
    static_pods: Reflector[str]
    """The nodes of the control plane's static pods, by pod."""

    @staticmethod
    def of(api: Server, changed: ChangeSignal, clock: Clock = SYSTEM) -> Sources:
        """Those of an API server; the signal is raised when one of them has changed."""
        return Sources(
            Reflector(
                api, paths.NODES, lambda item, before: reading.node(item, before, clock.now()), changed, clock=clock
            ),
            Reflector(api, NODE_OSES, reading.node_os, changed, clock=clock),
            Reflector(api, OS_ROLLOUTS, reading.rollout, changed, clock=clock),
            Reflector(api, paths.BUDGETS, pods.budget, changed, clock=clock),
            Reflector(api, paths.STATIC_PODS, reading.host, changed, labels=paths.STATIC_PODS_SELECTOR, clock=clock),
        )

    def __iter__(self) -> Iterator[Reflector[Any]]:
        return iter((self.nodes, self.oses, self.rollouts, self.budgets, self.static_pods))

    @property
    def synced(self) -> bool:
        """Whether all has been seen once."""
        return all(one.synced for one in self)

    @property
    def reached(self) -> Mapping[str, int]:
        """Up to which resource version each collection is known."""
        return {one.path: one.reached for one in self}

    def stale(self, now: float) -> float:
        """For how many seconds one of them has not been known for sure; 0 if all are."""
        return max(0.0, *(now - since for one in self if (since := one.stale_since) is not None), 0.0)

    def floor(self) -> int | None:
        """The highest fence on any object; -1 for none, none as long as not all have been seen."""
        if not (self.nodes.synced and self.oses.synced):
            return None
        fences = [node.fence for node in self.nodes.objects.values()]
        fences += [os.fence for os in self.oses.objects.values()]
        return max(fences, default=-1)

    def start(self) -> None:
        """Start following."""
        for one in self:
            one.start()

    def stop(self) -> None:
        """Stop following, soon."""
        for one in self:
            one.stop()
        for one in self:
            one.join(2.0)
