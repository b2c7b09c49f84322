"""Registries as the field has them, and as an attacker would: raw servers on loopback that say whatever they like."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from proa.core.oci.access import Access
from proa.core.oci.limits import TransferLimits
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import digest_of
from proa.core.release.document import INDEX_TYPE, MANIFEST_TYPE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.stop import NEVER, Stop

pytestmark = pytest.mark.contract

PASSWORD = "hush-hush"
MANIFEST = b'{"schemaVersion": 2}'
DIGEST = digest_of(MANIFEST)
ENTRY = {"mediaType": MANIFEST_TYPE, "digest": "sha256:" + "5" * 64, "size": 7, "artifactType": "a/b"}
INDEX = json.dumps({"mediaType": INDEX_TYPE, "manifests": [ENTRY]}).encode()
QUICK = TransferLimits(
    connect=5, silence=0.5, answer=1.0, patience=3, minimum_rate=500_000, window=0.5, attempts=3, backoff=0.01
)

Script = Callable[[socket.socket, str, dict[str, str]], None]
"""Answers one request on a socket: the request's target, and its headers with names in lower case."""


class RawServer:
    """A server that says whatever its script says; ``seen`` are targets and headers."""

    def __init__(self, script: Script, host: str = "127.0.0.1") -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self._script = script
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        name = f"[{host}]" if ":" in host else host
        self.address = f"{name}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as reader:
            if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # a TLS handshake
                answer(connection, 400)
                return
            while first := reader.readline():
                pairs = [line.decode().partition(":") for line in iter(reader.readline, b"\r\n") if line]
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                target = first.decode().split()[1]
                self.seen.append((target, headers))
                self._script(connection, target, headers)


def answer(connection: socket.socket, status: int = 200, body: bytes = b"", *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)


def dribble(connection: socket.socket, data: bytes, pause: float = 0.05) -> None:
    """Send a byte at a time, for ever."""
    for number in range(1 << 20):
        connection.sendall(data[number % len(data) :][:1])
        time.sleep(pause)


@contextmanager
def served(script: Script) -> Iterator[tuple[RawServer, Any]]:
    with RawServer(script) as server, opened(server) as source:
        yield server, source


@contextmanager
def opened(server: RawServer, stop: Stop = NEVER, **access: Any) -> Iterator[Any]:
    access.setdefault("plain_http", True)
    reference = parse(f"{server.address}/a/b:1")
    with open_source(reference, Access(**access), limits=QUICK, stop=stop) as source:
        yield source


@pytest.fixture
def auth_file(tmp_path: Path) -> Callable[[RawServer], Path]:
    def write(server: RawServer) -> Path:
        path = tmp_path / "auth.json"
        auth = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        path.write_text(json.dumps({"auths": {server.address: {"auth": auth}}}))
        return path

    return write


def failure(action: Callable[[], object]) -> ProaError:
    with pytest.raises(ProaError) as caught:
        action()
    assert PASSWORD not in caught.value.text("x")
    return caught.value


