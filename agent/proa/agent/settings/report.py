"""What is told of a node's settings."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count


class Phase(enum.Enum):
    """The state of the last document."""

    COMMITTED = "Committed"
    """What is in effect was committed, or is the release's own."""
    TRIAL = "Trial"
    """A document is in effect that is not committed."""
    REVERTED = "Reverted"
    """The last document was reverted by order, or because nobody committed it in time."""
    FAILED = "Failed"
    """The last document did not take effect, and was reverted."""


@dataclass(frozen=True)
class RefusedSetting(Part):
    """A setting that is refused."""

    key: str = field("Which, as MODEL.KEY.")
    message: str = field("Why.")
    allowed: str = field("What would be accepted; empty if nothing would.", default="")
    nearest: str = field("The key that was probably meant; empty if none is near.", default="")


@dataclass(frozen=True, kw_only=True)
class SettingsReport(Report, schema="proa.settings/v1"):
    """`proa-agent settings apply`, `show`, `revert` and `commit`: the node's settings after it, or before a dry run."""

    hash: str = field("The hash of the committed document.", pattern="^[0-9a-f]{64}$")
    generation: Count = field("The generation in effect; 0 is the release's own.")
    phase: Phase = field("The state of the last document.")
    revision: Count = field("The revision of the committed document.")
    trial_hash: str = field("The hash of the document that is being tried.", default="")
    left: Count = field("Seconds until the trial ends by itself; 0 without one.", default=0)
    failed_hash: str = field("The hash of the document that was reverted last.", default="")
    message: str = field("Why it was reverted.", default="")
    drift: tuple[str, ...] = field("Settings that differ from the document in effect.", default=())
    refused: tuple[RefusedSetting, ...] = field("What the running release does not allow.", default=())
    document: str = field("The document in effect, as JSON.", default="{}")
    dry_run: bool = field("Whether nothing was changed.", default=False)
    actions: tuple[str, ...] = field("What was done, or would be, in order.", default=())
