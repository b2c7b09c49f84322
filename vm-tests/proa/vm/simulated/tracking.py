"""What happens to simulated nodes, and whom it concerns: kubelets, proxy, sockets. All of it runs in the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proa.core.orders.messages import NodeStatus, Order
from proa.core.runtime.clock import Clock
from proa.vm.kube.api import STRATEGIC, KubeApi, Object
from proa.vm.kube.follow import DELETED, LISTED
from proa.vm.simulated.agent import SimAgent
from proa.vm.simulated.kubelet import Kubelets
from proa.vm.simulated.leases import Leases
from proa.vm.simulated.loop import Loop, Writers
from proa.vm.simulated.machine import Said, SimMachine, node_document, node_status
from proa.vm.simulated.order_socket import AgentSocket
from proa.vm.simulated.proxies import SimulatedProxies

NODES: Final = "/api/v1/nodes"
_NOTHING: Final = Said(False, "", "")


@dataclass
class Tracked:
    """A node, and what was last seen of it.

    Attributes:
        said: What its kubelet would say.
        told: What the API server is told of that.
        heard: Whether the kubelet can be heard.
        registered: Whether there is, or was, a Node.
        reachable: Whether its agent answers.
        away: Whether it is down.
        status: What its agent says.
        armed: When it is looked at again.
        socket: Where its agent takes orders; none where the proxy brings them.
    """

    machine: SimMachine
    said: Said = _NOTHING
    told: Said = _NOTHING
    heard: bool = True
    registered: bool = False
    reachable: bool = True
    away: bool = False
    status: NodeStatus | None = None
    armed: float | None = None
    socket: AgentSocket | None = None


@dataclass
class Tracker:
    """All nodes.

    Attributes:
        api: The API server.
        loop: The loop.
        writers: Who writes.
        clock: Whose time counts.
        heartbeat: Seconds between two renewals of a lease; 0 for none.
        machines: The nodes by name.
    """

    api: KubeApi
    loop: Loop
    writers: Writers
    clock: Clock
    heartbeat: float = 0.0
    machines: dict[str, SimMachine] = field(default_factory=dict)
    tracked: dict[str, Tracked] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kubelets = Kubelets(self.api, self.loop, self.writers, self.machines)
        self.proxy = SimulatedProxies(self.api, self.loop, self.writers, self.proxy_agent, self.touch)
        self._leases = Leases(self.api, self.loop, self.writers, self.clock, self.heartbeat)

    def join(self, machine: SimMachine, registered: bool = False) -> None:
        """A node comes into being; it registers, unless it has done so before."""
        tracked = Tracked(machine, registered=registered)
        tracked.said = tracked.told = machine.advance()
        self.tracked[machine.name] = tracked
        self.machines[machine.name] = machine
        if not registered:
            self._write(tracked)
        self.touch(machine.name)
        self.proxy.offer(machine.name)
        self._leases.keep(machine)

    def leave(self, name: str) -> None:
        """A node is no more."""
        tracked = self.tracked.pop(name)
        del self.machines[name]
        tracked.machine.gone = True
        if tracked.socket is not None:
            tracked.socket.close()

    def close(self) -> None:
        """All sockets go."""
        for tracked in self.tracked.values():
            if tracked.socket is not None:
                tracked.socket.close()

    def take(self, name: str, order: Order) -> NodeStatus:
        """An agent is given an order, by its socket.

        Raises:
            ProaError: as :meth:`proa.vm.simulated.agent.SimAgent.take`.
        """
        status = self.machines[name].agent.take(order)
        self.touch(name)
        return status

    def proxy_agent(self, name: str) -> SimAgent | None:
        """The agent of a node, for the proxy; none where a socket is for that."""
        tracked = self.tracked.get(name)
        return tracked.machine.agent if tracked and tracked.socket is None else None

    def see(self, kind: str, node: Object) -> None:
        """Take in what happened to a Node."""
        machine = self.machines.get(node["metadata"]["name"]) if kind != LISTED else None
        if machine is None:
            return
        if kind == DELETED:
            if machine.uid == node["metadata"]["uid"]:
                machine.uid = ""
                if machine.agent.away:  # a kubelet registers when it starts, and at no other time
                    self.tracked[machine.name].registered = False
            return
        before = (machine.uid, machine.unschedulable)
        machine.see(node)
        if before != (machine.uid, machine.unschedulable):
            self.kubelets.look_again(machine.name)

    def touch(self, name: str) -> None:
        """Something may have happened to a node: tell whom it concerns."""
        tracked = self.tracked.get(name)
        if tracked is not None:
            self._touch_kubelet(tracked)
            self._touch_agent(tracked)
            self._arm(tracked)

    def _touch_kubelet(self, tracked: Tracked) -> None:
        machine = tracked.machine
        said, heard = machine.advance(), not machine.faults.silent_kubelet
        if said != tracked.said:
            self.kubelets.look_again(machine.name)
        if heard and (said != tracked.told or not tracked.heard):
            tracked.told = said
            self._write(tracked)
        if machine.agent.away and not tracked.away:
            self.kubelets.go_down(machine.name)
        tracked.said, tracked.heard, tracked.away = said, heard, machine.agent.away

    def _touch_agent(self, tracked: Tracked) -> None:
        name, agent = tracked.machine.name, tracked.machine.agent
        back = agent.reachable and not tracked.reachable
        news = back or agent.status is not tracked.status
        tracked.reachable, tracked.status = agent.reachable, agent.status
        if back:
            self.proxy.offer(name)
        if news:
            self.proxy.report(name)
        if tracked.socket is not None:
            tracked.socket.show(agent.status if agent.reachable else None)

    def _arm(self, tracked: Tracked) -> None:
        """Come back when something happens by itself."""
        due = tracked.machine.due
        if due is None or due == tracked.armed:
            return
        tracked.armed = due
        name = tracked.machine.name
        self.loop.at(max(0.0, due - self.clock.monotonic()), lambda: self.touch(name))

    def _write(self, tracked: Tracked) -> None:
        self.writers.want(("node", tracked.machine.name), lambda: self._write_node(tracked))

    def _write_node(self, tracked: Tracked) -> None:
        """In a writer's thread; there is only one at a time for a node."""
        shape, said = tracked.machine.shape, tracked.told
        if tracked.registered:
            body = {"status": node_status(shape, said)}
            self.api.call("PATCH", f"{NODES}/{shape.name}/status", body, content=STRATEGIC).check(404)
            return
        answer = self.api.call("POST", NODES, node_document(shape, said)).check(409)
        tracked.registered = True
        if answer.status == 409:
            self._write_node(tracked)
