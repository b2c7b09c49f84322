"""What can be asked of a running guest: commands, files, and waiting until something is so."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path

from proa.core.runtime.clock import Clock, Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult
from proa.vm.machine import ssh
from proa.vm.machine.session import GuestSession

_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_POLL_SECONDS = 0.5


class Guest(abc.ABC):
    """The system in a machine, through SSH.

    Attributes:
        name: As it stands in errors.
        clock: Whose time counts.
    """

    name: str
    clock: Clock

    @abc.abstractmethod
    def _in(self) -> GuestSession:
        """The session; a machine that is off, or has no SSH, has none."""

    @abc.abstractmethod
    def _deadline(self, limit: str, what: str, seconds: float | None) -> Deadline:
        """When to give up: after so many seconds, or after a limit of the machine if None."""

    @abc.abstractmethod
    def _guard(self, deadline: Deadline) -> None:
        """Raise when the machine has ended, or the time has passed."""

    # commands

    def execute(self, command: str, *, stdin: bytes | None = None, seconds: float | None = None) -> ProcessResult:
        """Run a line of shell as root; any exit status is a result.

        Raises:
            ProaError: ``TIMEOUT``; ``NETWORK`` when the connection was lost meanwhile.
        """
        return self._in().execute(command, self._deadline("command", command, seconds), stdin)

    def succeed(self, command: str, *, stdin: bytes | None = None, seconds: float | None = None) -> str:
        """Run a line of shell that must end with status 0; returns what it wrote to standard output.

        Raises:
            ProaError: ``TOOL`` with its last lines, ``TIMEOUT``, ``NETWORK``.
        """
        return ssh.check(self.execute(command, stdin=stdin, seconds=seconds), command)

    def fail(self, command: str, *, seconds: float | None = None) -> str:
        """Run a line of shell that must not end with status 0; returns all that it wrote.

        Raises:
            ProaError: ``TOOL`` when it succeeds, ``TIMEOUT``, ``NETWORK``.
        """
        result = self.execute(command, seconds=seconds)
        if result.status == 0:
            raise ProaError(Code.TOOL, f"{self.name}: it succeeded, but should have failed", at=command)
        return (result.stdout + result.stderr).decode(errors="replace")

    def copy_to(self, source: Path, target: str, seconds: float | None = None) -> None:
        """Copy a file or folder into the guest.

        Raises:
            ProaError: ``TOOL`` or ``TIMEOUT``.
        """
        self._in().copy_to(source, target, self._deadline("command", f"copying {source}", seconds))

    def copy_from(self, source: str, target: Path, seconds: float | None = None) -> None:
        """Copy a file or folder out of the guest.

        Raises:
            ProaError: ``TOOL`` or ``TIMEOUT``.
        """
        self._in().copy_from(source, target, self._deadline("command", f"copying {source}", seconds))

    @property
    def boot_id(self) -> str:
        """What names this boot (random(4))."""
        return self.succeed(_BOOT_ID).strip()

    # waiting

    def wait_until(self, condition: str | Callable[[], object], seconds: float | None = None) -> str:
        """Wait until a command succeeds, or until a function returns something true.

        Returns:
            The output of the command; nothing for a function.

        Raises:
            ProaError: ``TIMEOUT``, or ``CONSOLE`` when the machine ended.
        """
        what = condition if isinstance(condition, str) else getattr(condition, "__name__", "the condition")
        deadline = self._deadline("command", f"waiting until {what}", seconds)
        while True:
            if isinstance(condition, str):
                result = self._in().attempt(condition, deadline)
                if result is not None and result.status == 0:
                    return result.text
            elif condition():
                return ""
            self._guard(deadline)
            self.clock.sleep(_POLL_SECONDS)

    def wait_for_unit(self, unit: str, seconds: float | None = None) -> None:
        """Wait until a unit is active.

        Raises:
            ProaError: ``TOOL`` with its journal when it failed; ``TIMEOUT``; ``CONSOLE`` when the machine ended.
        """
        deadline = self._deadline("unit", f"waiting for {unit}", seconds)
        while True:
            result = self._in().attempt(f"systemctl is-active {unit}", deadline)
            state = "unknown" if result is None else result.text.strip()
            if state == "active":
                return
            if state == "failed":
                log = self.execute(f"journalctl -b -n 20 --no-pager -u {unit}")
                raise ProaError(Code.TOOL, f"{self.name}: {unit} has failed:\n{log.text}", at=unit)
            self._guard(deadline)
            self.clock.sleep(_POLL_SECONDS)

    def _another_boot(self, before: str, deadline: Deadline) -> str:
        while True:
            result = self._in().attempt(_BOOT_ID, deadline)
            now = "" if result is None else result.text.strip()
            if now not in ("", before):
                return now
            self._guard(deadline)
            self.clock.sleep(_POLL_SECONDS)
