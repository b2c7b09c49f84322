"""Commands in the guest: connects when it has to, and notices when the guest is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proa.core.runtime.clock import Clock, Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult
from proa.vm.machine.ssh import LOST, Ssh, check
from proa.vm.support.limits import TimeLimits

POLL_SECONDS = 0.5


class GuestSession:
    """The shared connection into a guest, from one power-on to the next power cut.

    Args:
        ssh: The way in.
        limits: How long things may take.
        guard: Called while waiting: raises when the machine has ended or the time is up.
        clock: Whose time counts.
    """

    def __init__(self, ssh: Ssh, limits: TimeLimits, guard: Callable[[Deadline], None], clock: Clock) -> None:
        self.ssh = ssh
        self.connected = False
        self._limits = limits
        self._guard = guard
        self._clock = clock

    def connect(self, deadline: Deadline) -> None:
        """Connect, unless that has been done; waits for the guest's server.

        Raises:
            ProaError: What the guard raises; ``TOOL`` or ``TIMEOUT`` when the server lets nobody in.
        """
        if self.connected:
            return
        while not self.ssh.greets():
            self._guard(deadline)
            self._clock.sleep(POLL_SECONDS)
        self.ssh.connect(self._limits.deadline("login", "logging in by SSH", clock=self._clock))
        self.connected = True

    def disconnect(self) -> None:
        """Give the connection up: commands that still run end at once. The next command connects again."""
        self.connected = False
        self.ssh.close()

    def end(self) -> None:
        """Give the connection up for good."""
        self.connected = False
        self.ssh.end()

    def execute(self, command: str, deadline: Deadline, stdin: bytes | None = None) -> ProcessResult:
        """Run a line of shell; any exit status is a result.

        Raises:
            ProaError: ``NETWORK`` when the connection was lost meanwhile; ``TIMEOUT``.
        """
        self.connect(deadline)
        result = self.ssh.run(command, deadline, stdin)
        if result.status == LOST and not self.ssh.connected:
            self.connected = False
            check(result, command)
        return result

    def attempt(self, command: str, deadline: Deadline) -> ProcessResult | None:
        """The same; None when the connection was lost meanwhile."""
        try:
            return self.execute(command, deadline)
        except ProaError as error:
            if error.code is not Code.NETWORK:
                raise
            return None

    def order(self, command: str, deadline: Deadline) -> None:
        """An order that the connection may not outlive.

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT``.
        """
        result = self.attempt(command, deadline)
        if result is not None and result.status != LOST:
            check(result, command)

    def copy_to(self, source: Path, target: str, deadline: Deadline) -> None:
        """Copy a file or folder into the guest; errors as :meth:`Ssh.copy_to`."""
        self.connect(deadline)
        self.ssh.copy_to(source, target, deadline)

    def copy_from(self, source: str, target: Path, deadline: Deadline) -> None:
        """Copy a file or folder out of the guest; errors as :meth:`Ssh.copy_from`."""
        self.connect(deadline)
        self.ssh.copy_from(source, target, deadline)
