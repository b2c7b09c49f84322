"""From the API server's objects to what the planner sees of them.

Nothing here fails, whatever stands in an object: what cannot be read counts as what is safe. Of 8 KB of a Node a few
hundred bytes are kept, and what many objects say alike is kept once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from sys import intern
from typing import Any, Final, TypeVar

from proa.core.orders.messages import Action, NodeStatus, Order
from proa.core.runtime.errors import ProaError
from proa.core.schema.model import parse
from proa.scheduler.kube.stream import Object, part, parts, version_of, whole
from proa.scheduler.objects.annotations import (
    MIRROR,
    read_approval,
    read_fence,
    read_mark,
    read_record,
    read_time,
    read_wish,
)
from proa.scheduler.planning.views import (
    APPROVED,
    APPROVED_GROUPS,
    ATTEMPT,
    EXCLUDE,
    FENCE,
    HOLD,
    IN_NO_GROUP,
    MARK,
    PAUSED,
    QUORUM,
    RECORD,
    NodeOSView,
    NodeView,
    RolloutView,
    digest_of,
)
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import RolloutStatus

Kind = TypeVar("Kind")
_SHARED: Final = 128
"""Characters up to which texts are worth being kept once: digests, versions, names; no messages."""
_NOWHERE: Final = RolloutSpec(release="")
"""The spec of a rollout whose own cannot be read."""


def node(item: Object, before: NodeView | None = None, now: datetime | None = None) -> NodeView:
    """What the planner sees of a Node.

    Args:
        item: The Node.
        before: What was seen of it before.
        now: The time, where changes are seen as they happen: clocks of nodes are not relied on then.
    """
    metadata, spec, status = item["metadata"], part(item, "spec"), part(item, "status")
    labels = _texts(metadata, "labels")
    if before is not None and before.labels == labels:
        labels = before.labels
    said = part(metadata, "annotations")
    ready, since = _ready(status)
    boot_id = _text(part(status, "nodeInfo"), "bootID")
    told = read_time(since)
    if before is not None and (before.ready, before.ready_said, before.boot_id) == (ready, since, boot_id):
        ready_since = before.ready_since
    elif now is not None:
        ready_since = now if before is not None or told is None else min(told, now)
    else:
        ready_since = told
    return NodeView(
        name=intern(str(metadata["name"])),
        uid=str(metadata.get("uid", "")),
        labels=labels,
        ready=ready,
        ready_since=ready_since,
        ready_said=since,
        unschedulable=spec.get("unschedulable") is True,
        boot_id=boot_id,
        mark=read_mark(said[MARK]) if isinstance(said.get(MARK), str) else None,
        fence=read_fence(said.get(FENCE)),
        hold=read_wish(said.get(HOLD)),
        excluded=read_wish(said.get(EXCLUDE)) is not None,
        attached=_attached(status),
        leaving=_leaving(metadata, spec),
        role=_role(spec),
    )


def node_os(item: Object, before: NodeOSView | None = None) -> NodeOSView:
    """What the planner sees of a NodeOS."""
    metadata = item["metadata"]
    said = part(metadata, "annotations")
    order = _order(part(item, "spec").get("order"))
    status = parsed(NodeStatus, item.get("status")) if item.get("status") else None
    record = read_record(said[RECORD]) if isinstance(said.get(RECORD), str) else None
    if before is not None:
        order = before.order if before.order == order else order
        status = before.status if before.status == status else status
    return NodeOSView(
        name=intern(str(metadata["name"])),
        uid=str(metadata.get("uid", "")),
        owner=_owner(metadata),
        order=order,
        status=status,
        record=record,
        fence=max(read_fence(said.get(FENCE)), order.fence if order else -1),
        created=read_time(metadata.get("creationTimestamp")),
    )


def rollout(item: Object, before: RolloutView | None = None) -> RolloutView:
    """What the planner sees of an OSRollout; its ``problem`` if that is not enough to act by.

    A status that cannot be read is one as well: it might say that the rollout was halted.
    """
    metadata = item["metadata"]
    spec, status, problem = _NOWHERE, RolloutStatus(), ""
    try:
        spec = parse(RolloutSpec, item.get("spec"), "spec")
        spec = _as_said(spec, part(metadata, "annotations"))
        status = parse(RolloutStatus, part(item, "status"), "status")
    except ProaError as error:
        problem = error.message
    if before is not None and before.spec == spec:
        spec = before.spec
    return RolloutView(
        name=str(metadata["name"]),
        uid=str(metadata.get("uid", "")),
        generation=whole(metadata.get("generation")),
        spec=spec,
        status=status,
        problem=problem,
        version=version_of(item),
        approved=read_approval(part(metadata, "annotations").get(APPROVED), digest_of(spec.release)),
        approved_groups=_approved_groups(spec, part(metadata, "annotations")),
    )


def _approved_groups(spec: RolloutSpec, said: Mapping[str, Any]) -> dict[str, str]:
    """Who has approved the release for which group that there is."""
    names = (*(group.name for group in spec.order.groups), IN_NO_GROUP)
    digest = digest_of(spec.release)
    found = {name: read_approval(said.get(f"{APPROVED_GROUPS}{name}"), digest) for name in names}
    return {name: approval for name, approval in found.items() if approval}


def _as_said(spec: RolloutSpec, said: Mapping[str, Any]) -> RolloutSpec:
    """The spec with what commands have written beside it, so that applying the spec anew undoes nothing."""
    paused = spec.paused or read_wish(said.get(PAUSED)) is not None
    attempt = max(spec.attempt, read_fence(said.get(ATTEMPT)))
    if (paused, attempt) == (spec.paused, spec.attempt):
        return spec
    return dataclasses.replace(spec, paused=paused, attempt=attempt)


def _ready(status: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a Node is Ready, and since when it is or is not; one that has never said so is not."""
    for condition in parts(status, "conditions"):
        if condition.get("type") == "Ready":
            return condition.get("status") == "True", str(condition.get("lastTransitionTime") or "")
    return False, ""


