"""A watch, read from a real connection: at once, whole, and to its end, however that comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from proa.scheduler.kube.api import Api, ApiLimits
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import NODES
from proa.scheduler.kube.stream import Event
from proa.scheduler.testing.served import HttpServer, Reply, Request


def node(name: str, **more: object) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": "1"}, **more}


@pytest.fixture
def watch(server: HttpServer) -> Callable[..., Any]:
    def begin(answer: Callable[[Any], None], silence: float = 5.0) -> Any:
        def serve(asked: Request, reply: Reply) -> None:
            reply.begin()
            answer(reply)

        server.answer = serve
        return Api(server.access, limits=ApiLimits(silence=silence)).stream(NODES, {"resourceVersion": "1"})

    return begin


def test_it_asks_for_a_watch(server: HttpServer, watch: Callable[..., Any]) -> None:
    with watch(lambda reply: reply.end()) as stream:
        assert list(stream) == []
    assert server.asked[0].query == {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "1"}


def test_the_last_event_is_not_held_back(server: HttpServer, watch: Callable[..., Any]) -> None:
    """It comes while nothing follows it; a reader that fills its buffer first would wait for more."""

    def answer(reply: Any) -> None:
        reply.event("ADDED", node("n1"))
        server.ending.wait()

    with watch(answer) as stream:
        assert next(iter(stream)) == Event("ADDED", node("n1"))


def test_events_may_be_cut_anywhere(watch: Callable[..., Any]) -> None:
    big = node("n2", x="y" * 100_000)
    text = "".join(json.dumps({"type": "ADDED", "object": item}) + "\n" for item in (node("n1"), big, node("n3")))

    def answer(reply: Any) -> None:
        for start in range(0, len(text), 7919):
            reply.chunk(text[start : start + 7919])
        reply.end()

    with watch(answer) as stream:
        assert [event.object for event in stream] == [node("n1"), big, node("n3")]


def failure(stream: Any) -> ApiError:
    with stream, pytest.raises(ApiError) as caught:
        list(stream)
    return caught.value


def test_a_connection_that_is_cut_within_an_event_is_told(watch: Callable[..., Any]) -> None:
    def answer(reply: Any) -> None:
        reply.event("ADDED", node("n1"))
        reply.chunk('{"type": "ADD')
        reply.cut()

    assert failure(watch(answer)).status == 0


def test_an_end_within_an_event_is_told(watch: Callable[..., Any]) -> None:
    def answer(reply: Any) -> None:
        reply.chunk('{"type": "ADD')
        reply.end()

    assert failure(watch(answer)).message == "the connection was interrupted within an event"


def test_an_error_of_the_server_is_one(watch: Callable[..., Any]) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (2)"}

    def answer(reply: Any) -> None:
        reply.event("ERROR", gone)

    error = failure(watch(answer))
    assert (error.status, error.reason, error.message) == (410, "Expired", gone["message"])


@pytest.mark.parametrize(
    "line", ["no json", "[]", "{}", '{"type": "ADDED", "object": []}', '{"type": "ADDED", "object": {"metadata": 1}}']
)
def test_what_is_no_event_is_told(watch: Callable[..., Any], line: str) -> None:
    assert failure(watch(lambda reply: reply.chunk(line + "\n"))).message == "it sent something that is not an event"


def test_a_watch_that_says_nothing_is_not_waited_for(server: HttpServer, watch: Callable[..., Any]) -> None:
    assert failure(watch(lambda reply: server.ending.wait(), silence=0.3)).message == "no answer in time"


def test_it_can_be_stopped_while_it_is_read(server: HttpServer, watch: Callable[..., Any]) -> None:
    def answer(reply: Any) -> None:
        reply.event("ADDED", node("n1"))
        server.ending.wait()

    with watch(answer) as stream:
        events = iter(stream)
        next(events)
        threading.Timer(0.05, stream.stop).start()
        assert next(events, None) is None


def test_it_can_be_stopped_before_and_after(watch: Callable[..., Any]) -> None:
    stream = watch(lambda reply: reply.end())
    stream.stop()
    with stream:
        assert list(stream) == []
    stream.stop()


def test_a_refusal_is_one_at_once(server: HttpServer) -> None:
    server.answer = lambda asked, reply: reply.send(429, "slow down", "text/plain", Retry_After="3")
    with pytest.raises(ApiError) as caught:
        Api(server.access).stream(NODES)
    assert (caught.value.status, caught.value.retry_after) == (429, 3)
