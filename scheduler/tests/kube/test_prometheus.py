"""One question to Prometheus: only a whole and empty answer counts as empty. What answers is a socket of the test."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.prometheus import MAX_ANSWER, PrometheusAccess, UnansweredError, ask, shown

Answer = Callable[[socket.socket], None]
TOKEN = "s3cr3t-token"
DOWN = {"metric": {"__name__": "ALERTS", "alertname": "NodeDown", "node": "n7", "job": "kubelet"}, "value": [1, "1"]}


def vector(*series: Any, **rest: Any) -> bytes:
    told = {"status": "success", "data": {"resultType": "vector", "result": list(series)}, **rest}
    return http(json.dumps(told).encode())


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Server:
    """Gives every connection the same answer, and keeps what was asked."""

    def __init__(self, answer: bytes | Answer) -> None:
        self.answer, self.asked = answer, list[bytes]()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(1 << 16))
                try:
                    if callable(self.answer):
                        self.answer(connection)
                    else:
                        connection.sendall(self.answer)
                except OSError:
                    pass  # it has heard enough


@contextmanager
def serving(answer: bytes | Answer) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.socket.close()


def said(answer: bytes | Answer, seconds: float = 5.0, secret: Path | None = None, clock: Clock = SYSTEM) -> str:
    """What is said of an answer that does not count."""
    with serving(answer) as server, pytest.raises(UnansweredError) as caught:
        ask(PrometheusAccess(server.url, secret), "up == 0", seconds, clock)
    return str(caught.value)


def test_an_empty_result_is_empty_and_the_query_was_asked_as_it_is() -> None:
    with serving(vector()) as server:
        assert ask(PrometheusAccess(server.url + "/prometheus/"), 'ALERTS{a="b&c"} > 0', 5.0) == ()
    (asked,) = server.asked
    line, headers = asked.decode().split("\r\n", 1)
    assert line == "GET /prometheus/api/v1/query?query=ALERTS%7Ba%3D%22b%26c%22%7D+%3E+0&timeout=5s HTTP/1.1"
    assert "authorization" not in headers.lower()


def test_what_is_in_a_result_is_told_in_a_few_words() -> None:
    other = {"metric": {"__name__": "up", "instance": "a\x1b[2J\nb"}, "value": [1, "0"]}
    with serving(vector(DOWN, other, {"metric": {}}, "x", {"metric": None})) as server:
        found = ask(PrometheusAccess(server.url), "ALERTS", 5.0)
    assert found[0] == "NodeDown node=n7 job=kubelet"
    assert found[1].startswith("up instance=a")
    assert found[1].isprintable()
    assert found[2:] == ("a series", "a series", "a series")
    assert shown(found) == f"{found[0]}, {found[1]}, a series and 2 more"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (http(b'{"status":"error","errorType":"bad_data","error":"no query"}', "400 Bad Request"), "400: no query"),
        (http(b"<html>", "502 Bad Gateway"), "it answered 502, but not as Prometheus does"),
        (http(b"not JSON"), "but not as Prometheus does"),
        (http(b"[" * 100_000), "but not as Prometheus does"),
        (http(b"[]"), "but not as Prometheus does"),
        (http(b'{"data":{"resultType":"vector","result":[]}}'), "but not as Prometheus does"),
        (http(b'{"status":"success"}'), "no instant vector"),
        (http(b'{"status":"success","data":[]}'), "no instant vector"),
        (http(b'{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}'), "no instant vector"),
        (http(b'{"status":"success","data":{"resultType":"vector","result":null}}'), "no instant vector"),
        (http(b'{"status":"success","data":{"resultType":"vector","result":[]}}', "503 No"), "it answered 503"),
        (vector(warnings=["a store did not answer"]), "may be incomplete: ['a store did not answer']"),
        (http(b"", "302 Found", "Location: http://127.0.0.1:1/"), "it answered 302"),
        (http(gzip.compress(b" " * 10**8), "200 OK", "Content-Encoding: gzip"), "but not as Prometheus does"),
        (vector()[:-1], "interrupted"),
        (b"", "interrupted"),
        (b"SSH-2.0-OpenSSH\r\n", ""),
        (http(b'"' + b"x" * MAX_ANSWER + b'"'), f"longer than {MAX_ANSWER} bytes"),
    ],
)  # fmt: skip
def test_anything_else_is_no_answer(answer: bytes, what: str) -> None:
    found = said(answer)
    assert what in found
    assert found.isprintable()


def test_silence_ends_in_time() -> None:
    over = threading.Event()

    def silent(_: socket.socket) -> None:
        over.wait(10.0)

    try:
        assert "time" in said(silent, seconds=0.1)
    finally:
        over.set()


def test_a_trickle_ends_in_time() -> None:
    """Each byte comes soon enough, the whole does not: the clock goes on by two seconds at every look."""

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(b" ")

    class Fast:
        passed = 0.0

        def monotonic(self) -> float:
            self.passed += 2.0
            return self.passed

    assert "did not answer in time" in said(trickle, 3.0, clock=Fast())  # type: ignore[arg-type]  # it asks for no more


def test_where_nobody_listens_there_is_no_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and it does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnansweredError, match="refused"):
            ask(PrometheusAccess(url), "up", 1.0)


# secrets


def folder(place: Path, **files: str) -> Path:
    for name, text in files.items():
        (place / name.replace("_", ".")).write_text(text)
    return place


def test_the_token_is_sent_and_read_anew_for_each_question(tmp_path: Path) -> None:
    access = folder(tmp_path, token=f"{TOKEN}\n")
    with serving(vector()) as server:
        ask(PrometheusAccess(server.url, access), "up", 5.0)
        folder(tmp_path, token="another")
        ask(PrometheusAccess(server.url, access), "up", 5.0)
        (tmp_path / "token").unlink()
        ask(PrometheusAccess(server.url, access), "up", 5.0)
    first, second, third = server.asked
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in first
    assert b"Authorization: Bearer another\r\n" in second
    assert b"Authorization" not in third


def test_a_server_that_repeats_the_token_does_not_get_it_told(tmp_path: Path) -> None:
    echo = http(json.dumps({"status": "error", "error": f"no user has Bearer {TOKEN}"}).encode(), "401 Unauthorized")
    found = said(echo, secret=folder(tmp_path, token=TOKEN))
    assert found == "it answered 401: no user has Bearer (token)"


@pytest.mark.parametrize(
    ("files", "url", "what"),
    [
        ({"token": TOKEN}, "http://prometheus.example:9090", "over https only"),
        ({"token": "two\nlines"}, "https://127.0.0.1:1", "characters that no token may have"),
        ({"ca_crt": "no certificate"}, "https://127.0.0.1:1", "ca.crt contains no certificate"),
        ({"token": "ä"}, "https://127.0.0.1:1", "token cannot be read: UnicodeDecodeError"),
    ],
)
def test_what_cannot_be_used_is_not_sent(tmp_path: Path, files: dict[str, str], url: str, what: str) -> None:
    with pytest.raises(UnansweredError, match=what) as caught:
        ask(PrometheusAccess(url, folder(tmp_path, **files)), "up", 1.0)
    assert TOKEN not in str(caught.value)


def test_a_folder_in_the_place_of_the_token_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(UnansweredError, match="token cannot be read: IsADirectoryError"):
        ask(PrometheusAccess("https://127.0.0.1:1", tmp_path), "up", 1.0)


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090",
        "ftp://prometheus",
        "http://",
        "http://me:pass@prometheus",
        "http://prometheus?a=b",
        "http://prometheus:99999",
        "http://prometheus:0",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ProaError) as caught:
        PrometheusAccess(url)
    assert caught.value.code is Code.USAGE
    assert "pass" not in caught.value.message.replace("password", "")
