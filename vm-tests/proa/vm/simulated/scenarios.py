"""A ward for sick nodes: one scheduler, and for each test nodes and a rollout of their own.

The scheduler has its real account, rights and policies, and speaks through a proxy. It goes on from test to test, so
that a test costs no start of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from proa.scheduler.install import render
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import InstallSettings
from proa.scheduler.spec.crd import OS_ROLLOUTS
from proa.vm.kube import wipe
from proa.vm.kube.api import Object
from proa.vm.kube.apiproxy import ApiProxy
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated import rollouts
from proa.vm.simulated.drains import Workload
from proa.vm.simulated.faults import Timing
from proa.vm.simulated.machine import Shape
from proa.vm.simulated.nodes import SimNodes, run
from proa.vm.simulated.rollouts import NEW, Witness, wait_phase
from proa.vm.simulated.scheduler import NAMESPACE, Scheduler
from proa.vm.support.waiting import LIMIT

_LABEL: Final = "test.proa.dev/case"
_END_SECONDS: Final = 10.0
_numbers = itertools.count()


def install(cluster: ControlPlane) -> None:
    """The scheduler's account, its rights and the admission policies."""
    settings = InstallSettings()
    cluster.namespace(NAMESPACE)
    cluster.namespace(settings.proxy_namespace)
    cluster.apply([*render.part("rights.yaml", settings), *render.part("policies.yaml", settings)])


class Scenarios:
    """Nodes of one test and their rollout.

    Args:
        cluster: The control plane.
        fleet: All simulated nodes.
        name: Of the rollout, and the beginning of the nodes' names.
        count: How many nodes.
        zones: Over how many zones they are spread.
        control_plane: Whether they are of the control plane.
    """

    def __init__(
        self, cluster: ControlPlane, fleet: SimNodes, name: str, count: int, *, zones: int, control_plane: bool
    ) -> None:
        self.cluster, self.fleet, self.rollout = cluster, fleet, name
        self.names = [f"{name}-{number}" for number in range(count)]
        self.workloads: list[Workload] = []
        shapes = [
            Shape(
                each,
                f"zone-{number % zones}",
                control_plane,
                {_LABEL: name},
                number=next(_numbers),
            )
            for number, each in enumerate(self.names)
        ]
        fleet.add(shapes)
        fleet.wait_ready()

    @property
    def name(self) -> str:
        """The only node, or the first."""
        return self.names[0]

    def fault(self, *names: str, **faults: Any) -> None:
        """Change what is wrong with nodes; with all of them for no names."""
        self.fleet.fault(*(names or self.names), **faults)

    def start(self, target: str = NEW, **spec: Any) -> None:
        """Make the rollout."""
        selector = {"matchLabels": {_LABEL: self.rollout}}
        rollouts.start(self.cluster, self.rollout, target, **{"nodeSelector": selector, **spec})

    def change(self, **spec: Any) -> None:
        """Change the rollout."""
        rollouts.change(self.cluster, self.rollout, **spec)

    def wait(self, phase: str, seconds: float = LIMIT) -> Object:
        """Wait until the rollout has come to a phase; its status then."""
        return wait_phase(self.cluster, phase, self.rollout, seconds)

    @property
    def status(self) -> Object:
        """The rollout's status."""
        return rollouts.status(self.cluster, self.rollout)

    @property
    def blockers(self) -> str:
        """What the rollout's status says is in the way."""
        return "; ".join(one["reason"] for one in self.status.get("blockers", ()))

    @property
    def boots(self) -> list[int]:
        """How often each has rebooted."""
        found = self.fleet.boots()
        return [found[name] for name in self.names]

    def runs(self, release: str) -> list[bool]:
        """Whether each runs a release, committed."""
        booted = [self.fleet.status(name).booted for name in self.names]
        return [bool(one and one.committed and one.release == release.partition("@")[2]) for one in booted]

    def load(self, name: str | None = None, **options: Any) -> Workload:
        """Put pods on a node, the first by default, and wait until they are Ready."""
        number = len(self.workloads)
        made = Workload(self.cluster, f"{self.rollout}-{number}", name or self.name, **options)
        self.workloads.append(made)
        return made

    @property
    def traces(self) -> list[str]:
        """What is left of cordons and annotations of ours."""
        return [found for found in rollouts.traces(self.cluster) if found.partition(":")[0] in self.names]

    def discharge(self) -> None:
        """Take it all away."""
        for workload in self.workloads:
            workload.remove()
        self.cluster.api.delete(f"{OS_ROLLOUTS}/{self.rollout}")
        for name in self.names:
            if name in self.fleet.machines:
                self.fleet.remove(name)


class Ward:
    """The scheduler, the proxy that it speaks through, and where patients come from."""

    def __init__(self, cluster: ControlPlane, fleet: SimNodes, proxy: ApiProxy, scheduler: Scheduler) -> None:
        self.cluster, self.fleet, self.proxy, self.scheduler = cluster, fleet, proxy, scheduler

    @contextmanager
    def scenarios(
        self, name: str, count: int = 1, *, zones: int = 1, control_plane: bool = False
    ) -> Iterator[Scenarios]:
        """Nodes as long as the block."""
        found = Scenarios(self.cluster, self.fleet, name, count, zones=zones, control_plane=control_plane)
        try:
            yield found
        finally:
            self.proxy.rule = lambda ask: None
            found.discharge()

    @contextmanager
    def witness(self) -> Iterator[Witness]:
        """Someone who sees all that happens to all nodes."""
        with Witness(self.cluster) as witness:
            yield witness


@contextmanager
def opened(cluster: ControlPlane, timing: Timing | None = None, words: Sequence[str] = ()) -> Iterator[Ward]:
    """A ward whose scheduler leads; ``words`` are more of its command line."""
    wipe.wipe(cluster)
    install(cluster)
    access = cluster.access_for(SCHEDULER, NAMESPACE)
    with run(cluster, 0, timing=timing or Timing()) as fleet, ApiProxy(access) as proxy:
        scheduler = Scheduler(cluster, *words, kubeconfig=proxy.kubeconfig(cluster.folder / "ward.conf"))
        scheduler.start()
        try:
            scheduler.wait_leading()
            yield Ward(cluster, fleet, proxy, scheduler)
            scheduler.check()
        finally:
            scheduler.stop(_END_SECONDS)
