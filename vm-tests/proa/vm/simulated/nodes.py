"""Simulated nodes on a real API server: kubelets, agents and the binding of pods, for up to 5,000 nodes in a process.

:mod:`proa.vm.simulated.simulator` runs them in a process of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from proa.core.orders.messages import NodeStatus
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import parse
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.api import KubeApi, Object
from proa.vm.kube.control_flags import ADMINS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.follow import LISTED, Follower
from proa.vm.simulated.agent import SimAgent
from proa.vm.simulated.faults import Timing
from proa.vm.simulated.kubelet import Kubelets
from proa.vm.simulated.loop import Loop, Writers
from proa.vm.simulated.machine import KIND, Shape, SimMachine, shapes
from proa.vm.simulated.order_socket import AgentSocket
from proa.vm.simulated.proxies import PATH, SimulatedProxies
from proa.vm.simulated.releases import FACTORY
from proa.vm.simulated.tracking import NODES, Tracker
from proa.vm.support.waiting import until

_PODS: Final = "/api/v1/pods"
_READY_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Options:
    """How the nodes are simulated.

    Attributes:
        timing: How long things take.
        release: What runs at first.
        proxy: Whether orders and status are carried between NodeOS objects and agents; not where a real proxy does.
        pods: Whether pods are bound, started and ended.
        all_pods: Whether pods that are there at first are looked at; they are left alone otherwise, which spares
            reading them all.
        adopt: Whether to go on with the simulated nodes that are there already.
        heartbeat: Seconds between two renewals of a node's lease; 0 for none, which suits a control plane without the
            node-lifecycle controller.
        writers: Threads that write.
    """

    timing: Timing = field(default_factory=Timing)
    release: str = FACTORY
    proxy: bool = True
    pods: bool = True
    all_pods: bool = True
    adopt: bool = False
    heartbeat: float = 0.0
    writers: int = 8


class SimNodes:
    """Nodes that live as long as the ``with`` block. Their objects stay behind.

    Args:
        access: As whom they write; one of ``system:masters`` is never throttled.
        shapes: The nodes that there are at first.
        options: How they are simulated.
        clock: Whose time counts.
    """

    def __init__(
        self, access: ApiAccess, shapes: Iterable[Shape] = (), options: Options | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.options = options or Options()
        self._shapes = tuple(shapes)
        self._clock = clock
        self._api = KubeApi(access, connections=self.options.writers + 6, agent="proa-simnodes")
        self._loop = Loop("simnodes", clock)
        self._writers = Writers(self._loop, self.options.writers)
        self._tracker = Tracker(self._api, self._loop, self._writers, clock, self.options.heartbeat)
        self._followers = list(self._make_followers())

    def _make_followers(self) -> Iterator[Follower]:
        tracker, post = self._tracker, self._loop.post
        yield Follower(self._api, NODES, lambda kind, item: post(lambda: tracker.see(kind, item)))
        if self.options.pods:
            yield Follower(
                self._api,
                _PODS,
                lambda kind, item: post(lambda: _pass(tracker.kubelets, kind, item)),
                only_changes=not self.options.all_pods,
            )
        if self.options.proxy:
            yield Follower(self._api, PATH, lambda kind, item: post(lambda: _pass(tracker.proxy, kind, item)))

    # life

    def __enter__(self) -> Self:
        self._loop.start()
        self._writers.start()
        if self.options.adopt:
            self._adopt()
        self.add(self._shapes)
        for follower in self._followers:
            follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        for follower in self._followers:
            follower.stop()
        self._writers.stop()
        self._loop.stop()
        self._tracker.close()  # the loop would open a socket again, in the middle of its end
        self._api.close()

    @property
    def machines(self) -> Mapping[str, SimMachine]:
        """The nodes by name."""
        return self._tracker.machines

    @property
    def problems(self) -> list[str]:
        """What should not have happened: writes that were refused, errors in the simulation."""
        return self._loop.problems

    # verbs; any thread may use them

    def add(self, shapes: Iterable[Shape]) -> None:
        """Nodes come into being, and register."""
        for shape in shapes:
            agent = SimAgent(self.options.release, timing=self.options.timing, clock=self._clock)
            machine = SimMachine(shape, agent, self._clock)
            self._loop.call(lambda machine=machine: self._tracker.join(machine))  # type: ignore[misc]  # bound at once

    def remove(self, name: str) -> None:
        """A node goes for good: machine and Node."""
        self._loop.call(lambda: self._tracker.leave(name))
        self._api.delete(f"{NODES}/{name}")

    def replace(self, name: str) -> None:
        """A node goes, and a new machine comes under its name: another Node, with the release of the factory."""
        shape = self.machines[name].shape
        self.remove(name)
        self.add([shape])

    def fault(self, *names: str, **changes: Any) -> None:
        """Change the faults of nodes: fields of :class:`~proa.vm.simulated.faults.Faults`. All nodes for no names."""

        def change() -> None:
            for name in names or tuple(self.machines):
                machine = self.machines[name]
                machine.faults = dataclasses.replace(machine.faults, **changes)
                self._tracker.touch(name)
                self._tracker.kubelets.look_again(name)

        self._loop.call(change)

    def reboot(self, name: str) -> None:
        """Somebody reboots a node, without being asked to by an order."""

        def reboot() -> None:
            self.machines[name].agent.reboot()
            self._tracker.touch(name)

        self._loop.call(reboot)

    def listen(self, name: str, path: Path) -> None:
        """The agent of a node takes orders at a Unix socket from now on, and no longer from NodeOS objects.

        The socket goes whenever the node is away, or its agent silent.

        Args:
            name: The node.
            path: Where the socket is; its folder must be there.
        """

        def listen() -> None:
            agent = self.machines[name].agent
            self._tracker.tracked[name].socket = AgentSocket(
                path,
                lambda: self._loop.call(lambda: agent.status),
                lambda order: self._loop.call(lambda: self._tracker.take(name, order)),
            )
            self._tracker.touch(name)

        self._loop.call(listen)

    def status(self, name: str) -> NodeStatus:
        """What the agent of a node says, whether or not anybody can hear it."""
        return self.machines[name].agent.status

    def boots(self) -> dict[str, int]:
        """How often each node has rebooted."""
        return {name: machine.agent.boots for name, machine in self.machines.items()}

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until all nodes have registered and are Ready, and what is known about that is written.

        Raises:
            ProaError: ``TIMEOUT``; ``TOOL`` with what went wrong meanwhile.
        """

        def ready() -> bool:
            if self.problems:
                raise ProaError(Code.TOOL, "simulated nodes: " + "; ".join(self.problems[:5]))
            told = (self._tracker.tracked.get(name) for name in tuple(self.machines))
            return all(one and one.said.ready and one.machine.uid for one in told) and self._writers.idle

        until(ready, f"{len(self.machines)} nodes to be Ready", seconds)

    def _adopt(self) -> None:
        """Go on with the simulated nodes that are there already, as their objects say they are."""
        told = {item["metadata"]["name"]: item.get("status") for item in self._api.items(PATH)}
        selector = ",".join(f"{key}={value}" for key, value in KIND.items())
        for number, node in enumerate(self._api.items(NODES, {"labelSelector": selector})):
            name, labels = node["metadata"]["name"], node["metadata"]["labels"]
            status = parse(NodeStatus, told[name]) if told.get(name) else None
            agent = SimAgent(self.options.release, status=status, timing=self.options.timing, clock=self._clock)
            machine = SimMachine(Shape(name, labels=labels, number=number), agent, self._clock)
            machine.adopt(node)
            self._loop.call(lambda machine=machine: self._tracker.join(machine, registered=True))  # type: ignore[misc]


def _pass(to: Kubelets | SimulatedProxies, kind: str, item: Object) -> None:
    if kind == LISTED:
        to.listed(item["uids"])
    else:
        to.see(kind, item)


@contextmanager
def run(
    plane: ControlPlane, count: int = 3, *, zones: int = 3, control_planes: int = 0, **options: Any
) -> Iterator[SimNodes]:
    """Nodes that are Ready and live as long as the block.

    Args:
        plane: The control plane.
        count: How many, besides those of the control plane.
        zones: Over how many zones they are spread.
        control_planes: How many of the control plane.
        options: Fields of :class:`Options`.

    Raises:
        ProaError: ``TIMEOUT`` when they do not become Ready.
    """
    access = plane.user("proa-simnodes", [ADMINS])
    with SimNodes(access, shapes(count, zones=zones, control_planes=control_planes), Options(**options)) as nodes:
        nodes.wait_ready()
        yield nodes
