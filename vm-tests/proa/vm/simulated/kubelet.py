"""Binds pods to simulated nodes, and plays the kubelets that start and end them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from proa.vm.kube.api import STRATEGIC, KubeApi, Object
from proa.vm.kube.follow import DELETED
from proa.vm.simulated.loop import Loop, Writers
from proa.vm.simulated.machine import SimMachine
from proa.vm.simulated.pods import Duty, Pod, end_after, fits, read, running, wanted_node

_PODS = "/api/v1/pods"


class Kubelets:
    """Everything but the watch runs in the loop.

    Args:
        api: The API server.
        loop: Where what the API server says is worked on.
        writers: Who writes.
        machines: The nodes by name.
    """

    def __init__(self, api: KubeApi, loop: Loop, writers: Writers, machines: Mapping[str, SimMachine]) -> None:
        self._api = api
        self._loop = loop
        self._writers = writers
        self._machines = machines
        self._pods: dict[str, Pod] = {}
        self._turn = 0
        self._addresses = itertools.count(1)
        self._given: dict[str, str] = {}

    def see(self, kind: str, document: Object) -> None:
        """Take in what happened to a pod."""
        pod = read(document)
        known = self._pods.get(pod.uid)
        if kind == DELETED:
            self._given.pop(pod.uid, None)
        if kind == DELETED or pod.duty is Duty.NOTHING or (pod.node and pod.node not in self._machines):
            self._pods.pop(pod.uid, None)
            return
        self._pods[pod.uid] = pod
        if known is None or known.duty is not pod.duty:
            self._begin(pod)

    def listed(self, uids: set[str]) -> None:
        """Forget what is no longer there."""
        self._pods = {uid: pod for uid, pod in self._pods.items() if uid in uids}

    def look_again(self, name: str) -> None:
        """A node has changed: pods that wait for it may go on."""
        for pod in list(self._pods.values()):
            if pod.node in ("", name):
                self._begin(pod)

    def go_down(self, name: str) -> None:
        """A node is away: its pods are no longer Ready."""
        self._writers.want(("pods", name), lambda: self._mark_unready(name))

    def _begin(self, pod: Pod) -> None:
        if pod.duty is Duty.BIND:
            self._bind(pod)
            return
        machine = self._machines[pod.node]
        if pod.duty is Duty.START:
            self._loop.at(machine.agent.timing.pod_start, lambda: self._start(pod.uid))
        elif (seconds := end_after(pod, machine.faults, machine.agent.timing)) is not None:
            self._loop.at(seconds, lambda: self._end(pod.uid))

    def _bind(self, pod: Pod) -> None:
        name = wanted_node(pod) or self._next_seat(pod)
        if name not in self._machines or not self._machines[name].uid:
            return
        target = {"apiVersion": "v1", "kind": "Node", "name": name}
        metadata = {"name": pod.name, "uid": pod.uid}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        path = f"{pod.path}/binding"
        self._writers.want(("pod", pod.uid), lambda: _ignore(self._api.call("POST", path, body).check(404, 409)))

    def _next_seat(self, pod: Pod) -> str:
        """Round robin over the nodes that the pod may go to; empty if there is none."""
        machines = list(self._machines.values())
        for number in range(len(machines)):
            machine = machines[(self._turn + number) % len(machines)]
            if fits(pod, machine.seat):
                self._turn = (self._turn + number + 1) % len(machines)
                return machine.name
        return ""

    def _start(self, uid: str) -> None:
        pod = self._pods.get(uid)
        machine = self._machines.get(pod.node) if pod else None
        if pod is None or machine is None or pod.duty is not Duty.START or machine.agent.away:
            return
        ready = not machine.faults.unready_pods
        body = running(pod, ready=ready, address=self._address(pod), now=machine.time())
        self._patch(pod, body)

    def _end(self, uid: str) -> None:
        pod = self._pods.get(uid)
        machine = self._machines.get(pod.node) if pod else None
        if pod is None or machine is None or pod.duty is not Duty.END or machine.agent.away:
            return
        if end_after(pod, machine.faults, machine.agent.timing) is not None:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
            path = pod.path
            self._writers.want(
                ("pod", pod.uid), lambda: _ignore(self._api.call("DELETE", path, options).check(404, 409))
            )

    def _mark_unready(self, name: str) -> None:
        """In a writer's thread."""
        unready = [{"type": kind, "status": "False"} for kind in ("Ready", "ContainersReady")]
        for document in self._api.items(_PODS, {"fieldSelector": f"spec.nodeName={name}"}):
            pod = read(document)
            if pod.ready:
                body = {"metadata": {"uid": pod.uid}, "status": {"conditions": unready}}
                self._api.call("PATCH", f"{pod.path}/status", body, content=STRATEGIC).check(404, 409)

    def _patch(self, pod: Pod, body: Object) -> None:
        body["metadata"] = {"uid": pod.uid}
        path = f"{pod.path}/status"
        self._writers.want(
            ("pod", pod.uid),
            lambda: _ignore(self._api.call("PATCH", path, body, content=STRATEGIC).check(404, 409)),
        )

    def _address(self, pod: Pod) -> str:
        """Its address, the same at every start: a second one of a family would be refused."""
        if pod.uid not in self._given:
            number = next(self._addresses)
            address = pod.document.get("status", {}).get("podIP")
            self._given[pod.uid] = address or f"10.{number // 65536 % 200}.{number // 256 % 256}.{number % 256}"
        return self._given[pod.uid]


def _ignore(_: object) -> None:
    """For the sake of the types: a write gives nothing back."""
