"""What became of a rollout: the status of an ``OSRollout``. Everything in it is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import MAX_RELEASE, Condition
from proa.core.schema.model import field
from proa.core.settings.document import MAX_BYTES
from proa.scheduler.spec.amounts import MAX_CANARIES
from proa.scheduler.spec.rollout import MAX_GROUPS, MAX_LIST

MAX_HISTORY: Final = 10
MAX_HALTED: Final = 1024
"""Characters of why a rollout was halted."""
MAX_BLOCKERS: Final = 20
MAX_ALERT: Final = 512
"""Characters of what Prometheus said about one query."""
MAX_DIGESTS: Final = 16
MAX_RECENT: Final = 32
MAX_OUTSTANDING: Final = 500
MAX_LOST_NAMES: Final = 16
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

    nodes: int = field("Nodes that follow the rollout.", default=0)
    up_to_date: int = field("Nodes that run the release, committed.", default=0)
    staged: int = field("Nodes with the release in the standby slot.", default=0)
    staging: int = field("Fetching it.", default=0)
    updating: int = field("Nodes between cordon and uncordon.", default=0)
    failed: int = field("Nodes on which the release failed.", default=0)
    parked: int = field("Nodes that wait for another turn after a drain that took too long.", default=0)
    held: int = field("Nodes that a person holds, whatever else they are.", default=0)
    unavailable: int = field("Nodes that are unavailable, for whatever reason.", default=0)
    drifted: int = field("Nodes of which settings are no longer in effect.", default=0)
    no_agent: int = field("Nodes that do not count, because no agent has ever reported from them.", default=0)


@dataclass(frozen=True)
class CanaryStatus:
    """How the canaries did."""

    release: str = field("The digest that the canaries have to prove.", default="", maxLength=71)
    nodes: tuple[str, ...] = field("Their names.", default=(), maxItems=MAX_CANARIES, items={"maxLength": 253})
    proved_at: str = field("Since when all of them have been healthy on it.", default="", **_TIME)
    soaked_at: str = field(
        "When they had been healthy for long enough: the release is proved, whatever happens to them later.",
        default="",
        **_TIME,
    )


@dataclass(frozen=True)
class GroupStatus:
    """How a group of nodes did."""

    name: str = field("Its name.", maxLength=63)
    proved_at: str = field("Since when all its nodes have been healthy on the release.", default="", **_TIME)
    soaked_at: str = field(
        "When they had been healthy for long enough: later groups continue, whatever happens to this one later.",
        default="",
        **_TIME,
    )


@dataclass(frozen=True)
class ZoneStatus:
    """The zone that had its turn last."""

    name: str = field("Its name; empty for nodes without a zone.", default="", maxLength=63)
    proved_at: str = field(
        "Since when its nodes have been healthy on the release, and another zone has the next turn.",
        default="",
        **_TIME,
    )


@dataclass(frozen=True)
class AlertsStatus:
    """What Prometheus said that keeps nodes from starting."""

    firing: tuple[str, ...] = field(
        "The queries of 'health.alerts' whose result is not empty, and what it contains.",
        default=(),
        maxItems=MAX_LIST,
        items={"maxLength": MAX_ALERT},
    )
    error: str = field("Why it is not known; empty if it is.", default="", maxLength=MAX_ALERT)
    since: str = field("Since when nodes have been kept from starting.", default="", **_TIME)


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
class OutstandingNode:
    """A node that has the order to reboot, and has not proved the release yet."""

    node: str = field("The node.", **_NAME)
    uid: str = field("Its UID.", default="", maxLength=64)
    release: str = field("The digest that it was ordered to try.", default="", maxLength=71)
    since: str = field("Since when.", default="", **_TIME)
    boot_id: str = field("The boot that ran before.", default="", name="bootID", maxLength=64)
    root_hash: str = field("Of what it is to boot.", default="", maxLength=128)
    zone: str = field("Its zone.", default="", maxLength=63)
    control_plane: bool = field("Whether it is a control-plane node.", default=False)


@dataclass(frozen=True)
class LostNodes:
    """Nodes that went away for good between their order to reboot and their proof: they count as failed."""

    count: int = field("How many, in this attempt.", default=0, minimum=0)
    nodes: tuple[str, ...] = field("The last of them.", default=(), maxItems=MAX_LOST_NAMES, items={"maxLength": 253})
    last_at: str = field("When the last one was counted.", default="", **_TIME)


@dataclass(frozen=True)
class PastRollout:
    """How an earlier target came out."""

    release: str = field("The release.", maxLength=MAX_RELEASE)
    attempt: int = field("Which attempt.", default=0)
    phase: str = field("How it ended.", default="", maxLength=32)
    started_at: str = field("When it began.", default="", **_TIME)
    ended_at: str = field("When it ended.", default="", **_TIME)
    nodes: int = field("How many nodes were up to date then.", default=0)
    failed: int = field("On how many nodes it had failed.", default=0)
    settings: str = field("The hash of the settings that nodes were to have.", default="", maxLength=64)


@dataclass(frozen=True)
class RolloutStatus:
    """What became of it so far."""

    observed_generation: int = field("The generation of the object that this status describes.", default=0, minimum=0)
    phase: str = field("What the rollout is doing.", default="", maxLength=32)
    progress: str = field("Nodes up to date, of all nodes.", default="", maxLength=32)
    release: str = field("The release that this status is about.", default="", maxLength=MAX_RELEASE)
    attempt: int = field("The attempt that this status is about.", default=0, minimum=0)
    settings: str = field("The hash of the settings that this status is about.", default="", maxLength=64)
    settings_alone: bool = field(
        "Whether only the settings are new: the release did not fail where they do.", default=False
    )
    settings_before: str = field(
        "The settings that all nodes had last, as JSON: a change disturbs only what differs from them.",
        default="",
        maxLength=MAX_BYTES,
    )
    wave: str = field(
        "Whose turn it is: Canary, a zone, or ControlPlane; with groups, GROUP/ before it.", default="", maxLength=128
    )
    started_at: str = field("When it began.", default="", **_TIME)
    completed_at: str = field("When all were up to date.", default="", **_TIME)
    counts: Counts = field("Numbers of nodes by state.", default=Counts())
    canary: CanaryStatus | None = field("How the canaries are doing.", default=None)
    groups: tuple[GroupStatus, ...] = field(
        "How the groups of 'order.groups' are doing that have had their turn.", default=(), maxItems=MAX_GROUPS
    )
    zone: ZoneStatus | None = field("The zone that had its turn last, where zones soak.", default=None)
    alerts: AlertsStatus | None = field("What Prometheus said that keeps nodes from starting.", default=None)
    failed_digests: tuple[str, ...] = field(
        "Releases that failed too often; they are not tried again before 'attempt' is raised.",
        default=(),
        maxItems=MAX_DIGESTS,
        items={"maxLength": 71},
    )
    halted: str = field("Why the rollout halted.", default="", maxLength=MAX_HALTED)
    outstanding: tuple[OutstandingNode, ...] = field(
        "Nodes between their order to reboot and their proof, including those that have disappeared since.",
        default=(),
        maxItems=MAX_OUTSTANDING,
    )
    lost: LostNodes | None = field("Nodes that did not come back from their reboot.", default=None)
    blockers: tuple[Blocker, ...] = field("What keeps nodes from being drained.", default=(), maxItems=MAX_BLOCKERS)
    next_window: str = field("When the next window opens.", default="", **_TIME)
    scheduler_node: str = field(
        "The node that the leading scheduler runs on, which goes last; empty if it runs elsewhere.",
        default="",
        **_NAME,
    )
    recent_seconds: tuple[int, ...] = field(
        "How long the last nodes took, from cordon to uncordon.", default=(), maxItems=MAX_RECENT
    )
    conditions: tuple[Condition, ...] = field("Conditions.", default=(), maxItems=8)
    history: tuple[PastRollout, ...] = field("Earlier targets, the latest first.", default=(), maxItems=MAX_HISTORY)
