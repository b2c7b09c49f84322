"""A real registry on a free loopback port: Debian's docker-registry, with TLS and a login if wanted.

From inside a guest on QEMU's user network the same registry is at 10.0.2.2.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from proa.core.oci.access import Access
from proa.core.oci.reference import Reference
from proa.core.oci.source import Target
from proa.core.oci.target import open_target
from proa.core.runtime import process
from proa.core.runtime.clock import SYSTEM, Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import replace
from proa.vm.support.certificates import Authority, Certificate
from proa.vm.support.ports import free_ports

GUEST_HOST = "10.0.2.2"
"""What this machine is called in a guest on QEMU's user network."""
HOST_NAMES = ("127.0.0.1", "localhost", GUEST_HOST)
"""The names that are always in the certificate and in the auth file."""

_SERVED = re.compile(
    r'(?m)^(\S+) \S+ \S+ \[[^]]*\] "GET /v2/(\S+)/blobs/sha256:[0-9a-f]{64}(?:\?\S*)? HTTP/[0-9.]+" 20[06] (\d+)'
)
"""A blob that was sent, in the access log (Apache's combined format)."""
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_ATTEMPTS = 3


class LocalRegistry:
    """A registry that runs as long as the ``with`` block, its content in a folder.

    Args:
        folder: Where content, certificates, configuration and log lie; made if it is not there.
        tls: Whether it speaks TLS, with a certificate of its own authority.
        auth: User and password that it asks for; none for everybody.
        host_names: Further names for the certificate and the auth file.
        client_certificates: Whether it wants clients to show a certificate; ``client`` is one.
        program: The command line of another registry; ``{address}``, ``{cert}`` and ``{key}`` are filled in.
            It has no login.
        access_log: Whether every request is written down, for :meth:`served`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = True,
        auth: tuple[str, str] | None = None,
        host_names: Sequence[str] = (),
        client_certificates: bool = False,
        program: Sequence[str | Path] = (),
        access_log: bool = False,
    ) -> None:
        folder = folder.resolve()
        self.folder = folder
        self.tls = tls
        self.auth = auth
        self.port = 0
        self._names = tuple(dict.fromkeys((*HOST_NAMES, *host_names)))
        self._access_log = access_log
        self._program = tuple(str(word) for word in program)
        self._running: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = Authority(folder / "certificates") if tls else None
        self._server = self._authority.issue(self._names) if self._authority else None
        wants_client = self._authority is not None and client_certificates
        self.client = self._authority.issue(["proa-client"], client=True) if wants_client and self._authority else None

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``, as it is reached from this machine."""
        return f"127.0.0.1:{self.port}"

    @property
    def guest_address(self) -> str:
        """``10.0.2.2:PORT``, as it is reached from a guest."""
        return f"{GUEST_HOST}:{self.port}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate of its authority; None without TLS."""
        return self._authority.ca_file if self._authority else None

    @property
    def certificate(self) -> Certificate | None:
        """What it shows to clients; None without TLS."""
        return self._server

    @property
    def auth_file(self) -> Path | None:
        """A docker auth file that knows the login, under all its names; None without a login."""
        return self.folder / "auth.json" if self.auth else None

    @property
    def log(self) -> str:
        """What the registry wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def served(self, since: int = 0) -> tuple[Counter[tuple[str, str]], int]:
        """How many bytes of blobs were sent, by client's address and repository; and where its log ends now.

        Args:
            since: Where to begin in the log: where it ended the last time.
        """
        text = (self.folder / "log").read_bytes()
        sent: Counter[tuple[str, str]] = Counter()
        for client, repository, size in _SERVED.findall(text[since:].decode(errors="replace")):
            sent[client, repository] += int(size)
        return sent, len(text)

    def reference(self, name: str, tag: str = "") -> Reference:
        """A reference to something in it, from this machine."""
        return Reference(self.address, name, tag)

    def open(self, name: str, tag: str = "") -> Target:
        """A repository in it, opened with its own certificate authority and login. Close it after use."""
        client = self.client
        access = Access(
            ca_file=self.ca_file,
            auth_file=self.auth_file,
            cert_file=client.cert_file if client else None,
            key_file=client.key_file if client else None,
        )
        return open_target(self.reference(name, tag), access)

    def __enter__(self) -> Self:
        for attempt in range(1, _ATTEMPTS + 1):
            (self.port,) = free_ports(1)
            try:
                self._start()
            except ProaError:
                self.stop()
                if attempt == _ATTEMPTS or "address already in use" not in self.log:
                    raise
            else:
                return self
        raise AssertionError

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it; again is harmless. Its content stays and is there again after :meth:`start`."""
        if self._running is not None:
            self._running.terminate()
            try:
                self._running.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._running.kill()
                self._running.wait()
            self._running = None

    def start(self) -> None:
        """Start it again at the same port.

        Raises:
            ProaError: ``TOOL`` with its last words, or ``TOOL_MISSING``.
        """
        self._start()

    def _start(self) -> None:
        if self.auth:
            self._write_login(*self.auth)
        argv = self._program_argv() if self._program else self._debian_argv()
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=process.environment(), cwd=self.folder
            )
        self._wait_until_it_listens(argv)

    def _program_argv(self) -> list[str]:
        values = {"address": self.address, "cert": "", "key": ""}
        if self._server:
            values |= {"cert": str(self._server.cert_file), "key": str(self._server.key_file)}
        return [word.format_map(values) for word in self._program]

    def _debian_argv(self) -> list[str]:
        config = self.folder / "config.yml"
        replace(config, json.dumps(self._configuration(), indent=1).encode())  # JSON is YAML
        return [process.find("docker-registry", "docker-registry"), "serve", str(config)]

    def _configuration(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": self.address, "relativeurls": True}
        if self._server:
            http["tls"] = {"certificate": str(self._server.cert_file), "key": str(self._server.key_file)}
            if self.client:
                http["tls"] |= {"clientcas": [str(self.ca_file)]}  # type: ignore[operator] # it is a dict
        storage = {"filesystem": {"rootdirectory": str(self.folder / "content")}, "delete": {"enabled": True}}
        configuration: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": not self._access_log}},
            "storage": storage,
            "http": http,
        }
        if self.auth:
            configuration["auth"] = {"htpasswd": {"realm": "proa", "path": str(self.folder / "htpasswd")}}
        return configuration

    def _write_login(self, user: str, password: str) -> None:
        # The password goes by standard input: arguments are seen by everybody on the machine.
        done = process.run(["htpasswd", "-inB", "-C", "5", user], stdin=password.encode())
        replace(self.folder / "htpasswd", done.stdout, 0o600)
        entry = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        auths = {f"{name}:{self.port}": entry for name in self._names}
        replace(self.folder / "auth.json", json.dumps({"auths": auths}).encode(), 0o600)

    def _wait_until_it_listens(self, argv: Sequence[str]) -> None:
        deadline = Deadline("the registry's start", _START_SECONDS)
        while True:
            if self._running is None or self._running.poll() is not None:
                last = "\n    ".join(self.log.strip().splitlines()[-5:])
                raise ProaError(Code.TOOL, f"the registry ended at once:\n    {last}", at=process.pasteable(argv))
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                deadline.check(process.pasteable(argv))
                SYSTEM.sleep(0.05)
