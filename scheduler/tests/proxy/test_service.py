"""Listening to the agent, and the proxy as a whole: how it begins and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from proa.core.orders.client import OrderClient
from proa.core.orders.messages import NodeStatus, Order, Phase
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.stream import Event
from proa.scheduler.proxy.follower import Follower
from proa.scheduler.proxy.service import Service
from proa.scheduler.testing.apiserver import ApiServer, Asked

GOOD = NodeStatus(phase=Phase.GOOD)
STAGED = NodeStatus(phase=Phase.STAGED)
PATH = "/apis/proa.dev/v1alpha1/nodeoses/n1"
LOST = ProaError(Code.DEVICE, "the agent cannot be reached")


@dataclass
class FakeAgent(OrderClient):
    """Says what it is told to, then ends its stream, or fails."""

    streams: list[list[NodeStatus | Exception]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    def follow(self) -> Iterator[NodeStatus]:
        for said in self.streams.pop(0):
            if isinstance(said, Exception):
                raise said
            yield said

    def put(self, order: Order) -> NodeStatus:
        self.orders.append(order)
        return GOOD


def follower(agent: FakeAgent, clock: VirtualClock) -> Follower:
    return Follower(agent, ChangeSignal(), clock, lambda: 1.0)


def test_the_last_word_is_kept() -> None:
    clock = VirtualClock(5.0)
    found = follower(FakeAgent([[GOOD, STAGED], [LOST], [GOOD, LOST]]), clock)
    assert (found.told.status, found.told.answering, found.told.since) == (None, False, 5.0)
    found.cycle()
    assert (found.told.status, found.told.answering, found.told.connection) == (STAGED, False, 1)
    assert found.told.problem == "the agent has ended its stream"
    clock.sleep(10)
    found.cycle()
    assert (found.told.status, found.told.since, found.told.problem) == (STAGED, 5.0, LOST.message)
    clock.sleep(10)
    found.cycle()
    assert (found.told.status, found.told.since, found.told.connection) == (GOOD, 25.0, 2)


def test_an_agent_that_is_away_is_looked_for_ever_more_seldom() -> None:
    streams: list[list[NodeStatus | Exception]] = [[LOST] for _ in range(8)]
    found = follower(FakeAgent([*streams, [GOOD], [LOST]]), VirtualClock())
    pauses = [found.cycle() for _ in range(10)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[7] == 5.0
    assert pauses[8:] == [0.2, 0.4]


def test_it_rings_only_for_news() -> None:
    changed = ChangeSignal()
    found = Follower(FakeAgent([[LOST], [LOST], [GOOD]]), changed, VirtualClock())
    found.cycle()
    assert changed.count == 1
    found.cycle()
    assert changed.count == 1
    found.cycle()
    assert changed.count == 3


# the whole


def a_server(error: Exception | None = None) -> ApiServer:
    """An API server with one NodeOS, which has an order; it refuses writes with an error, if there is one."""
    api = ApiServer()
    api.add(PATH, {"metadata": {"uid": "u"}, "spec": {"order": {"id": 1, "action": "None", "fence": 1}}})
    api.fail(lambda verb, path: error if verb == "merge" else None)
    return api


class Lasting(FakeAgent):
    """Its stream does not end."""

    def follow(self) -> Iterator[NodeStatus]:
        yield GOOD
        threading.Event().wait()


def run(service: Service) -> threading.Thread:
    thread = threading.Thread(target=service.run)
    thread.start()
    return thread


def test_it_carries_until_it_is_told_to_end() -> None:
    server, agent, said = a_server(), Lasting(), list[str]()
    wrote = threading.Event()

    def after(asked: Asked) -> None:
        if asked.is_write:
            wrote.set()

    server.after = after
    service = Service("n1", server, agent, lambda message, **_: said.append(message))
    handlers: dict[int, Any] = {}
    service.end_on_signals(lambda number, handler: handlers.update({number: handler}))
    thread = run(service)
    assert wrote.wait(300)
    (handler,) = handlers.values()
    handler(15, None)
    thread.join(300)
    assert not thread.is_alive()
    assert [one.body for one in server.writes] == [{"metadata": {"uid": "u"}, "status": document(GOOD)}]
    assert server.items[PATH]["status"] == document(GOOD)
    assert server.asked[0].query["fieldSelector"] == "metadata.name=n1"
    assert [order.id for order in agent.orders] == [1]
    assert said[-1] == "ended"


def test_a_defect_ends_it_loudly() -> None:
    server = a_server(RuntimeError("a defect"))
    service = Service("n1", server, Lasting(), lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="a defect"):
        service.run()


def test_a_defect_of_a_thread_ends_it_loudly() -> None:
    agent = FakeAgent([[RuntimeError("a defect")]])
    service = Service("n1", a_server(), agent, lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="a defect"):
        service.run()


def test_what_is_lost_is_told_once() -> None:
    said: list[tuple[str, object]] = []
    agent = FakeAgent([[LOST], [LOST], [LOST]])
    service = Service("n1", a_server(), agent, lambda message, **fields: said.append((message, fields.get("why"))))
    for _ in range(3):
        service._follower.cycle()
        service._proxy_step()
    service._follower.told = replace(service._follower.told, answering=True, status=GOOD)
    service._proxy_step()
    assert said == [("the agent no longer answers", LOST.message), ("the agent answers", "")]


def test_an_api_server_that_comes_back_is_told_and_written_to_soon() -> None:
    said: list[str] = []
    server = a_server(ApiError(0, "the connection was refused"))
    service = Service("n1", server, FakeAgent(), lambda message, **_: said.append(message))
    service._follower.told = replace(service._follower.told, answering=True, status=GOOD)
    reflector, proxy = service._reflector, service._proxy
    reflector._take(Event("ADDED", {"metadata": {"name": "n1", "uid": "u", "resourceVersion": "1"}}))
    for _ in range(8):
        proxy._write_due = 0.0
        proxy.step()
    reflector.problem = "the connection was refused"
    wait = service._proxy_step()
    assert said == ["could not write the status", "the API server no longer answers"]
    assert wait is not None
    assert wait <= 2.0
    due = proxy._write_due
    reflector.problem = ""  # as at the beginning of every try
    service._proxy_step()
    assert said[-1] == "the API server no longer answers"
    reflector._open = True
    service._proxy_step()
    assert said[-1] == "the API server answers"
    assert proxy._write_due < due
