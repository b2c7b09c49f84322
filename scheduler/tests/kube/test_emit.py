"""Events: told once, counted when they come again, never too many, and never in the way."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.clock import VirtualClock
from proa.scheduler.kube import emit
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.emit import About, Events
from proa.scheduler.testing.apiserver import ApiServer

NODE = About("Node", "n1", "u1")
PATH = "/apis/events.k8s.io/v1/namespaces/default/events"


@dataclass
class Case:
    """Events on a virtual clock; they are written by :meth:`run` alone."""

    api: ApiServer = field(default_factory=ApiServer)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.events = Events(self.api, "proa-scheduler-0", clock=self.clock)

    def run(self, seconds: float = 0.0) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            pause = self.events.step()
            if pause is None or self.clock.monotonic() + pause > end:
                self.clock.sleep(end - self.clock.monotonic())
                return
            self.clock.sleep(pause)

    @property
    def created(self) -> list[Any]:
        return [one.body for one in self.api.asked if one.verb == "create"]

    @property
    def counted(self) -> list[int]:
        return [one.body["series"]["count"] for one in self.api.asked if one.verb == "merge"]


@pytest.fixture
def case() -> Case:
    return Case()


def test_an_event_says_what_happened_to_what(case: Case) -> None:
    case.events.tell(NODE, "DrainTimeout", "not drained\nwithin 15m", action="Drain", warning=True)
    case.run()
    assert case.api.log == [("create", PATH)]
    (body,) = case.created
    name = body["metadata"].pop("name")
    assert name.startswith("n1.")
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "proa.dev/scheduler",
        "reportingInstance": "proa-scheduler-0",
        "action": "Drain",
        "reason": "DrainTimeout",
        "note": "not drained within 15m",
        "type": "Warning",
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"},
    }


def test_what_is_told_again_is_counted(case: Case) -> None:
    for _ in range(100):
        case.events.tell(NODE, "Held", "a person holds it")
        case.run(1)
    assert len(case.created) == 1
    assert case.counted == [60]
    case.run(60)
    assert case.counted == [60, 100]
    case.run(3600)
    assert case.counted == [60, 100]
    assert case.api.asked[1].path == f"{PATH}/{case.created[0]['metadata']['name']}"


def test_another_note_is_another_event(case: Case) -> None:
    for note in ("one", "two"):
        case.events.tell(NODE, "Held", note)
    case.events.tell(About("Node", "n2", "u2"), "Held", "one")
    case.run()
    assert len(case.created) == 3


def test_an_event_that_the_server_has_forgotten_is_told_anew(case: Case) -> None:
    case.events.tell(NODE, "Held", "x")
    case.run(7200)
    (path,) = case.api.items
    case.api.remove(path)
    case.events.tell(NODE, "Held", "x")
    assert case.events.step() == 0.0
    case.events.step()
    case.run(1)
    assert len(case.created) == 2


def test_many_at_once_come_slowly(case: Case) -> None:
    for number in range(200):
        case.events.tell(NODE, "Held", str(number))
    case.run()
    assert len(case.created) == 50
    case.run(10)
    assert 95 <= len(case.created) <= 100
    case.run(60)
    assert len(case.created) == 200


def test_too_many_are_dropped(case: Case) -> None:
    for number in range(emit.QUEUE + 10):
        case.events.tell(NODE, "Held", str(number))
    assert case.events.dropped == 10


def test_what_the_server_does_not_take_is_given_up(case: Case) -> None:
    error = ApiError(0, "refused")
    case.api.fail(lambda verb, path: error)
    case.events.tell(NODE, "Held", "x")
    case.run(120)
    assert (len(case.api.asked), case.events.dropped) == (emit.TRIES, 1)
    case.api.mend()
    case.events.tell(NODE, "Held", "y")
    case.run(1)
    assert len(case.created) == emit.TRIES + 1


def test_a_wish_to_be_left_alone_is_heeded(case: Case) -> None:
    error = ApiError(429, "busy", retry_after=30)
    case.api.fail(lambda verb, path: error)
    case.events.tell(NODE, "Held", "x")
    case.run(29)
    assert len(case.api.asked) == 1


def test_what_is_remembered_has_an_end(case: Case) -> None:
    assert case.events.remembered == emit.KNOWN
    case.events.remembered = 20
    for number in range(25):
        case.events.tell(NODE, "Held", str(number))
        case.run(1)
    asked = len(case.created)
    case.events.tell(NODE, "Held", "0")
    case.run(1)
    assert len(case.created) == asked + 1


@given(st.text(), st.text())
def test_nothing_that_is_told_fails(reason: str, note: str) -> None:
    case = Case()
    case.events.tell(NODE, reason, note * 100)
    case.run()
    (body,) = case.created
    assert len(body["note"].encode()) <= 1024


def test_a_thread_writes_them_and_ends() -> None:
    api = ApiServer()
    events = Events(api, "x")
    events.start()
    events.tell(NODE, "Held", "x")
    assert events.stop(300)
    assert len(api.asked) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "events"]


def test_it_ends_although_the_server_is_away() -> None:
    api = ApiServer()
    api.fail(lambda verb, path: ApiError(0, "refused"))
    events = Events(api, "x")
    events.start()
    events.tell(NODE, "Held", "x")
    assert events.stop(300)
