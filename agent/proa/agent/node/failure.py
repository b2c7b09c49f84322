"""One thing that a look at a boot's health found wrong, as notes and reports carry it on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """One thing that is not as it must be.

    Attributes:
        what: ``unit NAME``, ``check NAME`` or ``system``.
        why: In a few words.
        output: The end of what a check said.
        waiting: Whether it may mend itself with time: the system is still starting.
    """

    what: str
    why: str
    output: str = ""
    waiting: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON keys and values."""
        return asdict(self)
