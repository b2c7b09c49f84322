"""Why a trial came back, as a word that programs compare; the sentence beside it is for people."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Cause(enum.Enum):
    """The causes that the good slot can tell apart."""

    REFUSED = "refused"
    SILENT = "silent"
    INITRD = "initrd"
    CORRUPT = "corrupt"
    PANIC = "panic"
    WATCHDOG = "watchdog"
    EMERGENCY = "emergency"
    DEADLINE = "deadline"
    UNHEALTHY = "unhealthy"
    NO_ORDER = "no-order"
    ORDERED = "ordered"
    INCONSISTENT = "inconsistent"
    CUT_OFF = "cut-off"
    UNKNOWN = "unknown"

    @property
    def meaning(self) -> str:
        """What happened, in one sentence."""
        return _MEANING[self]


_MEANING: Mapping[Cause, str] = {
    Cause.REFUSED: "The boot loader could not start the kernel image: it is damaged, or its signature is not valid.",
    Cause.SILENT: "The boot loader started the kernel image, and its initrd left no word on PERSIST.",
    Cause.INITRD: "The initrd failed: it found no disk, root or PERSIST that it could use.",
    Cause.CORRUPT: "The kernel met a block of the root that does not match its signed hash.",
    Cause.PANIC: "The kernel panicked for another reason.",
    Cause.WATCHDOG: "The hardware watchdog reset the machine: the system hung.",
    Cause.EMERGENCY: "The system ended in an emergency or rescue shell.",
    Cause.DEADLINE: "Time ran out before anything was found wrong: the release is slow, or the machine is.",
    Cause.UNHEALTHY: "A unit or a check had failed when the time was up.",
    Cause.NO_ORDER: "It was healthy, and nobody ordered its commit.",
    Cause.ORDERED: "Somebody ordered the return.",
    Cause.INCONSISTENT: "Boot loader and boot state did not agree, so the trial ended itself.",
    Cause.CUT_OFF: "It stopped without a word: power, a reset, or a hang where no watchdog tells of it.",
    Cause.UNKNOWN: "Nothing is written down about it.",
}
