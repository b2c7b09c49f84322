"""What crosses the order socket and the API server: the order to one node, and what the node says of itself.

The custom resource ``NodeOS`` is made of these, the agent takes and gives them as JSON, the scheduler plans by them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from proa.core.runtime.duration import PATTERN as DURATION
from proa.core.schema.model import Report, field
from proa.core.settings.document import MAX_BYTES

RELEASE: Final = r"^[A-Za-z0-9.:\[\]-]+(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?@sha256:[0-9a-f]{64}$"
"""A reference to a release by its digest: ``HOST[:PORT]/NAME[:TAG]@sha256:...``."""
MAX_RELEASE: Final = 512
"""Characters of such a reference."""
MAX_CONDITIONS: Final = 8
MAX_NAMED: Final = 16
"""Settings that a status names: of very many, the first."""
LEAST_RATE: Final = 64 << 10
"""Bytes a second that a node can be held to: a registry gives up a connection that nobody reads from for long."""
MAX_RATE: Final = 1 << 40
FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""From when on the seconds are counted that the first order of an object has as its id, and the first leader as its
fence: an object or a lease that was made anew is ahead of all that nodes have seen before."""
_DIGEST: Final = r"^(sha256:[0-9a-f]{64})?$"
_HASH: Final = r"^([0-9a-f]{64})?$"


class Action(enum.Enum):
    """What an order asks for."""

    NONE = "None"
    """Nothing: an order that was given before is taken back, as far as that can still be done."""
    STAGE = "Stage"
    """Verify the release and write it to the standby slot."""
    BOOT = "Boot"
    """Try the staged release: arm it and reboot."""
    COMMIT = "Commit"
    """Make the running trial good."""
    ROLLBACK = "Rollback"
    """Go back to the other slot and reboot."""
    CONFIGURE = "Configure"
    """Apply settings and try them: they return by themselves unless they are committed in time."""
    COMMIT_SETTINGS = "CommitSettings"
    """Keep the settings that are being tried."""
    REVERT_SETTINGS = "RevertSettings"
    """Return to the settings before those that are being tried."""


class OrderResult(enum.Enum):
    """How far an order has come."""

    RUNNING = "Running"
    DONE = "Done"
    REFUSED = "Refused"
    """It could not be begun; nothing was changed."""
    FAILED = "Failed"
    """It was begun and did not come to its end."""


class Phase:
    """What a node is doing. In the status it is a text, not an enumeration: a newer agent must not be locked out."""

    IDLE: Final = "Idle"
    STAGING: Final = "Staging"
    STAGED: Final = "Staged"
    BOOTING: Final = "Booting"
    TRIAL: Final = "Trial"
    GOOD: Final = "Good"
    ROLLED_BACK: Final = "RolledBack"
    FAILED: Final = "Failed"


@dataclass(frozen=True)
class Proof:
    """Which trial is meant: a commit for another boot, or another root, is refused."""

    boot_id: str = field("The kernel's boot id of the trial.", name="bootID", maxLength=64)
    root_hash: str = field("The dm-verity root hash of its root.", pattern=_HASH, maxLength=64)


@dataclass(frozen=True)
class Order:
    """What the scheduler asks of one node."""

    VALIDATIONS = (
        {"rule": "self.fence >= oldSelf.fence", "message": "fence never falls: another leader has written since"},
        {
            "rule": "self.id > oldSelf.id || self == oldSelf",
            "message": "a new order needs a higher id than the previous one",
        },
        {
            "rule": "!(self.action in ['Stage', 'Boot']) || (has(self.release) && self.release != '')",
            "message": "Stage and Boot need a release, written as HOST/NAME[:TAG]@sha256:...",
        },
        {
            "rule": "self.action != 'Commit' || has(self.trial)",
            "message": "Commit needs a trial: the boot id and the root hash that were proved healthy",
        },
        {
            "rule": "self.action != 'Configure' || (has(self.settings) && self.settings != '')",
            "message": "Configure needs settings: the document as JSON",
        },
        {
            "rule": "!(self.action in ['CommitSettings', 'RevertSettings']) || "
            "(has(self.settingsHash) && self.settingsHash != '')",
            "message": "CommitSettings and RevertSettings need the hash of the settings",
        },
    )

    id: int = field("Grows with every order; the agent carries out each id once.", minimum=1)
    action: Action = field("What the node should do.")
    fence: int = field("The transitions of the scheduler's Lease: the agent refuses lower ones.", minimum=0)
    release: str = field(
        "The release, by digest; for Rollback, the release to leave.",
        default="",
        maxLength=MAX_RELEASE,
        pattern=f"^$|{RELEASE}",
    )
    timeout: str = field(
        "How long the order may take, counted from when the node first sees it.",
        default="15m",
        pattern=DURATION,
        maxLength=16,
    )
    trial: Proof | None = field("For Commit: which trial to commit.", default=None)
    issued: str = field("When the scheduler gave it, by its own clock.", default="", maxLength=40)
    allow_downgrade: bool = field(
        "For Stage and Boot: whether the release may have a serial below one that the node has committed.",
        default=False,
    )
    bytes_per_second: int = field(
        "For Stage: bytes a second that the node may fetch at; 0 for no limit but its own.",
        default=0,
        minimum=0,
        maximum=MAX_RATE,
    )
    settings: str = field(
        "For Configure: the settings document as JSON. For Boot: the settings that the trial gets along with the "
        "release; empty for those that the node has.",
        default="",
        maxLength=MAX_BYTES,
    )
    settings_hash: str = field(
        "For CommitSettings and RevertSettings: the hash of the settings.",
        default="",
        maxLength=64,
        pattern=_HASH,
    )


