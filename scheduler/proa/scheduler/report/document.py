"""A snapshot as a JSON document, and back: ``proa.snapshot/v1``, what ``simulate --from`` reads.

Names may be hashed, so that the shape of a cluster can be shown to others: nodes, zones, UIDs and boots have other
names then (equal ones have equal ones, in another order), registries none, and texts are gone. Rollouts, and labels
that they select by, keep theirs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from proa.core.orders.messages import NodeStatus, Order
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.kube.stream import Object
from proa.scheduler.kube.times import text
from proa.scheduler.objects.annotations import mark_text, read_mark, read_record, read_time, record_text
from proa.scheduler.planning.views import (
    CONTROL_PLANE,
    ZONE,
    Mark,
    NodeOSView,
    NodeView,
    Record,
    RolloutView,
    Snapshot,
    digest_of,
)
from proa.scheduler.report.source import drains_of
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutStatus

SCHEMA: Final = "proa.snapshot/v1"


def write(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    """A snapshot as a document, but for the two keys that all documents begin with."""
    return {
        "at": text(now),
        "own_node": snapshot.own_node,
        "rollouts": [_rollout(view) for _, view in sorted(snapshot.rollouts.items())],
        "nodes": [_node(view) for _, view in sorted(snapshot.nodes.items())],
        "nodeoses": [_node_os(view) for _, view in sorted(snapshot.oses.items())],
        "hopeless": [document(blocker) for _, found in sorted(snapshot.undrainable.items()) for blocker in found],
    }


def read(found: object, at: str = "") -> tuple[Snapshot, datetime]:
    """The snapshot that a document holds, and when it was taken.

    Args:
        found: The document.
        at: Where it is from, for the error.

    Raises:
        ProaError: ``CONFIG_VALUE`` for what is none.
    """
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        raise ProaError(Code.CONFIG_VALUE, f"not a snapshot ({SCHEMA})", at=at, hint="'snapshot -o FILE' writes one.")
    try:
        now = read_time(found["at"])
        if now is None:
            raise ValueError("at")
        rollouts = {view.name: view for view in map(_read_rollout, found["rollouts"])}
        nodes = {view.name: view for view in map(_read_node, found["nodes"])}
        oses = {view.name: view for view in map(_read_node_os, found["nodeoses"])}
        own = str(found["own_node"])
        undrainable = _read_hopeless(found.get("hopeless", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProaError(Code.CONFIG_VALUE, f"a snapshot that is not whole: {error}", at=at) from error
    return Snapshot(nodes, oses, rollouts, drains_of(nodes, rollouts), own_node=own, undrainable=undrainable), now


def load(path: Path) -> tuple[Snapshot, datetime]:
    """The snapshot in a file, and when it was taken.

    Raises:
        ProaError: ``FILE_MISSING``, ``CONFIG_VALUE`` for what is no snapshot.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ProaError(Code.FILE_MISSING, "the snapshot cannot be read", at=path) from error
    except (ValueError, RecursionError) as error:
        raise ProaError(Code.CONFIG_VALUE, "not JSON", at=path, hint="'snapshot -o FILE' writes one.") from error
    return read(found, str(path))


def hashed(snapshot: Snapshot, salt: bytes | None = None) -> Snapshot:
    """The same cluster with other names. Texts of people and of errors are left out.

    Args:
        snapshot: The snapshot.
        salt: What the hashes are made with; another one each time if none.
    """
    salt = salt if salt is not None else secrets.token_bytes(16)

    def name(said: str) -> str:
        return hashlib.blake2s(said.encode(), key=salt, digest_size=6).hexdigest() if said else ""

    selected = {key for view in snapshot.rollouts.values() for key in _keys(view.spec)}
    nodes = {name(one.name): _hash_node(one, name, selected) for one in snapshot.nodes.values()}
    oses = {name(one.name): _hash_os(one, name) for one in snapshot.oses.values()}
    rollouts = {one.name: _hash_rollout(one, name) for one in snapshot.rollouts.values()}
    undrainable = {
        name(node): tuple(_hash_blocker(blocker, name) for blocker in found)
        for node, found in snapshot.undrainable.items()
    }
    return Snapshot(nodes, oses, rollouts, own_node=name(snapshot.own_node), undrainable=undrainable)


# to JSON


def _node(view: NodeView) -> Object:
    return {
        "name": view.name,
        "uid": view.uid,
        "labels": dict(view.labels),
        "ready": view.ready,
        "ready_since": text(view.ready_since) if view.ready_since else "",
        "unschedulable": view.unschedulable,
        "boot_id": view.boot_id,
        "mark": mark_text(view.mark) if view.mark else "",
        "fence": view.fence,
        "hold": view.hold,
        "excluded": view.excluded,
    }


def _node_os(view: NodeOSView) -> Object:
    return {
        "name": view.name,
        "uid": view.uid,
        "owner": view.owner,
        "order": document(view.order) if view.order else None,
        "status": document(view.status) if view.status else None,
        "record": record_text(view.record) if view.record else "",
        "fence": view.fence,
    }


def _rollout(view: RolloutView) -> Object:
    return {
        "name": view.name,
        "uid": view.uid,
        "generation": view.generation,
        "spec": document(view.spec),
        "status": document(view.status),
        "problem": view.problem,
    }


