"""A server in a process of its own, with a log. It dies with this process, however that ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.vm.support import background

_START_SECONDS: Final = 30.0
_TAIL_LINES: Final = 12


class Child:
    """A program that can be started, killed, paused and started again.

    Args:
        name: What it is called in errors.
        argv: Its command line.
        log: Where all that it writes goes, at the end.

    Raises:
        ProaError: ``TOOL_MISSING`` without ``setpriv``.
    """

    def __init__(self, name: str, argv: Sequence[str | Path], log: Path) -> None:
        process.find("setpriv", "util-linux")
        self.name = name
        self.argv = tuple(str(word) for word in argv)
        self.log = log
        self._running: subprocess.Popen[bytes] | None = None
        self._mark = 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        """Its process number; 0 while it was not started."""
        return self._running.pid if self._running else 0

    @property
    def said(self) -> str:
        """What it has written since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._mark)
            return file.read().decode(errors="replace")

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            ProaError: ``TOOL`` when that is not possible.
        """
        if self.alive:
            return
        self._mark = self.log.stat().st_size if self.log.exists() else 0
        self._running = background.call(self._spawn(), _START_SECONDS, f"starting {self.name}")

    async def _spawn(self) -> subprocess.Popen[bytes]:
        # In the background thread: the death signal comes when the thread that started the process ends.
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *self.argv]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=process.environment(), process_group=0
            )

    def kill(self) -> None:
        """SIGKILL, and wait for its end; again is harmless."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def stop(self, seconds: float = 10.0) -> None:
        """SIGTERM and time to end; SIGKILL when that was not enough."""
        if self._running is None:
            return
        self._running.terminate()
        try:
            self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: it stands still, and those that wait for it go on waiting."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise ``TOOL`` with its last words when it no longer runs."""
        if not self.alive:
            raise self.failure(f"{self.name} ended")

    def failure(self, what: str, code: Code = Code.TOOL) -> ProaError:
        """An error with the program's last words."""
        tail = "\n    ".join(line[:400] for line in self.said.strip().splitlines()[-_TAIL_LINES:])
        hint = f"Its whole output is in {self.log}."
        return ProaError(
            code, f"{what}:\n    {tail or '(it said nothing)'}", at=process.pasteable(self.argv), hint=hint
        )

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        if self._running is not None:
            self._running.send_signal(number)
