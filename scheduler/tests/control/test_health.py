"""What the kubelet and Prometheus are told, and where."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.control.health import MAX_CONNECTIONS, HealthServer


class Process:
    """What the answers say."""

    def __init__(self) -> None:
        self.stuck = ""
        self.unready = ""
        self.defect = False
        self.health = HealthServer("127.0.0.1:0", lambda: self.stuck, lambda: self.unready, self.metrics, look=0.01)

    def metrics(self) -> bytes:
        if self.defect:
            raise ProaError(Code.INTERNAL, "the elector has stopped renewing the lease")
        return b"proa_leader 1.0\n"


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def port(process: Process) -> Iterator[int]:
    yield process.health.start()
    process.health.stop()


@pytest.mark.parametrize(
    ("path", "stuck", "unready", "status", "body"),
    [
        ("/healthz", "", "", 200, b"ok\n"),
        ("/healthz", "no step for 130 s", "", 503, b"no step for 130 s\n"),
        ("/healthz", "", "not seen yet: nodes", 200, b"ok\n"),
        ("/readyz", "", "", 200, b"ok\n"),
        ("/readyz", "", "not seen yet: nodes", 503, b"not seen yet: nodes\n"),
        ("/metrics", "x", "y", 200, b"proa_leader 1.0\n"),
        ("/", "", "", 404, b"not found\n"),
        ("/metrics/", "", "", 404, b"not found\n"),
    ],
)
def test_each_path_has_its_answer(
    process: Process, path: str, stuck: str, unready: str, status: int, body: bytes
) -> None:
    process.stuck, process.unready = stuck, unready
    found, _, said = process.health.answer(path)
    assert (found, said) == (status, body)


def test_a_defect_is_an_answer(process: Process) -> None:
    process.defect = True
    assert process.health.answer("/metrics")[::2] == (500, b"the elector has stopped renewing the lease\n")


def test_it_speaks_http(port: int) -> None:
    for path, kind in (("/metrics?x=1", "text/plain; version=0.0.4; charset=utf-8"), ("/healthz", "text/plain")):
        connection = HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, (answer.getheader("Content-Type") or "").startswith(kind)) == (200, True)
        assert answer.read()
        connection.close()


@pytest.mark.parametrize(("address", "asked"), [(":0", "127.0.0.1"), (":0", "::1"), ("[::1]:0", "::1")])
def test_it_listens_by_both_kinds_of_address(process: Process, address: str, asked: str) -> None:
    if not socket.has_dualstack_ipv6():
        asked, address = "127.0.0.1", ":0"
    process.health.address = address
    connection = HTTPConnection(asked, process.health.start(), timeout=300)
    try:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    finally:
        connection.close()
        process.health.stop()


def test_nothing_is_changed_by_it(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/healthz", b"x")
    assert connection.getresponse().status == 501
    connection.close()


@pytest.mark.parametrize("address", ["", "8080x", ":", "localhost", ":99999", ":-1", ":²", "no.such.host.invalid:0"])
def test_an_address_that_cannot_be_listened_on_is_a_mistake_in_the_call(address: str) -> None:
    with pytest.raises(ProaError) as raised:
        HealthServer(address, str, str).start()
    assert raised.value.code is Code.USAGE


def test_a_port_that_is_taken_is_told(port: int) -> None:
    with pytest.raises(ProaError, match="cannot listen"):
        HealthServer(f"127.0.0.1:{port}", str, str).start()


def test_it_ends() -> None:
    health = HealthServer("127.0.0.1:0", str, str, look=0.01)
    health.start()
    (before,) = [thread for thread in threading.enumerate() if thread.name == "health"]
    health.stop()
    before.join(300)
    assert not before.is_alive()


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nX-A: "])
def test_s06_a_thousand_idle_connections_leave_probes_answered(process: Process, port: int, said: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    before = threading.active_count()
    with ExitStack() as idle:
        for _ in range(1000):
            connection = idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            with suppress(OSError):
                connection.sendall(said)
        for path in ("/healthz", "/readyz", "/metrics") * 3:
            probe = HTTPConnection("127.0.0.1", port, timeout=5)
            probe.request("GET", path)
            assert probe.getresponse().status == 200
            probe.close()
        assert threading.active_count() - before <= MAX_CONNECTIONS + 8


def test_s06_whoever_asks_and_goes_away_leaves_nothing_behind(
    process: Process, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3 * MAX_CONNECTIONS):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    probe = HTTPConnection("127.0.0.1", port, timeout=5)
    probe.request("GET", "/healthz")
    assert probe.getresponse().read() == b"ok\n"
    probe.close()
    assert capfd.readouterr().err == ""
