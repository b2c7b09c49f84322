"""The local API over a real socket, every answer held against its description, which it serves too."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from proa.agent.api.callers import MAX_OF_PROCESS
from proa.agent.api.client import Client
from proa.agent.api.handler import MAX_BODY
from proa.agent.api.jobs import KEPT, EventLog, Job, Jobs
from proa.agent.api.listen import Peer, listen, peer
from proa.agent.api.routes import description, routes
from proa.agent.api.server import ApiAnswer, ApiServer, Gate
from proa.agent.daemon.daemon import Daemon
from proa.agent.daemon.notify import Notifier
from proa.agent.node.cancel import Cancel
from proa.agent.node.reports import StartedJob, Status
from proa.agent.node.states import NodeState, SlotState
from proa.agent.testing.node import Node
from proa.agent.testing.raw_api import RawApi
from proa.agent.testing.systemctl import Systemctl
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import Note, Progress, Recorder
from proa.core.schema.json_schema import closed
from proa.core.schema.model import Report
from proa.partition.boot.bootstate import Slot

Served = tuple[Node, RawApi]
SPEC: dict[str, Any] = json.loads(json.dumps(description()))


def check(name: str, document: Any) -> None:
    """A document is of a schema of the specification."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": closed(SPEC["components"])}
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.fixture
def served(node: Node, systemctl: Systemctl) -> Iterator[Served]:
    """A daemon that serves, and a client of it."""
    daemon = Daemon(node.context, allowed=frozenset({os.getuid()}))
    thread = threading.Thread(target=daemon.run)
    ready = threading.Event()
    daemon.notifier = Ready(ready)
    thread.start()
    assert ready.wait(300)
    try:
        yield node, RawApi(node.paths.socket)
    finally:
        daemon.context.cancel.ask()
        thread.join(300)
        assert not thread.is_alive()


class Ready(Notifier):
    """Tells when the daemon is ready."""

    def __init__(self, ready: threading.Event) -> None:
        super().__init__()
        object.__setattr__(self, "ready", ready)

    def send(self, *lines: str) -> None:
        if "READY=1" in lines:
            self.ready.set()  # type: ignore[attr-defined]  # set above: the class is frozen


def test_the_specification_is_one() -> None:
    validate(SPEC)
    with pytest.raises(OpenAPIValidationError, match="title"):
        validate(SPEC | {"info": {}})


def test_the_specification_has_the_states_of_the_table() -> None:
    schemas = SPEC["components"]["schemas"]
    assert schemas["Status"]["properties"]["state"]["enum"] == [state.value for state in NodeState]
    assert schemas["SlotStatus"]["properties"]["state"]["enum"] == [state.value for state in SlotState]


def test_every_route_is_in_the_specification(node: Node) -> None:
    served = {(method.lower(), path) for method, path in routes(node.context, Jobs(EventLog()))}
    assert served == {(method, path) for path, methods in SPEC["paths"].items() for method in methods}


def test_it_serves_its_description(served: Served) -> None:
    assert served[1].get("/v1/openapi.json") == SPEC


def test_status(served: Served) -> None:
    _, client = served
    document = client.get("/v1/status")
    check("Status", document)
    assert list(document)[:2] == ["schema", "proa"]
    assert (document["booted"], document["good"], document["slots"]["a"]["version"]) == ("a", "a", "1")


def test_an_install_by_order(served: Served, release2: str) -> None:
    node, client = served
    job = client.post("/v1/install", {"reference": release2, "activate": True, "tries": 1})
    check("StartedJob", job)
    events = Recorder()
    result = client.follow(job, events)
    assert result["slot"] == "b"
    assert any(isinstance(event, Progress) for event in events.events)
    assert (node.state.trial, node.state.left) == (Slot.B, 1)
    for event in take(client, job["since"]):
        check("Event", event)