class TestChallenges:
    """n06."""

    @pytest.mark.parametrize(
        "fields",
        [
            ['Basic realm="{realm}/wrong", Bearer realm="{realm}",service="s, t",scope="repository:a/b:pull"'],
            ['Bearer realm="{realm}",service="s, t",scope="repository:a/b:pull", Basic realm="{realm}/wrong"'],
            ['Basic realm="{realm}/wrong"', 'bearer REALM="{realm}",service="s, t",scope="repository:a/b:pull"'],
            ['Negotiate abc==, Digest realm="{realm}/wrong", nonce=1, Bearer  realm = "{realm}" , service="s, t"'],
            [r'Custom x="\"Bearer realm=\\", Bearer error="invalid_token",realm="{realm}"'],
        ],
    )
    def test_n06_the_token_service_of_the_bearer_challenge_is_asked(
        self, auth_file: Callable[[RawServer], Path], fields: list[str]
    ) -> None:
        def script(connection: socket.socket, target: str, headers: dict[str, str]) -> None:
            if target.startswith("/token"):
                right = not target.startswith("/token/wrong") and PASSWORD in decoded(headers)
                answer(connection, 200 if right else 401, b'{"access_token": "t"}')
            elif headers.get("authorization") == "Bearer t":
                answer(connection, 200, MANIFEST)
            else:
                realm = f"http://{server.address}/token"
                challenge = [f"WWW-Authenticate: {field.replace('{realm}', realm)}" for field in fields]
                answer(connection, 401, b"", *challenge)

        with RawServer(script) as server, opened(server, auth_file=auth_file(server)) as source:
            assert source.manifest(DIGEST) == MANIFEST

    @pytest.mark.parametrize("part", ["a, ", "a ", "Bearer ", 'Bearer x="', ", ", "a=", "=", '"', 'x="\\'])
    def test_n06_a_challenge_of_any_length_takes_no_time(self, part: str) -> None:
        flood = (part * 60_000)[:60_000]
        with served(lambda connection, *_: answer(connection, 401, b"", f"WWW-Authenticate: {flood}")) as (_, source):
            started = time.process_time()
            assert failure(lambda: source.manifest(DIGEST)).code is Code.AUTH
            assert time.process_time() - started < 0.5


def decoded(headers: dict[str, str]) -> str:
    return base64.b64decode(headers.get("authorization", "").partition(" ")[2]).decode()


class TestReferrers:
    """n06."""

    @pytest.mark.parametrize(
        "kind", [f"{INDEX_TYPE}; charset=utf-8", INDEX_TYPE.upper(), f"{INDEX_TYPE.title()} ;charset=utf-8"]
    )
    def test_n06_a_media_type_is_known_however_it_is_written(self, kind: str) -> None:
        with served(lambda connection, *_: answer(connection, 200, INDEX, f"Content-Type: {kind}")) as (_, source):
            assert [entry.digest for entry in source.referrers(DIGEST)] == [ENTRY["digest"]]

    @pytest.mark.parametrize("status", [401, 403, 418, 429, 500, 503, 200])
    def test_n06_however_the_referrers_api_fails_the_tag_is_asked(self, status: int) -> None:
        def script(connection: socket.socket, target: str, _: dict[str, str]) -> None:
            if "/referrers/" in target:
                answer(connection, status, b"{nonsense", f"Content-Type: {INDEX_TYPE}")
            else:
                answer(connection, 200, INDEX)

        with served(script) as (_, source):
            assert [entry.digest for entry in source.referrers(DIGEST)] == [ENTRY["digest"]]

    @pytest.mark.parametrize("tag", [404, 403, 500])
    def test_n06_both_are_told_where_both_say_nothing(self, tag: int) -> None:
        def script(connection: socket.socket, target: str, _: dict[str, str]) -> None:
            answer(connection, 418 if "/referrers/" in target else tag)

        with served(script) as (_, source):
            error = failure(lambda: source.referrers(DIGEST))
        assert "418" in error.message
        assert DIGEST.replace(":", "-") in error.message
        assert ("500" in error.message) == (tag == 500)

    def test_n06_a_tag_that_is_denied_because_it_is_absent_lists_nothing(self) -> None:
        def script(connection: socket.socket, target: str, _: dict[str, str]) -> None:
            answer(connection, 404 if "/referrers/" in target else 403)

        with served(script) as (_, source):
            assert source.referrers(DIGEST) == []

    @pytest.mark.parametrize(("listable", "code"), [(200, Code.NOT_FOUND), (403, Code.AUTH), (404, Code.AUTH)])
    def test_n06_a_tag_that_is_denied_is_absent_where_the_repository_may_be_read(
        self, listable: int, code: Code
    ) -> None:
        def script(connection: socket.socket, target: str, _: dict[str, str]) -> None:
            answer(connection, listable if "/tags/list" in target else 403)

        with served(script) as (_, source):
            assert failure(source.resolve).code is code


LINKS = [
    "/x%2Fy/%7Ez/a%2fb?sig=a%2Bb%3d&t=~x'[]|&u=%7e",
    "/a//b/?X-Amz-Signature=%41bc&empty=&&k",
    "//double/start?q=a+b",
]


