"""One thing that a look at a boot's health found wrong, as notes and reports carry it on."""

from __future__ import annotations

from dataclasses import dataclass

from proa.core.schema.model import Part, field


@dataclass(frozen=True)
class HealthFailure(Part):
    """One thing that is not as it must be."""

    what: str = field("`unit NAME`, `check NAME` or `system`.")
    why: str = field("In a few words.")
    output: str = field("The end of what a check said.", default="")
    waiting: bool = field(
        "Whether it may resolve itself with time, because the system is still starting.", default=False
    )
