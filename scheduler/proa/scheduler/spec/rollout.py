"""What is wanted of a group of nodes: the spec of an ``OSRollout``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import LEAST_RATE, MAX_RATE, MAX_RELEASE
from proa.core.runtime.duration import PATTERN as DURATION
from proa.core.schema.model import field
from proa.scheduler.spec import rules
from proa.scheduler.spec.amounts import MAX_CANARIES, MAX_NODES, PATTERN, Amount

MAX_LIST: Final = 16
"""Items of a list that a person writes."""
MAX_MODELS: Final = 32
"""Models of settings, and the revision."""
MAX_GROUPS: Final = 16
"""Groups of nodes that follow one another."""
_AMOUNT: Final[Mapping[str, Any]] = {"minimum": 0, "maximum": MAX_NODES, "pattern": PATTERN, "maxLength": 8}
_LABEL_VALUE: Final[Mapping[str, Any]] = {"maxLength": 63, "x-kubernetes-validations": [rules.LABEL_VALUE]}
_SPAN: Final[Mapping[str, Any]] = {"pattern": DURATION, "minLength": 2, "maxLength": 16}


class ControlPlane(enum.Enum):
    """When nodes of the control plane have their turn."""

    LAST = "Last"
    FIRST = "First"
    EXCLUDE = "Exclude"


class Approval(enum.Enum):
    """Whether a person has to approve the release."""

    NOT_REQUIRED = "NotRequired"
    REQUIRED = "Required"
    """Before the first node starts."""
    AFTER_CANARY = "AfterCanary"
    """Once the canaries have proved the release, before the other nodes start."""
    EACH_GROUP = "EachGroup"
    """Before the nodes of each group start, and before those in no group do."""


class Cordoned(enum.Enum):
    """What becomes of nodes that somebody else has cordoned."""

    SKIP = "Skip"
    INCLUDE = "Include"
    """They have their turn as the others, and stay cordoned."""


class Zones(enum.Enum):
    """How zones count."""

    ONE_AT_A_TIME = "OneAtATime"
    IGNORE = "Ignore"


class OnTimeout(enum.Enum):
    """What becomes of a node that cannot be drained in time."""

    PARK = "Park"
    """It is uncordoned and has another turn later, behind the others."""
    ABORT = "Abort"
    """It is uncordoned and counts as failed."""
    FORCE = "Force"
    """What is left is deleted, whatever its disruption budget says, and the node goes on."""


class Undrainable(enum.Enum):
    """What becomes of a node of which it is foreseen that something would block its drain forever."""

    TRY = "Try"
    """It goes last, and is tried within the drain's time: operators lift budgets once a node is cordoned."""
    SKIP = "Skip"
    """It is not cordoned."""


class UnmanagedPods(enum.Enum):
    """What becomes of pods that nobody would make anew."""

    BLOCK = "Block"
    DELETE = "Delete"


class OnFailure(enum.Enum):
    """What becomes of a rollout in which too much has failed."""

    HALT = "Halt"
    ROLLBACK = "Rollback"
    """The nodes that were updated go back to the release before, within the same budget."""


class SettingsDisruption(enum.Enum):
    """What a change of settings alone may disturb, from the least to the most."""

    NONE = "None"
    RESTART = "Restart"
    """Daemons, while pods keep running."""
    DRAIN = "Drain"
    """Pods, which are moved away first."""


