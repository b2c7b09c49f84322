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
from proa.scheduler.testing.server import NoServer

NODE = About("Node", "n1", "u1")
PATH = "/apis/events.k8s.io/v1/namespaces/default/events"


@dataclass
class FakeApi(NoServer):
    """Remembers what was asked, or fails."""

    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    error: ApiError | None = None

    def create(self, path: str, body: Any) -> dict[str, Any]:
        self.asked.append(("create", path, body))
        if self.error:
            raise self.error
        return {}

    def merge(self, path: str, body: Any) -> dict[str, Any]:
        self.asked.append(("merge", path, body))
        if self.error:
            raise self.error
        return {}


@dataclass
class Case:
    """Events on a virtual clock; they are written by :meth:`run` alone."""

    api: FakeApi = field(default_factory=FakeApi)
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
        return [body for verb, _, body in self.api.asked if verb == "create"]

    @property
    def counted(self) -> list[int]:
        return [body["series"]["count"] for verb, _, body in self.api.asked if verb == "merge"]


@pytest.fixture
def case() -> Case:
    return Case()


def test_an_event_says_what_happened_to_what(case: Case) -> None:
    case.events.tell(NODE, "DrainTimeout", "not drained\nwithin 15m", action="Drain", warning=True)
    case.run()
    ((verb, path, body),) = case.api.asked
    assert (verb, path) == ("create", PATH)
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
    assert case.api.asked[1][1] == f"{PATH}/{case.created[0]['metadata']['name']}"


def test_another_note_is_another_event(case: Case) -> None:
    for note in ("one", "two"):
        case.events.tell(NODE, "Held", note)
    case.events.tell(About("Node", "n2", "u2"), "Held", "one")
    case.run()
    assert len(case.created) == 3


def test_an_event_that_the_server_has_forgotten_is_told_anew(case: Case) -> None:
    case.events.tell(NODE, "Held", "x")
    case.run(7200)
    case.api.error = ApiError(404, "not found", reason="NotFound")
    case.events.tell(NODE, "Held", "x")
    assert case.events.step() == 0.0
    case.events.step()
    case.api.error = None
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
    case.api.error = ApiError(0, "refused")
    case.events.tell(NODE, "Held", "x")
    case.run(120)
    assert (len(case.api.asked), case.events.dropped) == (emit.TRIES, 1)
    case.api.error = None
    case.events.tell(NODE, "Held", "y")
    case.run(1)
    assert len(case.created) == emit.TRIES + 1


def test_a_wish_to_be_left_alone_is_heeded(case: Case) -> None:
    case.api.error = ApiError(429, "busy", retry_after=30)
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
    api = FakeApi()
    events = Events(api, "x")
    events.start()
    events.tell(NODE, "Held", "x")
    assert events.stop(5)
    assert len(api.asked) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "events"]


def test_it_ends_although_the_server_is_away() -> None:
    events = Events(FakeApi(error=ApiError(0, "refused")), "x")
    events.start()
    events.tell(NODE, "Held", "x")
    assert events.stop(5)
