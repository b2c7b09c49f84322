"""Faults of the network on real sockets: cut, stalled, slow, lying and greedy servers (F23 to F31)."""

import dataclasses
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proa.core.oci.access import Access
from proa.core.oci.limits import TransferLimits
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import Source, digest_of
from proa.core.runtime.errors import Code, ProaError
from proa.vm.support.certificates import Authority

pytestmark = pytest.mark.contract

DATA = os.urandom(3_000_000)
SIZE = len(DATA)
DIGEST = digest_of(DATA)
QUICK = TransferLimits(
    connect=60, silence=1.0, answer=2.0, patience=120, minimum_rate=100_000, window=0.5, attempts=4, backoff=0.01
)
PASSWORD = "hush-hush"
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Serves ``DATA``, but for what the server's behaviour does in its place."""

    protocol_version = "HTTP/1.1"
    server: "Wire"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        behaviour = self.server.script.pop(0) if self.server.script else self.server.always
        behaviour(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def good(self) -> None:
        asked = self.headers.get("Range", "").removeprefix("bytes=").split("-")
        if len(asked) != 2:
            self.head(Content_Length=SIZE)
            self.wfile.write(DATA)
            return
        first, last = map(int, asked)
        part = DATA[first : last + 1]
        self.head(206, Content_Length=len(part), Content_Range=f"bytes {first}-{last}/{SIZE}")
        self.wfile.write(part)

    def reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class Wire(ThreadingHTTPServer):
    """A server whose answers are scripted; ``seen`` are the requests, ``connections`` how many came."""

    daemon_threads = True

    def __init__(self, certificate: Any = None) -> None:
        self.script: list[Behaviour] = []
        self.always: Behaviour = Handler.good
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert_file, certificate.key_file)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[Any, Any]:
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_: object) -> None:
        """Clients go away; that is what is tested."""

    def __enter__(self) -> "Wire":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def source(wire: Wire) -> Iterator[Source]:
    with open_source(parse(f"{wire.address}/a/b:1"), Access(plain_http=True), limits=QUICK) as opened:
        yield opened


def read(source: Source, start: int = 0, end: int | None = None, size: int = SIZE) -> bytes:
    return b"".join(source.blob(DIGEST, size, start=start, end=end))


def failure(action: Callable[[], object]) -> ProaError:
    """The error of ``action``."""
    with pytest.raises(ProaError) as caught:
        action()
    assert PASSWORD not in caught.value.text("x")
    return caught.value


def cut(at: int) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.head(Content_Length=SIZE)
        handler.wfile.write(DATA[:at])
        handler.reset()

    return behave


def stall(at: int) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.head(Content_Length=SIZE)
        handler.wfile.write(DATA[:at])
        time.sleep(10)

    return behave


def lengths(announced: int | None, sent: bytes) -> Behaviour:
    def behave(handler: Handler) -> None:
        headers = {} if announced is None else {"Content_Length": announced}
        handler.head(**headers, Connection="close")
        handler.wfile.write(sent)
        handler.close_connection = True

    return behave


def chunked(whole: bool) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.head(Transfer_Encoding="chunked")
        for start in range(0, SIZE, 70_001):
            part = DATA[start : start + 70_001]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            if not whole and start > SIZE // 2:
                handler.reset()
                return
        handler.wfile.write(b"0\r\n\r\n")

    return behave


def trickle(part: bytes, pause: float) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.head(Content_Length=SIZE)
        for byte in part:
            handler.wfile.write(bytes([byte]))
            time.sleep(pause)

    return behave


def trickling_head(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.1)


def to(location: str) -> Behaviour:
    return lambda handler: handler.head(307, Location=location, Content_Length=0)