class Operator(enum.Enum):
    """How a label is looked at."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True)
class Requirement:
    """One requirement of a label selector."""

    VALIDATIONS = (rules.VALUES_MISSING, rules.VALUES_UNUSED)

    key: str = field("The label.", maxLength=317, x_kubernetes_validations=[rules.LABEL_KEY])
    operator: Operator = field("How to compare its value.")
    values: tuple[str, ...] = field("Values, for In and NotIn.", default=(), maxItems=MAX_LIST, items=_LABEL_VALUE)


@dataclass(frozen=True)
class Selector:
    """A selector by labels. An empty one selects all."""

    match_labels: Mapping[str, str] = field(
        "Labels that must be there.",
        default={},
        maxProperties=MAX_LIST,
        items=_LABEL_VALUE,
        x_kubernetes_validations=[rules.LABEL_KEYS],
    )
    match_expressions: tuple[Requirement, ...] = field(
        "Requirements that the labels must meet.", default=(), maxItems=MAX_LIST
    )


@dataclass(frozen=True)
class Budget:
    """Windows in which nodes may be started. The most restrictive open one counts; while none is open, none starts."""

    VALIDATIONS = (rules.WINDOW_OF_NOTHING, rules.WINDOW_OF_WEEKS)

    schedule: str = field(
        "When a window opens: five fields as in crontab(5), such as '0 22 * * 1-5'.",
        maxLength=100,
        x_kubernetes_validations=[
            {
                "rule": r"self.matches(r'^\S+( +\S+){4}$')",
                "message": "schedule needs five fields: minute hour day month weekday",
            }
        ],
    )
    duration: str = field("How long the window stays open, such as '6h'.", **_SPAN)
    time_zone: str = field(
        "The IANA time zone of the schedule, such as 'Europe/Berlin'.",
        default="UTC",
        maxLength=64,
        x_kubernetes_validations=[
            {
                "rule": "self == 'UTC' || "
                "(self.contains('/') && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0)",
                "message": "timeZone must be an IANA name such as Europe/Berlin, or UTC",
            }
        ],
    )
    max_unavailable: Amount = field("How many nodes may be unavailable in this window.", default=1, **_AMOUNT)
    reason: str = field("The purpose of the window, for people.", default="", maxLength=128)


@dataclass(frozen=True)
class Group:
    """Nodes that have their turn before those of later groups."""

    VALIDATIONS = (rules.GROUP_OF_ALL,)

    name: str = field("Its name.", maxLength=63, x_kubernetes_validations=[rules.GROUP_NAME])
    node_selector: Selector = field(
        "Which of the rollout's nodes are in it; a node that several groups select is in the first of them."
    )
    soak: str = field(
        "How long its nodes must stay healthy on the release before those of later groups start.", default="0s", **_SPAN
    )


@dataclass(frozen=True)
class Turns:
    """Whose turn comes when."""

    VALIDATIONS = (rules.ZONE_SOAK,)

    zones: Zones = field("Whether nodes of two zones may be unavailable at once.", default=Zones.ONE_AT_A_TIME)
    control_plane: ControlPlane = field(
        "When control-plane nodes have their turn: one at a time, and only while all others are Ready. With groups, "
        "this holds within each of them.",
        default=ControlPlane.LAST,
    )
    groups: tuple[Group, ...] = field(
        "Groups of nodes that follow one another; nodes in no group come last.",
        default=(),
        maxItems=MAX_GROUPS,
        x_kubernetes_list_type="map",
        x_kubernetes_list_map_keys=["name"],
    )
    zone_soak: str = field(
        "How long the nodes of a zone must stay healthy on the release before those of another zone start.",
        default="0s",
        **_SPAN,
    )


@dataclass(frozen=True)
class Canary:
    """The first nodes, which must prove the release before it is brought to the others."""

    VALIDATIONS = (rules.SOAK,)

    nodes: Amount = field(
        f"How many, or a percentage, but {MAX_CANARIES} at most; 0 for none.",
        default=0,
        **dict(_AMOUNT) | {"maximum": MAX_CANARIES},
    )
    soak: str = field("How long they must stay healthy before the others follow.", default="10m", **_SPAN)


@dataclass(frozen=True)
class Staging:
    """How the release is brought to the standby slots."""

    VALIDATIONS = (rules.STAGING_OF_NOTHING, rules.STAGING_TOO_SLOW)

    max_concurrent: int = field(
        "How many nodes may fetch the release at a time.", default=10, minimum=1, maximum=MAX_NODES
    )
    timeout: str = field("How long one node may take.", default="1h", **_SPAN)
    bytes_per_second: int = field(
        f"Bytes a second that each node may fetch at, from {LEAST_RATE} on; 0 for no limit. "
        "A node with a limit of its own goes by the smaller one.",
        default=0,
        minimum=0,
        maximum=MAX_RATE,
    )


@dataclass(frozen=True)
class WaitFor:
    """Pods that may finish before anything is evicted from their node, such as those of Jobs."""

    VALIDATIONS = (rules.WAIT_FOR_ALL, rules.WAIT_NO_TIME)

    selector: Selector = field("Which pods, by their labels.")
    timeout: str = field("How long after the cordon they may take; then they are evicted like all others.", **_SPAN)


@dataclass(frozen=True)
class Drain:
    """How pods are moved away before a node reboots."""

    VALIDATIONS = (rules.DRAIN_OF_NOTHING,)

    timeout: str = field(
        "How long a drain may take, from the cordon on, or from when there is nothing more to wait for.",
        default="15m",
        **_SPAN,
    )
    wait_for: WaitFor | None = field("Pods that may finish before anything is evicted.", default=None)
    grace_period_seconds: int | None = field(
        "Overrides the pods' own grace periods.", default=None, minimum=0, maximum=86400
    )
    on_timeout: OnTimeout = field("What to do with a node whose drain takes longer.", default=OnTimeout.PARK)
    delete_empty_dir: bool = field("Whether to evict pods with emptyDir volumes, whose content is lost.", default=True)
    undrainable: Undrainable = field(
        "What to do with a node whose drain something seems to block forever: try it last, or skip it.",
        default=Undrainable.TRY,
    )
    unmanaged_pods: UnmanagedPods = field("What to do with pods without a controller.", default=UnmanagedPods.BLOCK)


@dataclass(frozen=True)
class DaemonSet:
    """A DaemonSet whose pod on the node must be ready."""

    namespace: str = field("Its namespace.", maxLength=63, x_kubernetes_validations=[rules.NAMESPACE])
    name: str = field("Its name.", maxLength=253, x_kubernetes_validations=[rules.OBJECT_NAME])


@dataclass(frozen=True)
class Alert:
    """A query to Prometheus whose result must be empty."""

    name: str = field("Its name.", maxLength=63, x_kubernetes_validations=[rules.ALERT_NAME])
    query: str = field(
        'The query (PromQL), such as \'ALERTS{alertstate="firing", severity="critical"}\'.',
        minLength=1,
        maxLength=1024,
    )


@dataclass(frozen=True)
class HealthPolicy:
    """What a node must prove before its release is committed."""

    VALIDATIONS = (rules.READY_TOO_LATE,)

    ready_seconds: int = field("How long the node must be Ready.", default=60, minimum=0, maximum=86400)
    timeout: str = field("How long the node may take after its order to reboot.", default="20m", **_SPAN)
    daemon_sets: tuple[DaemonSet, ...] = field(
        "DaemonSets whose pods must be ready.",
        default=(),
        maxItems=MAX_LIST,
        x_kubernetes_list_type="map",
        x_kubernetes_list_map_keys=["namespace", "name"],
    )
    alerts: tuple[Alert, ...] = field(
        "Queries to Prometheus whose results must all be empty before the next node starts. While one is not, or "
        "Prometheus does not answer, none does; a rollback asks nothing.",
        default=(),
        maxItems=MAX_LIST,
        x_kubernetes_list_type="map",
        x_kubernetes_list_map_keys=["name"],
    )


@dataclass(frozen=True)
class FailurePolicy:
    """How much may go wrong."""

    VALIDATIONS = (rules.NEVER_BACK,)

    max: Amount = field("How many nodes may fail; one more ends the rollout.", default=0, **_AMOUNT)
    action: OnFailure = field("What to do then.", default=OnFailure.HALT)


@dataclass(frozen=True)
class Retry:
    """Nodes on which something failed have other turns, behind all others."""

    limit: int = field("How many more attempts.", default=2, minimum=0, maximum=20)
    backoff: str = field(
        "How long to wait after the first failure; the wait doubles with each further one.", default="5m", **_SPAN
    )


@dataclass(frozen=True)
class RolloutSpec:
    """What is wanted of a group of nodes."""

    VALIDATIONS = (
        {"rule": "self.attempt >= oldSelf.attempt", "message": "attempt only grows: raise it to resume after a halt"},
        rules.ALL_SHUT,
        rules.NONE_LEFT,
    )

    release: str = field(
        "The release, by digest: HOST/NAME[:TAG]@sha256:... ('kubectl proa start' resolves a tag).",
        maxLength=MAX_RELEASE,
        x_kubernetes_validations=[rules.DIGEST],
    )
    settings: Mapping[str, Any] | None = field(
        "What the nodes are set to, by model (docs/reference/node-settings.md): all of it, so that what is not listed "
        "becomes the release's own. Nodes keep their settings where it is missing. No secrets: everybody who may read "
        "the rollout reads them.",
        default=None,
        maxProperties=MAX_MODELS,
        x_kubernetes_preserve_unknown_fields=True,
    )
    settings_disruption: SettingsDisruption | None = field(
        "What a change of settings alone may disturb: None nothing, Restart daemons while pods keep running, Drain "
        "pods, which are moved away first. Without it, what the change needs at least; with less, no node starts.",
        default=None,
    )
    node_selector: Selector = field("Which nodes follow this rollout; all if it is empty.", default=Selector())
    max_unavailable: Amount = field(
        "How many nodes may be unavailable at a time, including NotReady and cordoned ones; a "
        "percentage is rounded down, but to 1 at least; 0 starts none.",
        default=1,
        **_AMOUNT,
    )
    budgets: tuple[Budget, ...] = field(
        "When nodes may start; at any time if there are none.", default=(), maxItems=MAX_LIST
    )
    cordoned: Cordoned = field(
        "What to do with nodes that somebody else has cordoned: skip them until they are uncordoned, or include "
        "them; their cordon stays either way.",
        default=Cordoned.SKIP,
    )
    order: Turns = field("The order of the nodes.", default=Turns())
    canary: Canary = field("The first nodes.", default=Canary())
    approval: Approval = field(
        "Whether a person has to approve the release with 'kubectl proa approve': before any node starts, before the "
        "others do once the canaries have proved it, or before those of each group do, canaries included. Nodes fetch "
        "the release meanwhile.",
        default=Approval.NOT_REQUIRED,
    )
    staging: Staging = field("How the release gets to the standby slots.", default=Staging())
    drain: Drain = field("How pods are evicted.", default=Drain())
    health: HealthPolicy = field("What a node must prove.", default=HealthPolicy())
    failure: FailurePolicy = field("How many failures to accept, and what to do then.", default=FailurePolicy())
    retry: Retry = field("Further attempts for nodes on which something failed.", default=Retry())
    expected_duration: str = field(
        "How long one node takes from cordon to uncordon, until enough nodes have been measured on the way to this "
        "release. No node starts that would not finish before its window closes; where the measured time is longer "
        "than the whole window, this one counts.",
        default="15m",
        x_kubernetes_validations=[rules.NO_WEEKS],
        **_SPAN,
    )
    paused: bool = field("Whether to start no more nodes; nodes under way finish.", default=False)
    attempt: int = field("Raise it to resume after a halt.", default=0, minimum=0)
    allow_downgrade: bool = field(
        "Whether nodes may take a release with a serial below one that they have committed; never below their floor.",
        default=False,
    )
