"""n13: a registry that is reached through a proxy alone: CONNECT, with a login."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from proa.core.oci.access import Access
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference, parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import digest_of
from proa.core.runtime.errors import Code, ProaError
from proa.vm.support.registry import LocalRegistry

pytestmark = pytest.mark.contract

LOGIN = "me:p@ss w/ord"
ESCAPED = "me:p%40ss%20w%2Ford"
MANIFEST = (
    b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",'
    b' "config": {"mediaType": "a/b", "digest": "%s", "size": 2}, "layers": []}' % digest_of(b"{}").encode()
)


class Proxy:
    """A CONNECT proxy that knows one name, whatever the system's resolver says; ``asked`` are the tunnels it made."""

    def __init__(self, name: str, port: int, login: str) -> None:
        self.asked: list[str] = []
        self._name, self._port = name, port
        self._login = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            lines = head.decode().split("\r\n")
            method, target, _ = lines[0].split()
            sent = [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization")]
            if sent != ([self._login] if self._login else []):
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            elif method != "CONNECT" or target.rpartition(":")[0] != self._name:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            else:
                self.asked.append(target)
                with socket.create_connection(("127.0.0.1", self._port)) as server:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=_carry, args=(server, client), daemon=True)
                    back.start()
                    _carry(client, server)
                    back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LocalRegistry]:
    with LocalRegistry(tmp_path / "registry", host_names=["registry.test"]) as running:
        with LayoutDir(Reference("", "", layout=tmp_path / "layout")) as layout, running.open("a/b", "1") as target:
            layout.push_blob(b"{}")
            target.push_blob(b"{}")
            target.push_manifest(MANIFEST, "1")
        yield running


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def fetched(registry: LocalRegistry, **options: Any) -> bytes:
    reference = parse(f"registry.test:{registry.port}/a/b:1")
    with open_source(reference, Access(ca_file=registry.ca_file, **options)) as source:
        return bytes(source.manifest(source.resolve()))


def test_n13_a_registry_is_reached_through_the_proxy_of_the_settings(registry: LocalRegistry) -> None:
    with Proxy("registry.test", registry.port, LOGIN) as proxy:
        assert fetched(registry, proxy=f"http://{ESCAPED}@{proxy.address}") == MANIFEST
    assert set(proxy.asked) == {f"registry.test:{registry.port}"}


def test_n13_a_registry_is_reached_through_the_proxy_of_the_environment(
    registry: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy("registry.test", registry.port, LOGIN) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{ESCAPED}@{proxy.address}")
        assert fetched(registry) == MANIFEST
    assert proxy.asked


def test_n13_the_settings_stand_over_the_environment(registry: LocalRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "registry.test")
    with Proxy("registry.test", registry.port, "") as proxy:
        assert fetched(registry, proxy=f"http://{proxy.address}") == MANIFEST


@pytest.mark.parametrize("login", ["", "me:wrong@"])
def test_n13_a_proxy_that_wants_a_login_says_where_it_goes(registry: LocalRegistry, login: str) -> None:
    with Proxy("registry.test", registry.port, LOGIN) as proxy, pytest.raises(ProaError) as caught:
        fetched(registry, proxy=f"http://{login}{proxy.address}")
    assert caught.value.code is Code.NETWORK
    assert "the proxy requires a login" in caught.value.message
    assert "registry.toml" in caught.value.hint
    assert "wrong" not in caught.value.text("x")


def test_n13_a_proxy_that_forbids_the_host_is_named(registry: LocalRegistry) -> None:
    with Proxy("other.test", registry.port, "") as proxy, pytest.raises(ProaError) as caught:
        fetched(registry, proxy=f"http://{proxy.address}")
    assert "the proxy did not allow the connection: it answered 403" in caught.value.message


def test_n13_this_machine_is_never_met_through_a_proxy(registry: LocalRegistry) -> None:
    with Proxy("127.0.0.1", registry.port, "") as proxy:
        reference = parse(f"127.0.0.1:{registry.port}/a/b:1")
        with open_source(reference, Access(ca_file=registry.ca_file, proxy=f"http://{proxy.address}")) as source:
            assert source.resolve() == digest_of(MANIFEST)
    assert proxy.asked == []
