"""What a node must say of a trial that was broken on purpose, and whether it does.

A proof that takes any return for the one that was ordered proves nothing: on a slow machine each break ends at the
trial's deadline, and none of them was tried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.agent.node.cause import Cause

OTHER_REASON: Final = "came back, but for another reason"
"""How the verdict on a return begins that is not the one that was ordered."""
_SLOW: Final = (
    "Time ran out before anything else was found wrong. This machine runs guests {factor:.1f} times as slowly as the "
    "reference, and may be busier now than when that was measured: give the release a longer `health.deadline`, the "
    "machine less to do, or PROA_VM_SPEED the right factor."
)
_RESET: Final = (
    "The machine was reset before the break could act. This machine runs guests {factor:.1f} times as slowly as the "
    "reference: give the release a longer `health.watchdog`, or the machine less to do."
)
_HINTS: Final[Mapping[Cause, str]] = {Cause.DEADLINE: _SLOW, Cause.WATCHDOG: _RESET, Cause.CUT_OFF: _RESET}


@dataclass(frozen=True)
class Witness:
    """What was seen of a trial besides the node's own report.

    Attributes:
        mark: The name of the break that had begun to act in the trial; empty if none had.
        events: QEMU's events since the trial was armed.
    """

    mark: str = ""
    events: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Expected:
    """What the node must report.

    Attributes:
        causes: ``returned.cause`` is one of these.
        says: A regular expression that is found in ``returned.reason``.
        failures: The names in ``returned.failures``, these and no others; None if they do not matter.
        mark: The break must have begun to act.
        event: QEMU must have reported this event.
    """

    causes: tuple[Cause, ...]
    says: str = ""
    failures: tuple[str, ...] | None = None
    mark: str = ""
    event: str = ""

    def problem(self, returned: Mapping[str, Any], witness: Witness) -> str:
        """Why this is not the return that was ordered; empty if it is.

        Args:
            returned: ``returned`` of ``proa.status/v1``.
            witness: What else was seen.
        """
        wanted = " or ".join(cause.value for cause in self.causes)
        told = f"the cause is {returned['cause'] or 'unknown'}, not {wanted}: {returned['reason']}"
        if returned["cause"] not in [cause.value for cause in self.causes]:
            return f"{OTHER_REASON}: {told}"
        if not re.search(self.says, returned["reason"]):
            return f"{OTHER_REASON}: the reason has no {self.says!r}: {returned['reason']}"
        return self._missing(returned, witness)

    def _missing(self, returned: Mapping[str, Any], witness: Witness) -> str:
        """What does not fit beside the cause and its sentence."""
        failures = tuple(failure["what"] for failure in returned["failures"])
        if self.failures is not None and failures != self.failures:
            return f"{OTHER_REASON}: it found {', '.join(failures) or 'nothing'} wrong: {returned['reason']}"
        if self.mark != witness.mark:
            seen = f"{witness.mark!r} acted instead" if witness.mark else "the break had not started to act"
            return f"{OTHER_REASON}: {seen}: {returned['reason']}"
        if self.event and self.event not in witness.events:
            return f"{OTHER_REASON}: the machine saw no {self.event}: {returned['reason']}"
        return ""


def hint(returned: Mapping[str, Any], factor: float) -> str:
    """What to do about a return for another reason, where time was short.

    Args:
        returned: ``returned`` of ``proa.status/v1``.
        factor: How many times as slowly as the reference this machine runs guests.
    """
    found = next((text for cause, text in _HINTS.items() if cause.value == returned["cause"]), "")
    return found.format(factor=factor)
