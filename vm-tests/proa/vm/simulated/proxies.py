"""Carries orders and status between NodeOS objects and simulated agents, for all nodes in one place.

Where the real proxy on a node is what is tested, agents listen at sockets instead
(:mod:`proa.vm.simulated.order_socket`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proa.core.orders.messages import NodeStatus, Order
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.spec.crd import RESOURCES
from proa.vm.kube.api import MERGE, KubeApi, Object
from proa.vm.kube.follow import DELETED
from proa.vm.simulated.agent import SimAgent
from proa.vm.simulated.loop import Loop, Writers

PATH: Final = RESOURCES["NodeOS"].path


@dataclass
class _Known:
    """A NodeOS as it was last seen, and its status: as it is there, and as it is to be there."""

    uid: str
    order: Object | None
    written: Object
    wanted: Object


class SimulatedProxies:
    """Everything but the watch runs in the loop.

    Args:
        api: The API server.
        loop: Where what the API server says is worked on.
        writers: Who writes.
        agents: The agent of a node; none for one that is not ours.
        touched: Told of a node whose agent was given an order.
    """

    def __init__(
        self,
        api: KubeApi,
        loop: Loop,
        writers: Writers,
        agents: Callable[[str], SimAgent | None],
        touched: Callable[[str], None],
    ) -> None:
        self._api = api
        self._loop = loop
        self._writers = writers
        self._agents = agents
        self._touched = touched
        self._known: dict[str, _Known] = {}

    def see(self, kind: str, item: Object) -> None:
        """Take in what happened to a NodeOS."""
        name, uid = item["metadata"]["name"], item["metadata"]["uid"]
        known = self._known.get(name)
        if kind == DELETED:
            if known is not None and known.uid == uid:
                del self._known[name]
            return
        order = item.get("spec", {}).get("order")
        if known is None or known.uid != uid:
            there = item.get("status") or {}
            self._known[name] = _Known(uid, order, there, there)
        elif known.order == order:
            return
        else:
            known.order = order
        self.offer(name)
        self.report(name)

    def listed(self, uids: set[str]) -> None:
        """Forget what is no longer there."""
        self._known = {name: known for name, known in self._known.items() if known.uid in uids}

    def offer(self, name: str) -> None:
        """Give the agent its order, unless it has it or does not answer."""
        agent, known = self._agents(name), self._known.get(name)
        if agent is None or known is None or known.order is None or not agent.reachable:
            return
        try:
            agent.take(parse(Order, known.order, "spec.order"))
        except ProaError as error:
            if error.code is not Code.STALE_ORDER:
                self._loop.problems.append(f"{name}: {error.message}")
            return
        self._touched(name)

    def report(self, name: str) -> None:
        """Write the agent's status, if it answers and has something new to say."""
        agent, known = self._agents(name), self._known.get(name)
        if agent is None or known is None or not agent.reachable:
            return
        wanted = document(status_for(agent.status, known.order))
        if wanted != known.wanted:
            known.wanted = wanted
            self._writers.want(("status", name), lambda: self._write(name, known, wanted))

    def _write(self, name: str, known: _Known, wanted: Object) -> None:
        """In a writer's thread; there is only one at a time for a node."""
        patch = difference(known.written, wanted)
        if not patch:
            return
        body = {"metadata": {"uid": known.uid}, "status": patch}
        answer = self._api.call(
            "PATCH", f"{PATH}/{name}/status", body, content=MERGE, query={"fieldValidation": "Strict"}
        )
        if answer.status in (404, 409, 422) and self._known.get(name) is not known:
            return  # it is gone, or another one has its name
        answer.check(404)
        known.written = wanted


def status_for(status: NodeStatus, order: Mapping[str, Any] | None) -> NodeStatus:
    """What an agent says, without an order that the object has never held: the API server would refuse all of it."""
    seen = status.observed_order
    if seen is not None and seen.id > (order or {}).get("id", 0):
        return replace(status, observed_order=None)
    return status


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The JSON merge patch (RFC 7396) that makes ``new`` out of ``old``: a null for each key that has vanished."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