class TestLinks:
    """n06."""

    @pytest.mark.parametrize("link", LINKS)
    def test_n06_a_link_is_sent_as_it_came(self, link: str) -> None:
        def script(connection: socket.socket, target: str, _: dict[str, str]) -> None:
            if target.startswith("/v2/"):
                answer(connection, 307, b"", f"Location: http://{server.address}{link}")
            else:
                answer(connection, 200, MANIFEST)

        with RawServer(script) as server, opened(server) as source:
            assert source.manifest(DIGEST) == MANIFEST
        assert server.seen[-1][0] == link

    @pytest.mark.parametrize("relation", ['rel="next"', "rel=next", 'title="a, b"; REL="prev Next"'])
    def test_n06_the_link_to_the_next_page_is_sent_as_it_came(self, relation: str) -> None:
        empty = json.dumps({"mediaType": INDEX_TYPE, "manifests": []}).encode()

        def script(connection: socket.socket, target: str, _: dict[str, str]) -> None:
            more = "" if "last=" in target else f"Link: <{target}?last=%7ex%2f&n=[1]>; {relation}"
            headers = [f"Content-Type: {INDEX_TYPE}", *([more] if more else [])]
            answer(connection, 200, empty if more else INDEX, *headers)

        with served(script) as (server, source):
            assert len(source.referrers(DIGEST)) == 1
        assert server.seen[-1][0].endswith("?last=%7ex%2f&n=[1]")


class TestPlainHttp:
    """s05."""

    def test_s05_no_password_goes_in_clear_to_another_host_because_the_registry_is_here(
        self, auth_file: Callable[[RawServer], Path]
    ) -> None:
        caught: list[str] = []
        with RawServer(lambda connection, *_: answer(connection, 401)) as thief:
            # Any host that is not this machine's loopback: where it leads does not matter, nothing may be sent.
            elsewhere = thief.address.replace("127.0.0.1", own_address())
            challenge = f'WWW-Authenticate: Bearer realm="http://{elsewhere}/token"'
            with (
                RawServer(lambda connection, *_: answer(connection, 401, b"", challenge)) as server,
                opened(server, plain_http=False, auth_file=auth_file(server)) as source,
            ):
                error = failure(lambda: source.manifest(DIGEST))
            caught += [str(headers) for _, headers in thief.seen]
        assert error.code is Code.PLAIN_HTTP
        assert caught == []

    @pytest.mark.parametrize("known", [True, False], ids=["with a password", "anonymous"])
    def test_s05_plain_http_that_is_allowed_to_one_host_is_allowed_to_no_token_service_elsewhere(
        self, auth_file: Callable[[RawServer], Path], known: bool
    ) -> None:
        with RawServer(lambda connection, *_: answer(connection, 401)) as thief:
            elsewhere = thief.address.replace("127.0.0.1", own_address())
            challenge = f'WWW-Authenticate: Bearer realm="http://{elsewhere}/token"'
            with (
                RawServer(lambda connection, *_: answer(connection, 401, b"", challenge)) as server,
                opened(server, plain_http=True, auth_file=auth_file(server) if known else None) as source,
            ):
                error = failure(lambda: source.manifest(DIGEST))
            assert thief.seen == []
        assert error.code is Code.PLAIN_HTTP

    @pytest.mark.parametrize("status", [301, 302, 307])
    def test_s05_a_redirect_to_another_host_in_clear_is_refused(self, status: int) -> None:
        location = f"Location: http://{own_address()}:9/x"
        with (
            RawServer(lambda connection, *_: answer(connection, status, b"", location)) as server,
            opened(server, plain_http=False) as source,
        ):
            assert failure(lambda: source.manifest(DIGEST)).code is Code.PLAIN_HTTP

    def test_s05_a_token_service_on_this_machine_is_asked_by_a_registry_on_this_machine(
        self, auth_file: Callable[[RawServer], Path]
    ) -> None:
        def script(connection: socket.socket, target: str, headers: dict[str, str]) -> None:
            if target.startswith("/token"):
                answer(connection, 200, b'{"token": "t"}')
            elif "authorization" in headers:
                answer(connection, 200, MANIFEST)
            else:
                challenge = f'WWW-Authenticate: Bearer realm="http://{server.address}/token"'
                answer(connection, 401, b"", challenge)

        with RawServer(script) as server, opened(server, plain_http=False, auth_file=auth_file(server)) as source:
            assert source.manifest(DIGEST) == MANIFEST