_REMOVERS: Final = {
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler removes it",
    "karpenter.sh/disrupted": "Karpenter removes it",
    "karpenter.sh/disruption": "Karpenter removes it",
}
"""Taints by which others say that a node goes for good."""


def _role(spec: Mapping[str, Any]) -> str:
    """The taint by which a Node is of the control plane, whatever became of its labels; empty if none says so."""
    return next((key for taint in parts(spec, "taints") if (key := _text(taint, "key")) in QUORUM), "")


def host(item: Object, _: str | None = None) -> str:
    """The node of a static pod, which the kubelet there shows by a mirror pod; empty for any other pod."""
    is_static = MIRROR in part(item["metadata"], "annotations")
    return _text(part(item, "spec"), "nodeName") if is_static else ""


def _leaving(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Why a Node is about to go for good; empty if it is not."""
    if metadata.get("deletionTimestamp"):
        return "it is being deleted"
    return next((why for taint in parts(spec, "taints") if (why := _REMOVERS.get(_text(taint, "key")))), "")


def _attached(status: Mapping[str, Any]) -> tuple[str, ...]:
    """The volumes that are attached to a Node, in their order."""
    return tuple(sorted(name for one in parts(status, "volumesAttached") if (name := _text(one, "name"))))


def _owner(metadata: Mapping[str, Any]) -> str:
    """The UID of the Node that an object belongs to; empty if it belongs to none."""
    for owner in parts(metadata, "ownerReferences"):
        if owner.get("kind") == "Node" and owner.get("apiVersion") == "v1":
            return str(owner.get("uid", ""))
    return ""


def _order(said: object) -> Order | None:
    """An order; of one that cannot be read, because a newer scheduler gave it, the id and the fence: both only grow."""
    if said is None:
        return None
    found = parsed(Order, said)
    if found is not None or not isinstance(said, Mapping):
        return found
    number, fence = whole(said.get("id"), -1), whole(said.get("fence"), -1)
    return Order(number, Action.NONE, fence) if number >= 0 and fence >= 0 else None


def parsed(kind: type[Kind], said: object) -> Kind | None:
    """What JSON values say, with short texts that are kept once; none for what cannot be read."""
    try:
        return parse(kind, _shared(said))
    except ProaError:
        return None


def _shared(value: object) -> object:
    """The same with short texts that are kept once."""
    if isinstance(value, str):
        return intern(value) if len(value) <= _SHARED else value
    if isinstance(value, dict):
        return {key: _shared(item) for key, item in value.items()}
    return [_shared(item) for item in value] if isinstance(value, list) else value


def _text(item: Mapping[str, Any], key: str) -> str:
    found = item.get(key)
    return intern(found) if isinstance(found, str) else ""


def _texts(item: Mapping[str, Any], key: str) -> Mapping[str, str]:
    return {intern(name): intern(value) for name, value in part(item, key).items() if isinstance(value, str)}
