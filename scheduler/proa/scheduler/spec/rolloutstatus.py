"""What became of a rollout: the status of an ``OSRollout``. Everything in it is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import MAX_RELEASE, Condition
from proa.core.schema.model import field
from proa.scheduler.spec.amounts import MAX_CANARIES

MAX_HISTORY: Final = 10
MAX_HALTED: Final = 1024
"""Characters of why a rollout was halted."""
MAX_BLOCKERS: Final = 20
MAX_DIGESTS: Final = 16
MAX_RECENT: Final = 32
_TIME: Final[Mapping[str, Any]] = {"maxLength": 40}
_NAME: Final[Mapping[str, Any]] = {"maxLength": 253}


class RolloutPhase:
    """What a rollout is doing."""

    PENDING: Final = "Pending"
    STAGING: Final = "Staging"
    PROGRESSING: Final = "Progressing"
    SOAKING: Final = "Soaking"
    WAITING: Final = "Waiting"
    """No window is open, or nothing else can be done now."""
    PAUSED: Final = "Paused"
    COMPLETE: Final = "Complete"
    HALTED: Final = "Halted"
    ROLLING_BACK: Final = "RollingBack"
    ROLLED_BACK: Final = "RolledBack"
    CONFLICT: Final = "Conflict"
    INVALID: Final = "Invalid"


@dataclass(frozen=True)
class Counts:
    """Nodes by what they are."""

    nodes: int = field("All that follow the rollout.", default=0)
    up_to_date: int = field("On the release, committed.", default=0)
    staged: int = field("With the release in the standby slot.", default=0)
    staging: int = field("Fetching it.", default=0)
    updating: int = field("Between cordon and uncordon.", default=0)
    failed: int = field("On which it failed.", default=0)
    parked: int = field("Waiting for another turn after a drain that took too long.", default=0)
    held: int = field("Held by a person, whatever else they are.", default=0)
    unavailable: int = field("Away, for whatever reason.", default=0)


@dataclass(frozen=True)
class CanaryStatus:
    """How the canaries did."""

    release: str = field("The digest that they are to prove.", default="", maxLength=71)
    nodes: tuple[str, ...] = field("Their names.", default=(), maxItems=MAX_CANARIES, items={"maxLength": 253})
    proved_at: str = field("Since when all of them run it well.", default="", **_TIME)
    soaked_at: str = field(
        "When they had done so for long enough: the release is proved, whatever becomes of them later.",
        default="",
        **_TIME,
    )


@dataclass(frozen=True)
class Blocker:
    """What keeps a node from being drained."""

    node: str = field("The node.", **_NAME)
    pod: str = field("The pod, as NAMESPACE/NAME.", default="", maxLength=320)
    budget: str = field("The disruption budget, as NAMESPACE/NAME.", default="", maxLength=320)
    volume: str = field("The volume that is still attached.", default="", **_NAME)
    reason: str = field("Why.", default="", maxLength=256)
    since: str = field("Since when.", default="", **_TIME)


@dataclass(frozen=True)
class PastRollout:
    """How an earlier target came out."""

    release: str = field("The release.", maxLength=MAX_RELEASE)
    attempt: int = field("Which attempt.", default=0)
    phase: str = field("How it ended.", default="", maxLength=32)
    started_at: str = field("When it began.", default="", **_TIME)
    ended_at: str = field("When it ended.", default="", **_TIME)
    nodes: int = field("How many nodes were up to date then.", default=0)
    failed: int = field("On how many it had failed.", default=0)


@dataclass(frozen=True)
class RolloutStatus:
    """What became of it so far."""

    observed_generation: int = field("Of which generation of the object this is told.", default=0, minimum=0)
    phase: str = field("What the rollout is doing.", default="", maxLength=32)
    progress: str = field("Nodes up to date, of all.", default="", maxLength=32)
    release: str = field("The release that this is about.", default="", maxLength=MAX_RELEASE)
    attempt: int = field("Which attempt this is about.", default=0, minimum=0)
    wave: str = field("Whose turn it is: Canary, a zone, or ControlPlane.", default="", maxLength=128)
    started_at: str = field("When it began.", default="", **_TIME)
    completed_at: str = field("When all were up to date.", default="", **_TIME)
    counts: Counts = field("Nodes by what they are.", default=Counts())
    canary: CanaryStatus | None = field("How the canaries did.", default=None)
    failed_digests: tuple[str, ...] = field(
        "Releases that failed too often: they are not tried again before 'attempt' is raised.",
        default=(),
        maxItems=MAX_DIGESTS,
        items={"maxLength": 71},
    )
    halted: str = field("Why it was halted.", default="", maxLength=MAX_HALTED)
    blockers: tuple[Blocker, ...] = field("What keeps nodes from being drained.", default=(), maxItems=MAX_BLOCKERS)
    next_window: str = field("When the next window opens.", default="", **_TIME)
    scheduler_node: str = field(
        "The node that the leading scheduler runs on, which has its turn last; empty if it runs elsewhere.",
        default="",
        **_NAME,
    )
    recent_seconds: tuple[int, ...] = field(
        "How long the last nodes took, each from its cordon to its uncordon.", default=(), maxItems=MAX_RECENT
    )
    conditions: tuple[Condition, ...] = field("Conditions.", default=(), maxItems=8)
    history: tuple[PastRollout, ...] = field("Earlier targets, the last first.", default=(), maxItems=MAX_HISTORY)