def take(client: RawApi, since: int) -> list[dict[str, Any]]:
    """The events up to the end of a job."""
    found = []
    for event in client.events(since):
        found.append(event)
        if event["event"] == "Finished":
            return found
    raise AssertionError


def test_a_refusal_comes_through_whole(served: Served, release2: str) -> None:
    node, client = served
    node.trust(compatible="other")
    with pytest.raises(ProaError) as caught:
        client.follow(client.post("/v1/install", {"reference": release2}), Recorder())
    assert caught.value.code is Code.INCOMPATIBLE
    assert "'other'" in caught.value.message
    check("Status", client.get("/v1/status"))
    assert client.get("/v1/status")["last"]["code"] == "INCOMPATIBLE"


def test_changes_by_order(served: Served, release2: str, systemctl: Systemctl) -> None:
    _, client = served
    client.follow(client.post("/v1/install", {"reference": release2}), Recorder())
    for verb, body, state in (("activate", {"tries": 2}, "armed"), ("deactivate", {}, "staged")):
        answer = client.post(f"/v1/{verb}", body)
        check("Change", answer)
        assert answer["state"] == state
    scrubbed = client.follow(client.post("/v1/scrub", {"slot": "b"}), Recorder())
    assert scrubbed["ok"]
    for verb, code in (("commit", Code.NO_TRIAL), ("rollback", Code.NOT_GOOD), ("cancel", Code.NOTHING_RUNNING)):
        with pytest.raises(ProaError) as caught:
            client.post(f"/v1/{verb}")
        assert caught.value.code is code


@pytest.mark.parametrize(
    ("path", "body", "at"),
    [
        ("/v1/install", {}, "reference"),
        ("/v1/install", {"reference": 1}, "reference"),
        ("/v1/install", {"reference": "x", "force": True}, "force"),
        ("/v1/install", {"reference": "x", "activate": 1}, "activate"),
        ("/v1/activate", {"tries": "3"}, "tries"),
        ("/v1/commit", {"now": True}, "now"),
        ("/v1/install", {"reference": "x", "activate": True, "tries": 9}, "tries"),
        ("/v1/install", {"reference": "x", "tries": 0}, "tries"),
        ("/v1/install", {"reference": "x", "reboot": True}, "reboot"),
        ("/v1/cancel", {"job": "1"}, "job"),
    ],
)
def test_a_body_that_says_something_else(served: Served, path: str, body: dict[str, Any], at: str) -> None:
    with pytest.raises(ProaError) as caught:
        served[1].post(path, body)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, at)


