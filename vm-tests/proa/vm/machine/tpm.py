"""A TPM 2.0 for a machine: swtpm, a process beside QEMU that keeps what it holds in the machine's folder."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.vm.support import background

FOLDER: Final = "tpm"
"""The folder with what the TPM holds, in the machine's own: it outlives power cuts, as a chip does."""
_PACKAGE: Final = "swtpm"


def arguments(control: int) -> Iterator[str]:
    """QEMU's arguments for a TPM that is reached through a socket that it inherits (docs/specs/tpm)."""
    yield from ("-chardev", f"socket,id=tpm,fd={control}", "-tpmdev", "emulator,id=tpm0,chardev=tpm")
    yield from ("-device", "tpm-crb,tpmdev=tpm0")


class Tpm:
    """A running swtpm. It ends with its QEMU, and dies with this process.

    Args:
        folder: The machine's folder.

    Raises:
        ProaError: ``TOOL_MISSING``.
    """

    def __init__(self, folder: Path) -> None:
        process.find("swtpm", _PACKAGE)
        process.find("setpriv", "util-linux")
        state = folder / FOLDER
        state.mkdir(exist_ok=True)
        self.control, own = socket.socketpair()
        self._log = folder / "swtpm.log"
        with own:
            words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--terminate"]
            words += ["--ctrl", f"type=unixio,clientfd={own.fileno()}"]
            argv = ["setpriv", "--pdeathsig", "KILL", "--", *words]
            self._process = background.call(self._spawn(argv, own.fileno()), 30, "starting swtpm")

    async def _spawn(self, argv: list[str], control: int) -> subprocess.Popen[bytes]:
        # In the background thread: the death signal comes when the thread that started the process ends.
        with self._log.open("ab") as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(control,), env=process.environment()
            )

    def kill(self) -> None:
        """SIGKILL, and wait for its end; again is harmless."""
        self.control.close()
        self._process.kill()
        self._process.wait()
