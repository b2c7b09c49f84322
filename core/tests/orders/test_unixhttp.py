"""HTTP over a Unix socket, against a server that says what it is told to say."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from proa.core.orders.client import OrderClient
from proa.core.orders.messages import Action, NodeStatus, Observed, Order
from proa.core.orders.unixhttp import MAX_ANSWER, UnixHttp, read_error
from proa.core.runtime.errors import Code, ProaError

NODE = {"schema": "proa.node/v1", "proa": "0.1.0", "status": {"phase": "Good", "observedOrder": {"id": 7}}}
GOOD = NodeStatus(observed_order=Observed(7), phase="Good")


@dataclass
class Server:
    """Answers every caller with the same bytes, then hangs up unless it is to stay."""

    path: Path
    answer: bytes
    stay: bool = False
    asked: list[bytes] = field(default_factory=list)

    def serve(self, listening: socket.socket) -> None:
        with ExitStack() as held:
            while True:
                caller = held.enter_context(listening.accept()[0])
                request = whole(caller)
                if not request:
                    return
                self.asked.append(request)
                with suppress(OSError):
                    caller.sendall(self.answer)
                if not self.stay:
                    caller.close()


def whole(caller: socket.socket) -> bytes:
    """A request with its body, which may come in pieces."""
    request = b""
    while piece := caller.recv(1 << 16):
        request += piece
        head, end, body = request.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        if end and len(body) >= length:
            break
    return request


@contextmanager
def serving(answer: bytes, *, stay: bool = False) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="proa-") as folder, socket.socket(socket.AF_UNIX) as listening:
        path = Path(folder) / "sock"
        listening.bind(str(path))
        listening.listen(4)
        server = Server(path, answer, stay)
        thread = threading.Thread(target=server.serve, args=(listening,))
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join(300)


def http(status: str, *documents: Any, length: bool = True) -> bytes:
    """An answer: one document, or one a line."""
    body = b"".join(json.dumps(one).encode() + b"\n" for one in documents)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
    return (head + (f"Content-Length: {len(body)}\r\n" if length else "Connection: close\r\n") + "\r\n").encode() + body


def refused(work: Callable[[], Any]) -> ProaError:
    with pytest.raises(ProaError) as caught:
        work()
    return caught.value


def test_a_document() -> None:
    with serving(http("200 OK", {"a": 1})) as server:
        assert UnixHttp(server.path).ask("PUT", "/x", {"b": 2}) == {"a": 1}
        assert server.asked[0].startswith(b"PUT /x HTTP/1.1\r\n")
        assert server.asked[0].endswith(b'{"b": 2}')


def test_an_error_comes_through_by_its_code() -> None:
    told = ProaError(Code.STALE_ORDER, "too old", at="fence", hint="Give another.")
    with serving(http("422 Unprocessable", told.document())) as server:
        for ask in (lambda: UnixHttp(server.path).ask("GET", "/"), lambda: list(UnixHttp(server.path).lines("/"))):
            error = refused(ask)
            assert (error.code, error.message, error.at, error.hint) == (told.code, "too old", "fence", "Give another.")


def test_a_code_of_a_newer_version() -> None:
    assert read_error({"code": "TIRED", "message": "so"}).code is Code.INTERNAL


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{\xff}",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (MAX_ANSWER + 1) + b"{}",
    ],
)
def test_what_is_no_answer_is_told_as_one_error(answer: bytes) -> None:
    with serving(answer) as server:
        error = refused(lambda: UnixHttp(server.path, who="the agent").ask("GET", "/"))
        assert error.code is Code.DEVICE
        assert error.message.startswith("the agent cannot be reached: ")
        assert error.at == str(server.path)


def test_a_stream_of_lines() -> None:
    with serving(http("200 OK", {"a": 1}, {"a": 2}, length=False)) as server:
        assert list(UnixHttp(server.path).lines("/events")) == [{"a": 1}, {"a": 2}]


def test_a_stream_that_is_no_stream() -> None:
    with serving(http("500 Oh", {"a": 1})) as server:
        assert "status 500" in refused(lambda: list(UnixHttp(server.path).lines("/"))).message


def test_a_stream_that_falls_silent() -> None:
    with serving(http("200 OK", {"a": 1}, length=False), stay=True) as server:
        lines = UnixHttp(server.path, silence=0.05).lines("/events")
        assert next(lines) == {"a": 1}
        assert "timed out" in refused(lambda: next(lines)).message


def test_an_answer_that_does_not_come() -> None:
    with serving(b"", stay=True) as server:
        assert refused(lambda: UnixHttp(server.path, limit=0.05).ask("GET", "/")).code is Code.DEVICE


def test_nobody_there(tmp_path: Path) -> None:
    error = refused(lambda: UnixHttp(tmp_path / "none").ask("GET", "/"))
    assert (error.code, error.hint) == (Code.DEVICE, "systemctl status proa-agent")


def test_who_may_not_call_is_told_so() -> None:
    error = UnixHttp(Path("/x"), forbidden="not you").lost(PermissionError(13, "Permission denied"))
    assert (error.code, error.message) == (Code.NOT_ALLOWED, "not you")


class TestOrderClient:
    def test_how_a_node_is(self) -> None:
        with serving(http("200 OK", NODE)) as server:
            assert OrderClient(server.path).status() == GOOD

    def test_an_order_is_given(self) -> None:
        with serving(http("200 OK", NODE)) as server:
            assert OrderClient(server.path).put(Order(7, Action.NONE, 2)) == GOOD
            head, _, body = server.asked[0].partition(b"\r\n\r\n")
            assert head.startswith(b"PUT /v1/order ")
            assert json.loads(body) == {"id": 7, "action": "None", "fence": 2, "timeout": "15m"}

    def test_signs_of_life_are_passed_over(self) -> None:
        alive = {"schema": "proa.alive/v1", "proa": "0.1.0"}
        with serving(http("200 OK", NODE, alive, NODE, length=False)) as server:
            assert list(OrderClient(server.path).follow()) == [GOOD, GOOD]

    @pytest.mark.parametrize(
        "document", [{}, {"schema": "proa.status/v1"}, NODE | {"status": []}, NODE | {"status": {"phase": 1}}]
    )
    def test_what_is_no_status(self, document: dict[str, Any]) -> None:
        with serving(http("200 OK", document)) as server:
            assert refused(OrderClient(server.path).status).code is Code.DEVICE

    def test_what_a_newer_agent_tells_besides_is_passed_over(self) -> None:
        with serving(http("200 OK", NODE | {"more": 1, "status": NODE["status"] | {"more": 1}})) as server:  # type: ignore[operator]  # it is a mapping
            assert OrderClient(server.path).status() == GOOD

    def test_nobody_there(self, tmp_path: Path) -> None:
        error = refused(OrderClient(tmp_path / "none").status)
        assert error.message.startswith("the agent cannot be reached")


def test_n17_an_answer_that_comes_before_the_request_is_read(tmp_path: Path) -> None:
    """A server that has no room says so and closes."""
    body = b'{"schema": "proa.error/v1", "code": "BUSY", "message": "full"}'
    answer = b"HTTP/1.1 503 x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen(1)
        client, waiting = UnixHttp(tmp_path / "socket"), [cast("Any", listening)]

        class Closed(socket.socket):
            def sendall(self, data: Any, flags: int = 0) -> None:
                if waiting:
                    link, _ = waiting.pop()._accept()  # without another socket of this class
                    os.write(link, answer)
                    os.close(link)
                super().sendall(data, flags)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "socket", Closed)
            with pytest.raises(ProaError) as caught:
                client.ask("POST", "/x", {"a": 1})
    assert (caught.value.code, caught.value.message) == (Code.BUSY, "full")