def raw(path: Path, request: bytes) -> tuple[int, dict[str, Any]]:
    """What a request of these bytes is answered: the HTTP status and the document."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(path))
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        answer = b""
        while data := link.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.1 (\d+)", head)
    assert status
    return int(status[1]), json.loads(body)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /v1/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"POST /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]", 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{\xff}", 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000), 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"GET /v1/events?since=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (b"1" * 5000), 400),
        (b"GET /v1/events?since=-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET /v1/events?since=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"POST /v1/commit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 409),
    ],
)
def test_f4_f7_requests_of_any_kind(served: Served, request_: bytes, status: int) -> None:
    found, document = raw(served[0].paths.socket, request_)
    assert found == status
    check("ErrorReport", document)


def test_only_root_may_ask(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = ApiServer(listen(path), {}, Gate(frozenset({os.getuid() + 1})))
    assert path.stat().st_mode & 0o777 == 0o600
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with pytest.raises(ProaError) as caught:
            RawApi(path).get("/v1/status")
        assert caught.value.code is Code.NOT_ALLOWED
    finally:
        server.stop()
        thread.join(300)


def test_callers_beyond_the_limit_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = ApiServer(
        listen(path), {("GET", "/x"): lambda _: ApiAnswer({"schema": "proa.x/v1"})}, Gate(frozenset({os.getuid()}))
    )
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with ExitStack() as waiting:
            for _ in range(MAX_OF_PROCESS):
                waiting.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
            with pytest.raises(ProaError) as caught:
                RawApi(path).get("/x")
            assert caught.value.code is Code.BUSY
        answer: dict[str, Any] = {}
        while not answer:  # their threads end once they have gone
            with suppress(ProaError):
                answer = RawApi(path).get("/x")
        assert answer["schema"] == "proa.x/v1"
    finally:
        server.stop()
        thread.join(300)


@pytest.mark.parametrize("another", [False, True], ids=["gone", "another-servers"])
def test_it_ends_whatever_has_become_of_the_sockets_file(tmp_path: Path, another: bool) -> None:
    path = tmp_path / "socket"
    server = ApiServer(listen(path), {}, Gate(frozenset({os.getuid()})))
    thread = threading.Thread(target=server.serve)
    thread.start()
    path.unlink()
    with ExitStack() as others:
        if another:
            others.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        server.stop()
        thread.join(300)
        assert not thread.is_alive()
        server.stop()


def test_one_that_was_stopped_before_it_began_serves_nobody(tmp_path: Path) -> None:
    server = ApiServer(listen(tmp_path / "socket"), {}, Gate(frozenset({os.getuid()})))
    server.stop()
    server.serve()
    assert server.socket.fileno() == -1


def test_who_may_not_even_call_is_told_so(tmp_path: Path) -> None:
    """The socket is root's: any other user gets EACCES from connect(2)."""
    folder = tmp_path / "run"
    folder.mkdir()
    client = Client(folder / "socket")
    with listen(folder / "socket"), as_nobody(folder):
        for ask in (lambda: client.is_running, lambda: RawApi(folder / "socket").get("/v1/status")):
            with pytest.raises(ProaError) as caught:
                ask()
            assert (caught.value.code, caught.value.exit) == (Code.NOT_ALLOWED, Exit.REFUSED)


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Without the right to enter a folder."""
    root = os.geteuid() == 0
    folder.chmod(0)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_socket_that_is_answered_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listen(path) as first:
        before = path.stat().st_ino
        with pytest.raises(ProaError) as caught:
            listen(path)
        assert (caught.value.code, path.stat().st_ino) == (Code.BUSY, before)
        first.close()
    with listen(path):
        assert path.stat().st_ino != before, "one that is left over is replaced"


def test_the_peer_is_known_by_the_kernel() -> None:
    one, two = socket.socketpair(socket.AF_UNIX)
    with one, two:
        assert peer(one) == Peer(os.getuid(), os.getgid(), os.getpid())


def test_a_client_without_a_daemon(tmp_path: Path) -> None:
    client = Client(tmp_path / "none")
    assert not client.is_running
    with pytest.raises(ProaError) as caught:
        client.get(Status, "/v1/status")
    assert caught.value.code is Code.DEVICE


def test_a_trial_is_committed_by_the_daemon(trial: Node) -> None:
    """Through all of ``run``: reconcile, watch, commit, stop."""
    committed = threading.Event()
    recorder = trial.events

    class Seen:
        def emit(self, event: Any) -> None:
            recorder.emit(event)
            if isinstance(event, Note) and "committed" in event.text:
                committed.set()

    context = trial.context
    object.__setattr__(context, "monitor", Seen())
    daemon = Daemon(context)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    assert committed.wait(300)
    daemon.context.cancel.ask()
    thread.join(300)
    assert trial.state.good is Slot.B
    assert not trial.paths.socket.exists()


class TestJobs:
    def test_one_at_a_time(self) -> None:
        log, go, running = EventLog(), threading.Event(), threading.Event()
        jobs = Jobs(log)

        def wait(job: Job) -> Report:
            running.set()
            go.wait(300)
            return StartedJob(9)

        first = jobs.start("install", wait)
        assert running.wait(300)
        with pytest.raises(ProaError) as caught:
            jobs.start("scrub", lambda _: StartedJob(9))
        assert caught.value.code is Code.BUSY
        progress = jobs.progress()
        assert progress is not None
        assert progress.verb == "install"
        go.set()
        assert finished(log, first)["result"]["job"] == 9
        assert jobs.progress() is None

    def test_it_is_cancelled(self) -> None:
        log = EventLog()
        jobs = Jobs(log)

        def until_cancelled(job: Job) -> Report:
            job.cancel.wait(300)
            job.cancel.check()
            raise AssertionError

        job = jobs.start("install", until_cancelled)
        jobs.cancel()
        assert finished(log, job)["error"]["code"] == "CANCELLED"

    def test_only_the_job_that_is_meant_is_cancelled(self) -> None:
        log = EventLog()
        jobs = Jobs(log)
        job = jobs.start("install", lambda job: StartedJob(int(job.cancel.wait(300))))
        with pytest.raises(ProaError) as caught:
            jobs.cancel(number=job.number + 1)
        assert caught.value.code is Code.NOTHING_RUNNING
        assert not job.cancel.asked
        assert jobs.cancel(number=job.number) is job
        assert finished(log, job)["result"]["job"] == 1

    def test_a_defect_is_told(self) -> None:
        def broken(_: Job) -> Report:
            raise ZeroDivisionError("oh")

        log = EventLog()
        assert finished(log, Jobs(log).start("scrub", broken))["error"]["code"] == "INTERNAL"

    def test_followers_that_come_late_get_what_is_kept(self) -> None:
        log = EventLog()
        for number in range(KEPT + 10):
            log.emit(Note(str(number)))
        log.close()
        events = list(log.follow(0))
        assert (len(events), events[0]["seq"], events[-1]["seq"]) == (KEPT, 11, KEPT + 10)
        assert [event["seq"] for event in log.follow(KEPT + 10)] == [KEPT + 10]

    def test_mere_progress_is_thinned_out(self) -> None:
        log = EventLog(clock=lambda: 1.0)
        for done in range(101):
            log.emit(Progress("root", done, 100))
        log.close()
        assert [event["done"] for event in log.follow(0)] == [0, 100]

    def test_the_first_reason_to_stop_counts(self) -> None:
        cancel = Cancel()
        cancel.ask(Code.INTERRUPTED)
        cancel.ask(Code.CANCELLED)
        with pytest.raises(ProaError) as caught:
            cancel.check()
        assert caught.value.code is Code.INTERRUPTED


def finished(log: EventLog, job: Job) -> dict[str, Any]:
    return next(event for event in log.follow(job.since) if event["event"] == "Finished")


class TestNotify:
    def test_it_tells_systemd(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            notifier = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "90000000"})
            notifier.send("READY=1", "STATUS=fine")
            assert manager.recv(100) == b"READY=1\nSTATUS=fine"
            assert notifier.interval == 30

    def test_an_abstract_socket(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0proa-test-notify")
            Notifier.of({"NOTIFY_SOCKET": "@proa-test-notify"}).send("WATCHDOG=1")
            assert manager.recv(100) == b"WATCHDOG=1"

    def test_that_nobody_listens_is_no_error(self, tmp_path: Path) -> None:
        for environ in ({"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "x"}, {}):
            notifier = Notifier.of(environ)
            notifier.send("READY=1")
            assert notifier.interval == 30.0


@pytest.mark.parametrize("caller", [Peer(0, 0), Peer(0, 100), Peer(1000, 4711)])
def test_root_and_the_group_may_ask(caller: Peer) -> None:
    Gate(group=4711).check(caller)


@pytest.mark.parametrize("group", [4711, None])
@pytest.mark.parametrize("caller", [Peer(1000, 0), Peer(1000, 100), Peer(4711, 1000)])
def test_nobody_else_may_ask(caller: Peer, group: int | None) -> None:
    with pytest.raises(ProaError) as caught:
        Gate(group=group).check(caller)
    assert caught.value.code is Code.NOT_ALLOWED