class TestConnections:
    """F23, F27."""

    @pytest.mark.parametrize("at", [0, 1, 65_536, 1_000_000, SIZE - 1])
    def test_a_reset_at_any_byte(self, wire: Wire, source: Source, at: int) -> None:
        wire.script = [cut(at)]
        assert read(source) == DATA

    def test_many_resets_with_progress_between_them(self, wire: Wire, source: Source) -> None:
        def a_little_more(handler: Handler) -> None:
            first = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
            part = DATA[first : first + 300_000]
            handler.head(206, Content_Length=SIZE - first, Content_Range=f"bytes {first}-{SIZE - 1}/{SIZE}")
            handler.wfile.write(part)
            handler.close_connection = True

        wire.script = [cut(0), *[a_little_more] * 8]
        assert read(source, 1) == DATA[1:]

    @pytest.mark.parametrize("at", [0, 500_000])
    def test_a_stall(self, wire: Wire, source: Source, at: int) -> None:
        wire.script = [stall(at)]
        assert read(source) == DATA
        wire.always = stall(0)
        assert failure(lambda: read(source)).code is Code.NETWORK

    @pytest.mark.parametrize(
        "behaviour",
        [
            lengths(None, DATA),
            lengths(SIZE, DATA[:-1]),
            lengths(SIZE + 5, DATA),
            lengths(SIZE - 5, DATA[:-5]),
            lengths(None, DATA[:-5]),
            chunked(True),
            chunked(False),
        ],
        ids=["no-length", "short", "length-too-large", "length-too-small", "no-length-short", "chunked", "chunked-cut"],
    )
    def test_lengths_that_do_not_fit(self, wire: Wire, source: Source, behaviour: Behaviour) -> None:
        wire.script = [behaviour]
        assert read(source) == DATA

    @pytest.mark.parametrize("behaviour", [trickle(DATA[:200], 0.05), trickling_head], ids=["body", "head"])
    def test_a_trickle(self, wire: Wire, behaviour: Behaviour) -> None:
        limits = dataclasses.replace(QUICK, patience=3, minimum_rate=1_000_000)
        wire.script = [behaviour]
        with open_source(parse(f"{wire.address}/a/b:1"), Access(plain_http=True), limits=limits) as source:
            assert read(source) == DATA
            wire.always = behaviour
            assert failure(lambda: read(source)).code is Code.NETWORK

    def test_nobody_is_there(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            reference = parse(f"127.0.0.1:{unused.getsockname()[1]}/a/b:1")
            with open_source(reference, limits=QUICK) as source:
                error = failure(source.resolve)
        assert error.code is Code.NETWORK
        assert "refused" in error.message

    def test_a_name_that_nobody_has(self) -> None:
        with open_source(parse("registry.invalid/a/b:1"), limits=QUICK) as source:
            error = failure(source.resolve)
        assert error.code is Code.NETWORK
        assert "cannot be resolved" in error.message

    def test_one_connection_serves_many_parts(self, wire: Wire, source: Source) -> None:
        for start in range(0, 2_000_000, 100_000):
            assert read(source, start, start + 5000) == DATA[start : start + 5000]
        assert wire.connections == 1

    def test_a_kept_connection_that_the_server_closed(self, wire: Wire, source: Source) -> None:
        def close_after(handler: Handler) -> None:
            handler.good()
            handler.close_connection = True  # without having said so

        wire.always = close_after
        for _ in range(5):
            assert read(source, 5, 100) == DATA[5:100]


class TestTls:
    """F23."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path / "authority")

    @pytest.mark.parametrize(
        ("names", "days", "said"),
        [
            (["127.0.0.1"], -1, "certificate has expired"),
            (["registry.test"], 30, "IP address mismatch"),
            (["127.0.0.1"], 30, ""),
        ],
    )
    def test_certificates(self, authority: Authority, names: list[str], days: int, said: str) -> None:
        with (
            Wire(authority.issue(names, days=days)) as wire,
            open_source(parse(f"{wire.address}/a/b:1"), Access(ca_file=authority.ca_file), limits=QUICK) as source,
        ):
            if not said:
                assert read(source) == DATA
                return
            error = failure(lambda: read(source))
            assert error.code is Code.NETWORK
            assert said in error.message
            assert (wire.seen, wire.connections) == ([], 1), "a certificate does not get better by another try"

    def test_no_way_leads_from_tls_to_plain_http(self, authority: Authority, wire: Wire) -> None:
        with (
            Wire(authority.issue(["127.0.0.1"])) as secure,
            open_source(parse(f"{secure.address}/a/b:1"), Access(ca_file=authority.ca_file), limits=QUICK) as source,
        ):
            secure.always = to(f"http://{wire.address}/x")
            assert "plain HTTP" in failure(lambda: read(source)).message
        assert wire.seen == []

    def test_a_reset_in_the_middle_of_tls(self, authority: Authority) -> None:
        with (
            Wire(authority.issue(["127.0.0.1"])) as secure,
            open_source(parse(f"{secure.address}/a/b:1"), Access(ca_file=authority.ca_file), limits=QUICK) as source,
        ):
            secure.script = [cut(1_000_000), stall(100_000)]
            assert read(source) == DATA


class TestAnswers:
    """F26, F28, F29, F30, F31."""

    def test_every_second_answer_is_an_error(self, wire: Wire, source: Source) -> None:
        busy: Behaviour = lambda handler: handler.head(503, Content_Length=0)  # noqa: E731
        wire.script = [busy, cut(1_000_000), busy, cut(1_500_000), busy]
        assert read(source) == DATA

    def test_a_server_without_ranges(self, wire: Wire, source: Source) -> None:
        wire.always = lengths(SIZE, DATA)
        assert read(source, 1_000_000, 1_500_000) == DATA[1_000_000:1_500_000]
        wire.script = [cut(2_000_000)]
        assert read(source) == DATA

    @pytest.mark.parametrize("announced", [None, 1 << 40])
    def test_an_endless_body_is_cut_off(self, wire: Wire, source: Source, announced: int | None) -> None:
        sent = [0]

        def endless(handler: Handler) -> None:
            handler.head(**({"Content_Length": announced} if announced else {}), Connection="close")
            while sent[0] < 1 << 30:
                handler.wfile.write(DATA)
                sent[0] += SIZE

        wire.always = endless
        assert failure(lambda: read(source, size=1000)).code is Code.DIGEST
        assert failure(lambda: source.manifest(DIGEST)).code is Code.REGISTRY
        assert sent[0] < 100 << 20

    def test_redirects(self, wire: Wire, source: Source, tmp_path: Path) -> None:
        auth_file = tmp_path / "auth.json"
        auth_file.write_text(json.dumps({"auths": {wire.address: {"username": "me", "password": PASSWORD}}}))

        def registry(handler: Handler) -> None:
            if "Authorization" not in handler.headers:
                handler.head(401, WWW_Authenticate='Basic realm="x"', Content_Length=0)
            else:
                to(f"http://{storage.address}/data?signature={PASSWORD}")(handler)

        wire.always = registry
        with (
            Wire() as storage,
            open_source(
                parse(f"{wire.address}/a/b:1"), Access(plain_http=True, auth_file=auth_file), limits=QUICK
            ) as source,
        ):
            storage.script = [cut(1_000_000)]
            assert read(source) == DATA
            assert all("Authorization" not in headers for _, headers in storage.seen)
            assert storage.seen[0][1].get("Range") is None
            assert storage.seen[1][1]["Range"].endswith(f"-{SIZE - 1}")
            storage.always = lambda handler: handler.head(403, Content_Length=0)
            failure(lambda: read(source))

    def test_a_loop_of_redirects(self, wire: Wire, source: Source) -> None:
        wire.always = lambda handler: to(f"{handler.path}x")(handler)
        assert "redirects" in failure(lambda: read(source)).message

    def test_a_proxy_in_between(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://me:{PASSWORD}@{wire.address}")
        monkeypatch.setenv("no_proxy", "")
        with open_source(parse("registry.invalid/a/b:1"), Access(plain_http=True), limits=QUICK) as source:
            assert read(source) == DATA
            assert wire.seen[0][0].startswith("http://registry.invalid/v2/a/b/blobs/sha256:")
            wire.always = lambda handler: handler.head(407, Proxy_Authenticate="Basic", Content_Length=0)
            assert "proxy" in failure(lambda: read(source)).message
            wire.always = lambda handler: handler.head(200, Content_Type="text/html", Content_Length=SIZE)
            assert "captive portal" in failure(lambda: read(source)).hint


def test_a_token_that_is_good_for_few_requests(wire: Wire, tmp_path: Path) -> None:
    """F24: every token expires after two uses; parts are read one after the other."""
    auth_file = tmp_path / "auth.json"
    auth_file.write_text(json.dumps({"auths": {wire.address: {"username": "me", "password": PASSWORD}}}))
    uses: dict[str, int] = {}

    def service(handler: Handler) -> None:
        token = f"token{len(uses)}"
        uses[f"Bearer {token}"] = 2
        body = json.dumps({"access_token": token, "expires_in": 1}).encode()
        handler.head(Content_Length=len(body))
        handler.wfile.write(body)

    def registry(handler: Handler) -> None:
        sent = handler.headers.get("Authorization", "")
        if uses.get(sent, 0) < 1:
            challenge = f'Bearer realm="http://{tokens.address}/token",service="r",scope="repository:a/b:pull"'
            handler.head(401, WWW_Authenticate=challenge, Content_Length=0)
            return
        uses[sent] -= 1
        handler.good()

    wire.always = registry
    with (
        Wire() as tokens,
        open_source(
            parse(f"{wire.address}/a/b:1"), Access(plain_http=True, auth_file=auth_file), limits=QUICK
        ) as source,
    ):
        tokens.always = service
        for start in range(0, 1_000_000, 100_000):
            assert read(source, start, start + 10) == DATA[start : start + 10]
        assert len(tokens.seen) == 5
        assert all(headers["Authorization"].startswith("Basic ") for _, headers in tokens.seen)
        assert tokens.seen[0][0] == "/token?service=r&scope=repository%3Aa%2Fb%3Apull"
