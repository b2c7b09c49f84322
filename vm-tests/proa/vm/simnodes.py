"""Simulated nodes on a real API server: kubelets, agents and the binding of pods, for up to 5,000 nodes in a process.

:mod:`proa.vm.simulator` runs them in a process of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from proa.core.clock import SYSTEM, Clock
from proa.core.described import parse
from proa.core.errors import Code, ProaError
from proa.core.wire import NodeStatus, Order
from proa.vm.controlflags import ADMINS
from proa.vm.controlplane import ControlPlane
from proa.vm.kubeaccess import Access
from proa.vm.kubeapi import STRATEGIC, KubeApi, Object
from proa.vm.kubefollow import DELETED, LISTED, Follower
from proa.vm.simagent import SimAgent
from proa.vm.simcourier import PATH, Courier
from proa.vm.simfaults import Timing
from proa.vm.simkubelet import Kubelets
from proa.vm.simloop import Loop, Writers
from proa.vm.simmachine import KIND, Said, Shape, SimMachine, node_document, node_status
from proa.vm.simreleases import FACTORY
from proa.vm.simsocket import AgentSocket
from proa.vm.waiting import until

_NODES: Final = "/api/v1/nodes"
_PODS: Final = "/api/v1/pods"
_READY_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Options:
    """How the nodes are simulated.

    Attributes:
        timing: How long things take.
        release: What runs at first.
        courier: Whether orders and status are carried between NodeOS objects and agents; not where a real proxy does.
        pods: Whether pods are bound, started and ended.
        all_pods: Whether pods that are there at first are looked at; they are left alone otherwise, which spares
            reading them all.
        adopt: Whether to go on with the simulated nodes that are there already.
        writers: Threads that write.
    """

    timing: Timing = field(default_factory=Timing)
    release: str = FACTORY
    courier: bool = True
    pods: bool = True
    all_pods: bool = True
    adopt: bool = False
    writers: int = 8


@dataclass
class _Tracked:
    """A node, and what was last seen of it."""

    machine: SimMachine
    said: Said = field(default_factory=lambda: Said(False, "", ""))
    registered: bool = False
    reachable: bool = True
    away: bool = False
    status: NodeStatus | None = None
    armed: float | None = None
    socket: AgentSocket | None = None


class SimNodes:
    """Nodes that live as long as the ``with`` block. Their objects stay behind.

    Args:
        access: As whom they write; one of ``system:masters`` is never throttled.
        shapes: The nodes that there are at first.
        options: How they are simulated.
        clock: Whose time counts.
    """

    def __init__(
        self, access: Access, shapes: Iterable[Shape] = (), options: Options | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.options = options or Options()
        self.machines: dict[str, SimMachine] = {}
        self._tracked: dict[str, _Tracked] = {}
        self._shapes = tuple(shapes)
        self._clock = clock
        self._api = KubeApi(access, connections=self.options.writers + 6, agent="proa-simnodes")
        self._loop = Loop("simnodes", clock)
        self._writers = Writers(self._loop, self.options.writers)
        self._kubelets = Kubelets(self._api, self._loop, self._writers, self.machines)
        self._courier = Courier(self._api, self._loop, self._writers, self._agent, self._touch)
        self._followers = list(self._make_followers())

    def _make_followers(self) -> Iterator[Follower]:
        yield Follower(self._api, _NODES, lambda kind, item: self._loop.post(lambda: self._see(kind, item)))
        if self.options.pods:
            yield Follower(
                self._api,
                _PODS,
                lambda kind, item: self._loop.post(lambda: _pass(self._kubelets, kind, item)),
                only_changes=not self.options.all_pods,
            )
        if self.options.courier:
            yield Follower(
                self._api, PATH, lambda kind, item: self._loop.post(lambda: _pass(self._courier, kind, item))
            )

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
        for tracked in self._tracked.values():
            if tracked.socket is not None:
                tracked.socket.close()
        self._writers.stop()
        self._loop.stop()
        self._api.close()

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
            self._loop.call(lambda machine=machine: self._join(machine))  # type: ignore[misc]  # bound at once

    def remove(self, name: str) -> None:
        """A node goes for good: machine and Node."""
        self._loop.call(lambda: self._leave(name))
        self._api.delete(f"{_NODES}/{name}")

    def replace(self, name: str) -> None:
        """A node goes, and a new machine comes under its name: another Node, with the release of the factory."""
        shape = self.machines[name].shape
        self.remove(name)
        self.add([shape])

    def fault(self, *names: str, **changes: Any) -> None:
        """Change what is wrong with nodes: fields of :class:`~proa.vm.simfaults.Faults`. All nodes for no names."""

        def change() -> None:
            for name in names or tuple(self.machines):
                machine = self.machines[name]
                machine.faults = dataclasses.replace(machine.faults, **changes)
                self._touch(name)
                self._kubelets.look_again(name)

        self._loop.call(change)

    def reboot(self, name: str) -> None:
        """Somebody reboots a node, without being asked to by an order."""

        def reboot() -> None:
            self.machines[name].agent.reboot()
            self._touch(name)

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
            self._tracked[name].socket = AgentSocket(
                path,
                lambda: self._loop.call(lambda: agent.status),
                lambda order: self._loop.call(lambda: self._take(name, order)),
            )
            self._touch(name)

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
            told = (self._tracked.get(name) for name in tuple(self.machines))
            return all(one and one.said.ready and one.machine.uid for one in told) and self._writers.idle

        until(ready, f"{len(self.machines)} nodes to be Ready", seconds)

    # in the loop

    def _adopt(self) -> None:
        """Go on with the simulated nodes that are there already, as their objects say they are."""
        told = {item["metadata"]["name"]: item.get("status") for item in self._api.items(PATH)}
        selector = ",".join(f"{key}={value}" for key, value in KIND.items())
        for number, node in enumerate(self._api.items(_NODES, {"labelSelector": selector})):
            name, labels = node["metadata"]["name"], node["metadata"]["labels"]
            status = parse(NodeStatus, told[name]) if told.get(name) else None
            agent = SimAgent(self.options.release, status=status, timing=self.options.timing, clock=self._clock)
            machine = SimMachine(Shape(name, labels=labels, number=number), agent, self._clock)
            machine.adopt(node)
            self._loop.call(lambda machine=machine: self._join(machine, registered=True))  # type: ignore[misc]

    def _agent(self, name: str) -> SimAgent | None:
        """The agent of a node, for the courier; none where a socket is for that."""
        tracked = self._tracked.get(name)
        return tracked.machine.agent if tracked and tracked.socket is None else None

    def _take(self, name: str, order: Order) -> NodeStatus:
        status = self.machines[name].agent.take(order)
        self._touch(name)
        return status

    def _join(self, machine: SimMachine, registered: bool = False) -> None:
        tracked = _Tracked(machine, registered=registered)
        tracked.said = machine.advance()
        self._tracked[machine.name] = tracked
        self.machines[machine.name] = machine
        if not registered:
            self._write(tracked)
        self._touch(machine.name)
        self._courier.offer(machine.name)

    def _leave(self, name: str) -> None:
        socket = self._tracked[name].socket
        if socket is not None:
            socket.close()
        del self.machines[name], self._tracked[name]

    def _see(self, kind: str, node: Object) -> None:
        """Take in what happened to a Node."""
        if kind == LISTED:
            return
        machine = self.machines.get(node["metadata"]["name"])
        if machine is None:
            return
        if kind == DELETED:
            machine.uid = "" if machine.uid == node["metadata"]["uid"] else machine.uid
            return
        before = (machine.uid, machine.unschedulable)
        machine.see(node)
        if before != (machine.uid, machine.unschedulable):
            self._kubelets.look_again(machine.name)

    def _touch(self, name: str) -> None:
        """Something may have happened to a node: tell whom it concerns."""
        tracked = self._tracked.get(name)
        if tracked is None:
            return
        machine, agent = tracked.machine, tracked.machine.agent
        said = machine.advance()
        if said != tracked.said:
            tracked.said = said
            self._write(tracked)
            self._kubelets.look_again(name)
        if agent.away and not tracked.away:
            self._kubelets.go_down(name)
        back = agent.reachable and not tracked.reachable
        news = back or agent.status is not tracked.status
        tracked.away, tracked.reachable, tracked.status = agent.away, agent.reachable, agent.status
        if back:
            self._courier.offer(name)
        if news:
            self._courier.report(name)
        if tracked.socket is not None:
            tracked.socket.show(agent.status if agent.reachable else None)
        self._arm(tracked)

    def _arm(self, tracked: _Tracked) -> None:
        """Come back when something happens by itself."""
        due = tracked.machine.due
        if due is None or due == tracked.armed:
            return
        tracked.armed = due
        name = tracked.machine.name
        self._loop.at(max(0.0, due - self._clock.monotonic()), lambda: self._touch(name))

    # writing

    def _write(self, tracked: _Tracked) -> None:
        self._writers.want(("node", tracked.machine.name), lambda: self._write_node(tracked))

    def _write_node(self, tracked: _Tracked) -> None:
        """In a writer's thread; there is only one at a time for a node."""
        shape, said = tracked.machine.shape, tracked.said
        if tracked.registered:
            body = {"status": node_status(shape, said)}
            self._api.call("PATCH", f"{_NODES}/{shape.name}/status", body, content=STRATEGIC).check(404)
            return
        answer = self._api.call("POST", _NODES, node_document(shape, said)).check(409)
        tracked.registered = True
        if answer.status == 409:
            self._write_node(tracked)


def _pass(to: Kubelets | Courier, kind: str, item: Object) -> None:
    if kind == LISTED:
        to.listed(item["uids"])
    else:
        to.see(kind, item)


def shapes(count: int, *, zones: int = 3, control_planes: int = 0, first: int = 0) -> list[Shape]:
    """Nodes ``node-0000`` and on, spread over ``zones``; besides them ``control-0`` and on, of the control plane."""
    workers = [
        Shape(f"node-{n:04}", f"zone-{n % zones}" if zones else "", number=n) for n in range(first, first + count)
    ]
    heads = [
        Shape(f"control-{n}", f"zone-{n % zones}" if zones else "", control_plane=True, number=10000 + n)
        for n in range(control_planes)
    ]
    return [*heads, *workers]


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