def own_address() -> str:
    """An address of this machine that is not a loopback one; a documentation address where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "192.0.2.1"


CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIBBLES = {
    "nothing": (b"", b""),
    "status line": (b"", b"HTTP/1.1 200 OOOOOOOOO"),
    "continues": (b"", b"HTTP/1.1 100 X\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 X\r\n", b"X-A: b\r\n"),
    "one header": (b"HTTP/1.1 200 X\r\nX-A: ", b"b"),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "body": (b"HTTP/1.1 200 X\r\nContent-Length: 500000\r\n\r\n", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "words of an error": (b"HTTP/1.1 418 X\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "until it closes": (b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n", b"x"),
}


class Stopper:
    """A wish to stop, as the agent's."""

    def __init__(self) -> None:
        self.asked = False
        self._actions: list[Callable[[], None]] = []

    def check(self) -> None:
        if self.asked:
            raise ProaError(Code.CANCELLED)

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        self._actions.append(action)
        if self.asked:
            action()
        try:
            yield
        finally:
            self._actions.remove(action)

    def ask(self) -> None:
        self.asked = True
        for action in list(self._actions):
            action()


class TestDribbles:
    """s03."""

    @pytest.fixture(params=DRIBBLES)
    def evil(self, request: pytest.FixtureRequest) -> Iterator[RawServer]:
        begin, rest = DRIBBLES[request.param]

        def script(connection: socket.socket, *_: object) -> None:
            connection.sendall(begin)
            dribble(connection, rest) if rest else time.sleep(60)

        with RawServer(script) as server:
            yield server

    def test_s03_whatever_dribbles_there_is_an_end(self, evil: RawServer) -> None:
        started = time.monotonic()
        with opened(evil) as source:
            for action in (source.resolve, lambda: source.manifest(DIGEST), lambda: list(source.blob(DIGEST, 500_000))):
                failure(action)
        assert time.monotonic() - started < 3 * (QUICK.patience + 2 * QUICK.answer)

    def test_s03_a_wish_to_stop_is_heard_at_once(self, evil: RawServer) -> None:
        stop = Stopper()
        patient = TransferLimits(silence=30, patience=600, window=30)
        reference = parse(f"{evil.address}/a/b:1")
        with open_source(reference, Access(plain_http=True), limits=patient, stop=stop) as source:
            told: list[float] = []

            def ask() -> None:
                told.append(time.monotonic())
                stop.ask()

            threading.Timer(0.4, ask).start()
            error = failure(lambda: list(source.blob(DIGEST, 500_000)))
        if error.code is Code.CANCELLED:  # what ends by itself before, ends
            assert time.monotonic() - told[0] < 1.0
        else:
            assert not told

    @pytest.mark.parametrize("where", ["name", "tls", "connect"])
    def test_s03_a_wish_to_stop_is_heard_before_there_is_a_connection(
        self, where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stop, done = Stopper(), threading.Event()
        threading.Timer(0.3, stop.ask).start()
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        full: list[socket.socket] = []
        if where == "name":
            host = "slow.test"
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [done.wait(20)][:0])
        if where == "connect":
            full = [socket.socket() for _ in range(4)]
            for filler in full:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
        started = time.monotonic()
        with open_source(
            parse(f"{host}/a/b:1"), Access(ca_file=Path("/etc/ssl/certs/ca-certificates.crt")), stop=stop
        ) as source:
            assert failure(source.resolve).code is Code.CANCELLED
        assert time.monotonic() - started < 1.5
        done.set()
        for opened_socket in (listener, *full):
            opened_socket.close()
