"""How long anything in a virtual machine may take: every limit in one place, in seconds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from proa.core.runtime.clock import SYSTEM, Clock, Deadline

FASTEST = 0.25
"""A factor is never taken for less: a fast machine has slow moments too."""


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that things may take on the reference machine (two cores, emulation: :mod:`proa.vm.machine.calibration`).

    They are about three times what was measured there, so that only what hangs meets them.
    """

    firmware: float = 90.0
    """From power on to the first line of the boot loader."""
    boot: float = 420.0
    """From power on, or from the order to reboot, to an SSH server that answers."""
    login: float = 120.0
    """From the server's first byte to a working SSH connection."""
    command: float = 300.0
    """One command in the guest."""
    unit: float = 240.0
    """A unit becoming active."""
    console: float = 300.0
    """A line appearing on the console."""
    shutdown: float = 180.0
    """From the order to power off to the end of QEMU."""
    monitor: float = 60.0
    """An answer of QEMU's own monitor."""

    def scaled(self, factor: float) -> TimeLimits:
        """The limits of a machine that is ``factor`` times slower than the reference."""
        by = max(factor, FASTEST)
        values = {field.name: getattr(self, field.name) * by for field in dataclasses.fields(self)}
        return TimeLimits(**values)

    def deadline(self, name: str, what: str, seconds: float | None = None, clock: Clock = SYSTEM) -> Deadline:
        """The deadline that the limit ``name`` sets from now on, or one of ``seconds`` in its stead."""
        return Deadline(what, getattr(self, name) if seconds is None else seconds, clock)
