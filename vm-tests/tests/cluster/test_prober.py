"""The prober: every answer is counted, and nobody is asked twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from proa.core.runtime.errors import Code, ProaError
from proa.vm.cluster.prober import Prober
from proa.vm.support.ports import free_ports
from proa.vm.support.waiting import until

ANSWER = b"hello"


@contextmanager
def web(status: int = 200) -> Iterator[int]:
    """A web server on a free port of the loopback address, which answers with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def probe(ports: dict[str, int], ready: list[str], answers: int) -> Prober:
    with Prober(lambda: ready, ports.__getitem__, period=0.01) as prober:
        until(lambda: prober.answers + len(prober.failures) >= answers, "answers")
    return prober


def test_all_that_are_ready_are_asked_in_turn() -> None:
    with web() as one, web() as other:
        prober = probe({"a": one, "b": other}, ["a", "b"], 60)
    counts = [prober.by_node["a"], prober.by_node["b"]]
    assert max(counts) - min(counts) <= 2
    assert sum(counts) == prober.answers
    assert 0 < prober.slowest < 10


def test_what_was_answered_is_passed_on_with_who_said_it() -> None:
    said: list[tuple[str, bytes]] = []
    heard = lambda *one: said.append(one)  # noqa: E731
    with web() as port, Prober(lambda: ["a"], {"a": port}.__getitem__, period=0.01, heard=heard) as prober:
        until(lambda: prober.answers > 3, "answers")
    assert said == [("a", ANSWER)] * prober.answers


def test_what_is_not_200_and_what_is_not_there_are_failures_with_their_reason() -> None:
    with web(500) as broken:
        (nobody,) = free_ports(1)
        ports = {"a": broken, "b": nobody}
        with Prober(lambda: ["a", "b"], ports.__getitem__, period=0.01) as prober:
            until(lambda: {one.node for one in prober.failures} >= {"a", "b"}, "both")
    assert prober.answers == 0
    why = {one.node: one.why for one in prober.failures if one.node}
    assert why["a"] == "status 500"
    assert why["b"].startswith("ConnectionRefusedError")
    told = prober.document(prober.failures[0].at - 2)
    assert (told["answers"], told["failures"]) == (0, len(prober.failures))
    assert told["failed"][0] == {"at": 2.0, "node": prober.failures[0].node, "why": prober.failures[0].why}


def test_nobody_is_a_failure_too() -> None:
    with Prober(list, dict[str, int]().__getitem__, period=0.01) as prober:
        until(lambda: prober.failures, "a failure")
    assert {one.why for one in prober.failures} == {"nobody is ready"}


def test_while_the_api_server_is_away_those_are_asked_that_were_ready_last() -> None:
    away = threading.Event()

    def endpoints() -> list[str]:
        if away.is_set():
            raise ProaError(Code.NETWORK)
        return ["a"]

    with web() as port, Prober(endpoints, {"a": port}.__getitem__, period=0.01) as prober:
        until(lambda: prober.answers > 3, "answers")
        away.set()
        mark = prober.mark()
        until(lambda: prober.answers > mark[0] + 40, "more answers")
        assert prober.since(mark)["failures"] == 0
