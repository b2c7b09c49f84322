"""Why a trial came back, as a word that programs compare; the sentence beside it is for people."""

from __future__ import annotations

import enum


class Cause(enum.Enum):
    """The causes that the good slot can tell apart."""

    REFUSED = "refused"
    """The boot loader could not start the kernel image: it is damaged, or its signature is not valid."""
    INITRD = "initrd"
    """The initrd failed: it found no disk, no root, or no PERSIST that it could use."""
    CORRUPT = "corrupt"
    """The kernel met a block of the root that does not match its signed hash."""
    PANIC = "panic"
    """The kernel panicked for another reason."""
    WATCHDOG = "watchdog"
    """The hardware watchdog reset the machine: PID 1 had no time, or hung."""
    EMERGENCY = "emergency"
    """The system ended in an emergency or rescue shell."""
    DEADLINE = "deadline"
    """Time ran out before anything was found wrong: the release is slow, or the machine is."""
    UNHEALTHY = "unhealthy"
    """A unit or a check had failed when the time was up."""
    NO_ORDER = "no-order"
    """It was healthy, and nobody ordered its commit."""
    INCONSISTENT = "inconsistent"
    """Boot loader and boot state did not agree, so the trial ended itself."""
    ORDERED = "ordered"
    """Somebody ordered the return."""
    CUT_OFF = "cut-off"
    """It had begun and stopped without a word: power, a reset, or a hang where no watchdog tells of it."""
    SILENT = "silent"
    """The boot loader started it, and its initrd never came as far as PERSIST."""
    UNKNOWN = "unknown"
    """Nothing could be written down about it."""
