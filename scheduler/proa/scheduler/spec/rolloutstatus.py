"""What became of a rollout: the status of an ``OSRollout``. Everything in it is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import MAX_RELEASE, Condition
from proa.core.schema.model import described
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

    nodes: int = described("All that follow the rollout.", default=0)
    up_to_date: int = described("On the release, committed.", default=0)
    staged: int = described("With the release in the standby slot.", default=0)
    staging: int = described("Fetching it.", default=0)
    updating: int = described("Between cordon and uncordon.", default=0)
    failed: int = described("On which it failed.", default=0)
    parked: int = described("Waiting for another turn after a drain that took too long.", default=0)
    held: int = described("Held by a person, whatever else they are.", default=0)
    unavailable: int = described("Away, for whatever reason.", default=0)


@dataclass(frozen=True)
class CanaryStatus:
    """How the canaries did."""

    release: str = described("The digest that they are to prove.", default="", maxLength=71)
    nodes: tuple[str, ...] = described("Their names.", default=(), maxItems=MAX_CANARIES, items={"maxLength": 253})
    proved_at: str = described("Since when all of them run it well.", default="", **_TIME)
    soaked_at: str = described(
        "When they had done so for long enough: the release is proved, whatever becomes of them later.",
        default="",
        **_TIME,
    )


@dataclass(frozen=True)
class Blocker:
    """What keeps a node from being drained."""

    node: str = described("The node.", **_NAME)
    pod: str = described("The pod, as NAMESPACE/NAME.", default="", maxLength=320)
    budget: str = described("The disruption budget, as NAMESPACE/NAME.", default="", maxLength=320)
    volume: str = described("The volume that is still attached.", default="", **_NAME)
    reason: str = described("Why.", default="", maxLength=256)
    since: str = described("Since when.", default="", **_TIME)


@dataclass(frozen=True)
class PastRollout:
    """How an earlier target came out."""

    release: str = described("The release.", maxLength=MAX_RELEASE)
    attempt: int = described("Which attempt.", default=0)
    phase: str = described("How it ended.", default="", maxLength=32)
    started_at: str = described("When it began.", default="", **_TIME)
    ended_at: str = described("When it ended.", default="", **_TIME)
    nodes: int = described("How many nodes were up to date then.", default=0)
    failed: int = described("On how many it had failed.", default=0)


@dataclass(frozen=True)
class RolloutStatus:
    """What became of it so far."""

    observed_generation: int = described("Of which generation of the object this is told.", default=0, minimum=0)
    phase: str = described("What the rollout is doing.", default="", maxLength=32)
    progress: str = described("Nodes up to date, of all.", default="", maxLength=32)
    release: str = described("The release that this is about.", default="", maxLength=MAX_RELEASE)
    attempt: int = described("Which attempt this is about.", default=0, minimum=0)
    wave: str = described("Whose turn it is: Canary, a zone, or ControlPlane.", default="", maxLength=128)
    started_at: str = described("When it began.", default="", **_TIME)
    completed_at: str = described("When all were up to date.", default="", **_TIME)
    counts: Counts = described("Nodes by what they are.", default=Counts())
    canary: CanaryStatus | None = described("How the canaries did.", default=None)
    failed_digests: tuple[str, ...] = described(
        "Releases that failed too often: they are not tried again before 'attempt' is raised.",
        default=(),
        maxItems=MAX_DIGESTS,
        items={"maxLength": 71},
    )
    halted: str = described("Why it was halted.", default="", maxLength=MAX_HALTED)
    blockers: tuple[Blocker, ...] = described("What keeps nodes from being drained.", default=(), maxItems=MAX_BLOCKERS)
    next_window: str = described("When the next window opens.", default="", **_TIME)
    scheduler_node: str = described(
        "The node that the leading scheduler runs on, which has its turn last; empty if it runs elsewhere.",
        default="",
        **_NAME,
    )
    recent_seconds: tuple[int, ...] = described(
        "How long the last nodes took, each from its cordon to its uncordon.", default=(), maxItems=MAX_RECENT
    )
    conditions: tuple[Condition, ...] = described("Conditions.", default=(), maxItems=8)
    history: tuple[PastRollout, ...] = described("Earlier targets, the last first.", default=(), maxItems=MAX_HISTORY)