@dataclass(frozen=True)
class SettingsState:
    """A node's settings; an agent that does not report them cannot be configured."""

    hash: str = field("The hash of the committed document.", default="", maxLength=64, pattern=_HASH)
    generation: int = field("The generation in effect; 0 is the release's own.", default=0, minimum=0)
    phase: str = field("Committed, Trial, Reverted or Failed.", default="", maxLength=32)
    trial_hash: str = field("The hash of the document that is being tried.", default="", maxLength=64, pattern=_HASH)
    failed_hash: str = field(
        "The hash of the last document that was reverted.", default="", maxLength=64, pattern=_HASH
    )
    revision: int = field("The revision of the committed document.", default=0, minimum=0)
    drift: tuple[str, ...] = field(
        "Settings that are no longer in effect, with the value found instead.",
        default=(),
        maxItems=MAX_NAMED,
        items={"maxLength": 256},
    )
    refused: tuple[str, ...] = field(
        "Committed settings that the running release does not allow.",
        default=(),
        maxItems=MAX_NAMED,
        items={"maxLength": 256},
    )
    message: str = field("Why the last document was reverted.", default="", maxLength=1024)


@dataclass(frozen=True)
class Moved:
    """What an install did, in bytes."""

    fetch: int = field("Fetched from the registry.", default=0, minimum=0)
    copy: int = field("Copied from a slot of the node.", default=0, minimum=0)
    keep: int = field("Already in place.", default=0, minimum=0)
    write: int = field("Written to the slot.", default=0, minimum=0)
    avoid: int = field("Of the written, zeros that the device made itself.", default=0, minimum=0)


@dataclass(frozen=True)
class Booted:
    """What runs."""

    slot: str = field("The slot, a or b.", default="", maxLength=8)
    version: str = field("The release's version, for people.", default="", maxLength=128)
    release: str = field(
        "The digest of the release's manifest, if it is known.", default="", maxLength=71, pattern=_DIGEST
    )
    root_hash: str = field(
        "The dm-verity root hash, which identifies the release.", default="", maxLength=64, pattern=_HASH
    )
    boot_id: str = field("The kernel's boot id.", default="", name="bootID", maxLength=64)
    committed: bool = field("Whether this slot boots by default.", default=False)
    bytes: Moved | None = field("What its install did; empty if that is not known.", default=None)


@dataclass(frozen=True)
class Standby:
    """What the other slot holds."""

    slot: str = field("The slot, a or b.", default="", maxLength=8)
    version: str = field("The release's version, for people.", default="", maxLength=128)
    release: str = field(
        "The digest of the release's manifest, if it is known.", default="", maxLength=71, pattern=_DIGEST
    )
    root_hash: str = field("The dm-verity root hash of the root.", default="", maxLength=64, pattern=_HASH)
    state: str = field("The state of the slot, in the agent's words.", default="", maxLength=32)
    complete: bool = field("Whether the whole release was written and read back.", default=False)
    good: bool = field(
        "Whether the slot was committed before and is intact, so that a rollback can use it.", default=False
    )
    bytes: Moved | None = field("What its install did; empty if that is not known.", default=None)


@dataclass(frozen=True)
class Progress:
    """How far the order under way has come."""

    step: str = field("The step under way.", default="", maxLength=64)
    percent: int = field("Bytes of the step that are done.", default=0, minimum=0, maximum=100)


@dataclass(frozen=True)
class LastError:
    """Why the last order, or the last trial, failed."""

    code: str = field("The stable code.", maxLength=64)
    message: str = field("What happened.", default="", maxLength=2048)


@dataclass(frozen=True)
class Observed:
    """The last order that the node has seen."""

    id: int = field("Its id.", minimum=0)
    action: str = field("The action of the order.", default="", maxLength=32)
    result: str = field("The state of the order: Running, Done, Refused or Failed.", default="", maxLength=32)


@dataclass(frozen=True)
class Condition:
    """A condition, as Kubernetes has it."""

    type: str = field("Its name.", maxLength=64)
    status: str = field("True, False or Unknown.", maxLength=8)
    reason: str = field("The reason, in one word.", default="", maxLength=128)
    message: str = field("The reason, in a sentence.", default="", maxLength=1024)
    last_transition_time: str = field("Since when.", default="", maxLength=40)
    observed_generation: int = field("The generation of the object that the condition refers to.", default=0, minimum=0)


@dataclass(frozen=True)
class NodeStatus:
    """A node's report about itself."""

    VALIDATIONS = (
        {
            "rule": "!has(oldSelf.observedOrder) || "
            "(has(self.observedOrder) && self.observedOrder.id >= oldSelf.observedOrder.id)",
            "message": "observedOrder.id never falls",
        },
    )

    observed_order: Observed | None = field("The last order that the node has seen.", default=None)
    phase: str = field("What the node is doing.", default="", maxLength=32)
    booted: Booted | None = field("What runs.", default=None)
    standby: Standby | None = field("What the other slot holds.", default=None)
    progress: Progress | None = field("The progress of the order under way.", default=None)
    last_error: LastError | None = field("Why the last order failed; empty after success.", default=None)
    settings: SettingsState | None = field("The node's settings.", default=None)
    agent: str = field("The agent's version.", default="", maxLength=64)
    conditions: tuple[Condition, ...] = field("Conditions.", default=(), maxItems=MAX_CONDITIONS)


@dataclass(frozen=True)
class Node(Report, schema="proa.node/v1"):
    """What the order socket answers, and each line of its stream: what the node says of itself to the cluster."""

    status: NodeStatus = field("The node's status.")


@dataclass(frozen=True)
class Alive(Report, schema="proa.alive/v1"):
    """A line of the order socket's stream that only says that the agent is there."""