# and back


def _read_node(item: Object) -> NodeView:
    return NodeView(
        name=str(item["name"]),
        uid=str(item["uid"]),
        labels={str(key): str(value) for key, value in item["labels"].items()},
        ready=item["ready"] is True,
        ready_since=read_time(item["ready_since"]),
        unschedulable=item["unschedulable"] is True,
        boot_id=str(item["boot_id"]),
        mark=read_mark(item["mark"]) if item["mark"] else None,
        fence=int(item["fence"]),
        hold=str(item["hold"]) if item["hold"] is not None else None,
        excluded=item["excluded"] is True,
    )


def _read_node_os(item: Object) -> NodeOSView:
    return NodeOSView(
        name=str(item["name"]),
        uid=str(item["uid"]),
        owner=str(item["owner"]),
        order=parse(Order, item["order"], f"{item['name']}.order") if item["order"] else None,
        status=parse(NodeStatus, item["status"], f"{item['name']}.status") if item["status"] else None,
        record=read_record(item["record"]) if item["record"] else None,
        fence=int(item["fence"]),
    )


def _read_rollout(item: Object) -> RolloutView:
    problem = str(item["problem"])
    return RolloutView(
        name=str(item["name"]),
        uid=str(item["uid"]),
        generation=int(item["generation"]),
        spec=RolloutSpec("") if problem else parse(RolloutSpec, item["spec"], f"{item['name']}.spec"),
        status=parse(RolloutStatus, item["status"], f"{item['name']}.status"),
        problem=problem,
    )


def _read_hopeless(items: Iterable[Object]) -> dict[str, tuple[Blocker, ...]]:
    found: dict[str, tuple[Blocker, ...]] = {}
    for item in items:
        blocker = parse(Blocker, item, "hopeless")
        found[blocker.node] = (*found.get(blocker.node, ()), blocker)
    return found


# hashing

_Name = Callable[[str], str]
_HIDDEN: Final = "registry.invalid/hidden"


def _keys(spec: RolloutSpec) -> set[str]:
    selector = spec.node_selector
    return {*selector.match_labels, *(requirement.key for requirement in selector.match_expressions)}


def _hash_release(said: str) -> str:
    return f"{_HIDDEN}@{digest_of(said)}" if said else ""


def _hash_mark(mark: Mark | None, name: _Name) -> Mark | None:
    return dataclasses.replace(mark, boot_id=name(mark.boot_id)) if mark else None


def _hash_record(record: Record | None) -> Record | None:
    return dataclasses.replace(record, message="") if record else None


def _hash_blocker(blocker: Blocker, name: _Name) -> Blocker:
    pod, budget, volume = map(name, (blocker.pod, blocker.budget, blocker.volume))
    return Blocker(name(blocker.node), pod, budget, volume, "hidden", blocker.since)


def _hash_node(view: NodeView, name: _Name, selected: set[str]) -> NodeView:
    """Labels that a rollout selects by stay as they are; of the others only those that the planner knows are kept."""
    labels = {key: value for key, value in view.labels.items() if key in selected or key == CONTROL_PLANE}
    if view.zone:
        labels.setdefault(ZONE, name(view.zone))
    return NodeView(
        name(view.name),
        name(view.uid),
        labels,
        view.ready,
        view.ready_since,
        view.unschedulable,
        name(view.boot_id),
        _hash_mark(view.mark, name),
        view.fence,
        "hidden" if view.hold is not None else None,
        view.excluded,
    )


def _hash_os(view: NodeOSView, name: _Name) -> NodeOSView:
    order, status = view.order, view.status
    if order is not None:
        trial = dataclasses.replace(order.trial, boot_id=name(order.trial.boot_id)) if order.trial else None
        order = dataclasses.replace(order, release=_hash_release(order.release), trial=trial)
    if status is not None:
        booted, standby, error = status.booted, status.standby, status.last_error
        status = dataclasses.replace(
            status,
            booted=dataclasses.replace(booted, boot_id=name(booted.boot_id), version="") if booted else None,
            standby=dataclasses.replace(standby, version="") if standby else None,
            last_error=dataclasses.replace(error, message="") if error else None,
            conditions=tuple(dataclasses.replace(one, message="") for one in status.conditions),
        )
    record = _hash_record(view.record)
    return NodeOSView(name(view.name), name(view.uid), name(view.owner), order, status, record, view.fence)


def _hash_rollout(view: RolloutView, name: _Name) -> RolloutView:
    spec, status = view.spec, view.status
    canary = status.canary
    spec = dataclasses.replace(
        spec,
        release=_hash_release(spec.release),
        budgets=tuple(dataclasses.replace(budget, reason="") for budget in spec.budgets),
        health=dataclasses.replace(spec.health, daemon_sets=()),
    )
    status = dataclasses.replace(
        status,
        release=_hash_release(status.release),
        wave="",
        halted="hidden" if status.halted else "",
        canary=dataclasses.replace(canary, nodes=tuple(map(name, canary.nodes))) if canary else None,
        blockers=(),
        conditions=tuple(dataclasses.replace(one, message="") for one in status.conditions),
        history=(),
        scheduler_node=name(status.scheduler_node),
    )
    return RolloutView(view.name, name(view.uid), view.generation, spec, status, "hidden" if view.problem else "")
