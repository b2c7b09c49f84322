"""SSH into a guest: one throwaway key a machine, one connection that all commands share."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from proa.core.runtime import files, process
from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult

LOST = 255
"""What ssh ends with when it is the connection that failed."""
_KEY = "ssh.key"
_PACKAGE = "openssh-client"


def make_key(folder: Path) -> str:
    """Make a key pair for one machine (kept where it is there already); returns the line for authorized_keys."""
    file = folder / _KEY
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        file.touch(mode=0o600)
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        file.with_suffix(".pub").write_bytes(public + b" proa-vm\n")
    return file.with_suffix(".pub").read_text()


@dataclass
class Ssh:
    """The way into one running machine."""

    folder: Path
    """Where the key is (:func:`make_key`)."""
    port: int
    """On the loopback address of this host."""
    user: str = "root"
    _sockets: Path | None = None
    """A folder with a short path (a Unix socket's name has at most 107 bytes), once there is a connection."""

    @property
    def options(self) -> list[str]:
        """What ssh needs to get there."""
        settings = {
            "IdentityFile": str(self.folder / _KEY),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "no",  # the machine is ours and was made a moment ago
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ControlPath": f"{self._sockets}/m" if self._sockets else "none",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "8",
            "KexAlgorithms": "curve25519-sha256",
        }
        words = ["-F", "none"]
        for name, value in settings.items():
            words += ["-o", f"{name}={value}"]
        return words

    @property
    def command(self) -> str:
        """A line for a shell that logs in."""
        return shlex.join(["ssh", *self.options, "-p", str(self.port), f"{self.user}@127.0.0.1"])

    def greets(self, seconds: float = 5.0) -> bool:
        """Whether an SSH server answers with its first bytes; costs the guest next to nothing."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
                connection.settimeout(seconds)
                return connection.recv(4).startswith(b"SSH-")
        except OSError:
            return False

    def connect(self, deadline: Deadline) -> None:
        """Open the connection that later commands share.

        Raises:
            ProaError: ``TIMEOUT``, or ``TOOL`` with what ssh said last.
        """
        process.find("ssh", _PACKAGE)
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix="proa-ssh-"))
        while True:
            wait = max(1, int(min(deadline.remaining, deadline.seconds / 4)))  # a reset guest never says no
            master = ["-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-o", f"ConnectTimeout={wait}"]
            result = process.run(self._argv("ssh", *master, tail=["true"]), check=False, timeout=wait + 5)
            if result.status == 0:
                return
            if deadline.passed or b"Permission denied" in result.stderr:
                raise process.failure(result)
            deadline.clock.sleep(1.0)

    @property
    def connected(self) -> bool:
        """Whether the shared connection stands, as far as this side knows."""
        return process.run(self._argv("ssh", "-O", "check"), check=False).status == 0

    def close(self) -> None:
        """Close the shared connection; again is harmless."""
        if self._sockets is not None:
            process.run(self._argv("ssh", "-O", "exit"), check=False, timeout=10)

    def end(self) -> None:
        """Close the connection for good and take its socket away."""
        self.close()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def run(self, command: str, deadline: Deadline, stdin: bytes | None = None) -> ProcessResult:
        """Run a line of shell in the guest; its status is the result's, ``LOST`` when the connection failed.

        Raises:
            ProaError: ``TIMEOUT``.
        """
        return process.run(self._argv("ssh", tail=[command]), check=False, stdin=stdin, timeout=deadline.remaining)

    def interact(self) -> int:
        """Log in with this process's own input and output; returns the exit status."""
        terminal = {"TERM": os.environ.get("TERM", "dumb")}
        argv = [process.find("ssh", _PACKAGE), *self._argv("ssh")[1:]]
        return subprocess.run(argv, env=process.environment(terminal), check=False).returncode

    def copy_to(self, source: Path, target: str, deadline: Deadline) -> None:
        """Copy a file or folder into the guest, which needs ``tar``. It goes through memory.

        Args:
            source: What to copy.
            target: The absolute path that it gets; what is there is replaced file by file.
            deadline: When it has to be done.

        Raises:
            ProaError: ``FILE_MISSING``, ``TOOL``, ``NETWORK`` or ``TIMEOUT``.
        """
        with files.os_errors(source), io.BytesIO() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(source, arcname=PurePosixPath(target).name, filter=_owned_by_root)
            data = archive.getvalue()
        folder = shlex.quote(str(PurePosixPath(target).parent))
        command = f"mkdir -p {folder} && tar -x -f - -C {folder}"
        check(self.run(command, deadline, data), command)

    def copy_from(self, source: str, target: Path, deadline: Deadline) -> None:
        """Copy a file or folder out of the guest to ``target``, which must not be there yet.

        Raises:
            ProaError: ``FILE_EXISTS``, ``TOOL``, ``NETWORK`` or ``TIMEOUT``.
        """
        if target.exists():
            raise ProaError(Code.FILE_EXISTS, "it would be overwritten", at=target)
        path = PurePosixPath(source)
        command = f"tar -c -f - -C {shlex.quote(str(path.parent))} {shlex.quote(path.name)}"
        result = self.run(command, deadline)
        check(result, command)
        with files.os_errors(target), tempfile.TemporaryDirectory(dir=target.parent) as folder:
            process.run(["tar", "-x", "-f", "-", "-C", folder, "--no-same-owner"], stdin=result.stdout)
            Path(folder, path.name).rename(target)

    def _argv(self, program: str, *words: str, tail: list[str] | None = None) -> list[str]:
        return [program, *self.options, "-p", str(self.port), *words, f"{self.user}@127.0.0.1", *(tail or [])]


def check(result: ProcessResult, command: str) -> str:
    """The output of a command that must have succeeded.

    Raises:
        ProaError: ``TOOL`` with its last lines, ``NETWORK`` when the connection was lost.
    """
    if result.status == 0:
        return result.text
    said = (result.stderr + result.stdout).decode(errors="replace").strip().splitlines()
    tail = "\n    ".join(said[-15:]) or "(no output)"
    if result.status == LOST:
        raise ProaError(Code.NETWORK, f"the connection to the guest was lost: {tail}", at=command)
    raise ProaError(Code.TOOL, f"in the guest it exited with status {result.status}:\n    {tail}", at=command)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
