"""The local API at its edges: many followers, slow requests, odd methods; whatever is wrong is told as JSON (n17)."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from proa.agent.api.callers import MAX_CALLERS, MAX_OF_PROCESS, MAX_OF_USER, MAX_STREAMS, Callers
from proa.agent.api.handler import MAX_BODY, Handler
from proa.agent.api.listen import Peer, listen
from proa.agent.api.server import ApiAnswer, ApiServer, ApiStream, Body, Gate, Route
from proa.agent.api.timed import SlowRequest, TimedReader
from proa.core.runtime.errors import Code, ProaError

REQUEST = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


class Site:
    """A server, what it has served, and events that do not come before they are let go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bodies = list[Body]()
        self.go = threading.Event()
        routes: dict[tuple[str, str], Route] = {
            ("GET", "/x"): self.answer,
            ("POST", "/x"): self.answer,
            ("GET", "/events"): self.events,
        }
        self.server = ApiServer(listen(path), routes, Gate(frozenset({os.getuid()})))

    def answer(self, body: Body) -> ApiAnswer:
        self.bodies.append(body)
        return ApiAnswer({"schema": "proa.x/v1", "body": dict(body)})

    def events(self, _: Body) -> ApiStream:
        def lines() -> Iterator[dict[str, Any]]:
            yield {"event": "first"}
            self.go.wait(60)

        return ApiStream(lines())

    def link(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(60)
        link.connect(str(self.path))
        return link

    def talk(self, *pieces: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """The answers to these bytes, sent over one connection."""
        with self.link() as link:
            answer = b""
            with suppress(ConnectionError):  # it is told what is wrong before it has said all
                for piece in pieces:
                    link.sendall(piece)
                link.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while data := link.recv(65536):
                    answer += data
        return answers(answer)


def answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """HTTP answers one after another: status, headers, body."""
    found = list[tuple[int, dict[str, str], bytes]]()
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = re.match(r"HTTP/1\.1 (\d+)", first)
        assert status
        length = int(headers.get("content-length", "0"))
        found.append((int(status[1]), headers, data[:length]))
        data = data[length:]
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "socket")
    thread = threading.Thread(target=site.server.serve)
    thread.start()
    try:
        yield site
    finally:
        site.go.set()
        site.server.stop()
        thread.join(300)


def test_n17_followers_shut_nobody_out(site: Site) -> None:
    """Other processes find room, whatever one does."""
    with ExitStack() as open_links:
        for _ in range(MAX_OF_PROCESS):
            link = open_links.enter_context(site.link())
            link.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"first" in until(link, b"first")
        assert site.talk(REQUEST)[0][0] == 503
        assert in_another_process(site.path) == 200
    # once they have gone there is room again
    site.go.set()
    while site.talk(REQUEST)[0][0] != 200:
        pass


def until(link: socket.socket, word: bytes) -> bytes:
    found = b""
    while word not in found:
        found += link.recv(4096)
    return found


def in_another_process(path: Path) -> int:
    """The status that a child gets."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        link = socket.socket(socket.AF_UNIX)
        link.connect(str(path))
        link.sendall(REQUEST)
        os.write(write, link.recv(12)[9:12])
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        return int(pipe.read())


class TestCallers:
    def test_n17_streams_leave_room_for_requests(self) -> None:
        callers = Callers()
        with ExitStack() as following:
            for process in range(MAX_STREAMS):
                callers.come(Peer(0, 0, process))
                following.enter_context(callers.following(Peer(0, 0, process)))
            with pytest.raises(ProaError), callers.following(Peer(0, 0, 999)):
                pass
            for process in range(MAX_CALLERS - MAX_STREAMS):
                callers.come(Peer(0, 0, 1000 + process))
            with pytest.raises(ProaError) as caught:
                callers.come(Peer(0, 0, 2000))
            assert caught.value.code is Code.BUSY

    def test_n17_a_user_with_many_processes_leaves_room_for_root(self) -> None:
        callers = Callers()
        for process in range(MAX_OF_USER):
            callers.come(Peer(65532, 65532, process))
        with pytest.raises(ProaError, match="user 65532"):
            callers.come(Peer(65532, 65532, 999))
        callers.come(Peer(0, 0, 1))
        callers.go(Peer(65532, 65532, 3))
        callers.come(Peer(65532, 65532, 999))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"HEAD /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_n17_head_is_a_get_without_its_body(site: Site, request_: bytes, status: int) -> None:
    ((found, headers, body),) = site.talk(request_)
    assert (found, body) == (status, b"")
    assert headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"BREW /x HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /x HTTP/9.9\r\n\r\n", 505),
        (b"GET /x FTP/1.1\r\n\r\n", 400),
        (b"PUT /x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 404),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400),
        (b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST http://[::1]x:y/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 400),
    ],
)
def test_n17_whatever_is_wrong_is_told_as_json(site: Site, request_: bytes, status: int) -> None:
    found, headers, body = site.talk(request_)[0]
    assert (found, headers["content-type"]) == (status, "application/json")
    assert json.loads(body)["schema"] == "proa.error/v1"
    assert b"<" not in body
    assert site.bodies == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_n17_the_body_of_a_get_is_no_next_request(site: Site, method: str) -> None:
    smuggled = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    head = f"{method} /x HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    ((status, _, _),) = site.talk(head, smuggled)
    assert status == 400
    assert site.bodies == []


def test_n17_a_get_with_a_body_of_json_is_refused_and_the_next_request_is_served(site: Site) -> None:
    first = b'GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{"a":1}'
    assert [status for status, _, _ in site.talk(first, REQUEST)] == [400, 200]
    assert site.bodies == [{}]


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{",
        b"POST /x HTTP/1.1\r\nHost: x\r\n",
        b"POST /x HT",
    ],
)
def test_n17_a_slow_request_is_told_408(site: Site, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.2)
    with site.link() as link:
        link.sendall(begun)
        answer = b""
        while data := link.recv(65536):
            answer += data
    ((status, _, body),) = answers(answer)
    assert (status, json.loads(body)["code"]) == (408, "TIMEOUT")


def test_n17_a_connection_on_which_nothing_comes_is_closed_without_a_word(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.2)
    with site.link() as link:
        assert link.recv(100) == b""


def test_n17_a_request_that_dribbles_has_one_deadline() -> None:
    """Each byte comes in time, all of them do not."""
    one, two = socket.socketpair()
    now = [0.0]
    with one, two:
        reader = TimedReader(one, 30.0, lambda: now[0])
        buffered = io.BufferedReader(reader, 1)

        def dribble() -> None:
            for _ in range(MAX_BODY):
                two.sendall(b"x")
                assert buffered.read(1) == b"x"
                now[0] += 9

        with pytest.raises(SlowRequest):
            dribble()
        assert now[0] < 40
        reader.begin()
        assert buffered.read(1) == b"x", "what had come is not lost"
