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
    DENIED = "denied"
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
    Cause.REFUSED: "The boot loader could not start the kernel image: it is damaged, or its signature is invalid.",
    Cause.SILENT: "The boot loader started the kernel image, but its initrd left no record on PERSIST.",
    Cause.INITRD: "The initrd failed: it found no usable disk, root or PERSIST.",
    Cause.CORRUPT: "The kernel read a block of the root that does not match its signed hash.",
    Cause.PANIC: "The kernel panicked for another reason.",
    Cause.WATCHDOG: "The hardware watchdog reset the machine: the system hung.",
    Cause.EMERGENCY: "The boot ended in an emergency or rescue shell.",
    Cause.DEADLINE: "Time ran out before anything was found wrong: the release or the machine is slow.",
    Cause.UNHEALTHY: "A unit or a check had failed when the time was up, or a check reported a permanent failure.",
    Cause.DENIED: "The policy of the node forbade the release before it was committed: floor or deny list.",
    Cause.NO_ORDER: "The trial was healthy, but got no order to commit.",
    Cause.ORDERED: "A person or the cluster ended the trial.",
    Cause.INCONSISTENT: "Boot loader and boot state disagreed, so the trial ended itself.",
    Cause.CUT_OFF: "The trial stopped without a record: power loss, a reset, or a hang that no watchdog reported.",
    Cause.UNKNOWN: "Nothing is recorded about the trial.",
}
