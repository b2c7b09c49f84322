"""What of a pod, and of the disruption budgets over it (``policy/v1``), decides whether and how it is moved away."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from sys import intern
from typing import Any, Final

from proa.core.runtime.printable import one_line
from proa.scheduler.kube.stream import Object, part, parts
from proa.scheduler.objects.annotations import MIRROR, read_time
from proa.scheduler.objects.reading import parsed
from proa.scheduler.spec.rollout import Drain, Selector, UnmanagedPods
from proa.scheduler.spec.selectors import matches

_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_GRACE: Final = 30
"""Seconds that a pod has to end where it does not say (Kubernetes, "Pod Lifecycle", "Termination of Pods")."""
_LONGEST_GRACE: Final = 10 * 365 * 86400
"""Seconds that stand for any longer grace: dates end in the year 9999."""


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod on a node.

    Attributes:
        key: ``NAMESPACE/NAME``.
        labels: For disruption budgets.
        owner: The kind and the name of its controller; empty if it has none.
        mirror: Whether the kubelet runs it from a file.
        finished: Whether it has run to its end.
        ready: Whether it says that it is Ready.
        empty_dir: Whether it has a volume whose content is lost with it.
        claims: The claims of its volumes, as ``NAMESPACE/NAME``.
        deleting: When it must have ended; none if nobody has asked it to.
        grace: How many seconds it has to end.
    """

    key: str
    uid: str
    labels: Mapping[str, str]
    owner: tuple[str, str] = ("", "")
    mirror: bool = False
    finished: bool = False
    ready: bool = False
    empty_dir: bool = False
    claims: tuple[str, ...] = ()
    deleting: datetime | None = None
    grace: int = _GRACE

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """Its name in the namespace."""
        return self.key.partition("/")[2]


class PodFate(enum.Enum):
    """What becomes of a pod in a drain."""

    STAYS = "stays"
    """It belongs to the node, or has ended anyway."""
    GOES = "goes"
    BLOCKED = "blocked"
    """By the policy: a person has to decide."""


def project(item: Object, before: PodView | None = None) -> PodView:
    """What is kept of a pod."""
    metadata, spec, status = item["metadata"], part(item, "spec"), part(item, "status")
    labels = {intern(str(key)): intern(str(value)) for key, value in part(metadata, "labels").items()}
    volumes = parts(spec, "volumes")
    grace = spec.get("terminationGracePeriodSeconds")
    return PodView(
        key=f"{metadata.get('namespace', '')}/{metadata['name']}",
        uid=str(metadata.get("uid", "")),
        labels=before.labels if before is not None and before.labels == labels else labels,
        owner=_controller(metadata),
        mirror=MIRROR in part(metadata, "annotations"),
        finished=str(status.get("phase")) in _FINISHED,
        ready=_is_ready(status),
        empty_dir=any("emptyDir" in volume for volume in volumes),
        claims=tuple(_claims(metadata, volumes)),
        deleting=read_time(str(metadata.get("deletionTimestamp") or "")),
        grace=min(max(grace, 0), _LONGEST_GRACE) if isinstance(grace, int) else _GRACE,
    )


def fate(pod: PodView, policy: Drain) -> tuple[PodFate, str]:
    """What becomes of a pod, and why if it is blocked."""
    if pod.mirror or pod.finished or pod.owner[0] == "DaemonSet":
        return PodFate.STAYS, ""
    if pod.deleting is not None:
        return PodFate.GOES, ""
    if pod.owner[0] == "" and policy.unmanaged_pods is UnmanagedPods.BLOCK:
        return PodFate.BLOCKED, "no controller would recreate it (drain.unmanagedPods)"
    if pod.empty_dir and not policy.delete_empty_dir:
        return PodFate.BLOCKED, "its emptyDir would be lost (drain.deleteEmptyDir)"
    return PodFate.GOES, ""


def may_finish(pod: PodView, policy: Drain) -> bool:
    """Whether a pod runs that may finish before anything is evicted from its node."""
    if policy.wait_for is None or pod.deleting is not None or fate(pod, policy)[0] is PodFate.STAYS:
        return False
    return matches(policy.wait_for.selector, pod.labels)


def ends_by(pod: PodView, now: datetime) -> datetime:
    """By when a pod that is asked to end must have done so; ``deletionTimestamp`` is the end of its grace."""
    return pod.deleting or now + timedelta(seconds=pod.grace)


def _claims(metadata: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The claim of a generic ephemeral volume is named ``POD-VOLUME`` (Kubernetes, "Ephemeral Volumes")."""
    namespace = metadata.get("namespace", "")
    for volume in volumes:
        if "ephemeral" in volume:
            yield f"{namespace}/{metadata['name']}-{volume.get('name', '')}"
        elif claim := part(volume, "persistentVolumeClaim").get("claimName"):
            yield f"{namespace}/{claim}"


def _controller(metadata: Mapping[str, Any]) -> tuple[str, str]:
    for owner in parts(metadata, "ownerReferences"):
        if owner.get("controller") is True:
            return intern(str(owner.get("kind", ""))), intern(str(owner.get("name", "")))
    return "", ""


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in parts(status, "conditions"))


# disruption budgets


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A PodDisruptionBudget.

    Attributes:
        key: ``NAMESPACE/NAME``.
        selector: Its pods, an empty one means all of the namespace; none if there is none, or it cannot be read: then
            no pod is told to be under it.
        never: Whether it lets no pod go even when all of them are well; the wording of why.
    """

    key: str
    selector: Selector | None
    never: str = ""


def budget(item: Object, _: BudgetView | None = None) -> BudgetView:
    """What is kept of a budget."""
    metadata, spec, status = item["metadata"], part(item, "spec"), part(item, "status")
    key = f"{metadata.get('namespace', '')}/{metadata['name']}"
    return BudgetView(key, parsed(Selector, spec.get("selector")), _never(spec, status))


def over(pod: PodView, budgets: Iterable[BudgetView]) -> list[BudgetView]:
    """The budgets that a pod is under, by their names."""
    prefix = f"{pod.namespace}/"
    found = [
        one
        for one in budgets
        if one.key.startswith(prefix) and one.selector is not None and matches(one.selector, pod.labels)
    ]
    return sorted(found, key=lambda one: one.key)


def _never(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Whether it can never let a pod go: as many must be healthy as there are, or their number is unknown."""
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    for condition in parts(status, "conditions"):
        if (condition.get("type"), condition.get("reason")) == ("DisruptionAllowed", "SyncFailed"):
            return f"the disruption controller cannot count its pods: {one_line(str(condition.get('message')), 200)}"
    if most in (0, "0%"):
        return f"maxUnavailable is {most}"
    expected, desired = status.get("expectedPods"), status.get("desiredHealthy")
    if isinstance(expected, int) and isinstance(desired, int) and 0 < expected <= desired:
        return f"{desired} pods must be healthy, and there are only {expected}"
    return f"minAvailable is {least}" if least == "100%" else ""
