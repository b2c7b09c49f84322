"""A snapshot as a JSON document, and back: ``proa.snapshot/v1``, what ``simulate --from`` reads.

Names may be hashed, so that the shape of a cluster can be shown to others: nodes, zones, UIDs and boots have other
names then (equal ones have equal ones, in another order), registries none, and texts are gone. Rollouts, and labels
that they select by, keep theirs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from proa.core.orders.messages import Booted, Condition, LastError, NodeStatus, Order, Proof, Standby
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import json_value
from proa.core.schema.model import document, keys, parse
from proa.scheduler.kube.times import text
from proa.scheduler.objects.annotations import mark_text, read_mark, read_record, read_time, record_text
from proa.scheduler.planning.views import (
    QUORUM,
    ZONE,
    Mark,
    NodeOSView,
    NodeRecord,
    NodeView,
    RolloutView,
    Snapshot,
    alerts_of,
    digest_of,
)
from proa.scheduler.report.reports import SeenNode, SeenNodeOS, SeenRollout, SnapshotReport
from proa.scheduler.report.source import by_node, drains_of
from proa.scheduler.spec.rollout import Budget, HealthPolicy, RolloutSpec
from proa.scheduler.spec.rolloutstatus import Blocker, CanaryStatus, RolloutStatus, ZoneStatus

Kind = TypeVar("Kind")

SCHEMA: Final = SnapshotReport.SCHEMA
_HINT: Final = "Write a snapshot with 'proa-scheduler snapshot -o FILE'."


def write(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    """A snapshot as a document."""
    return document(
        SnapshotReport(
            at=text(now),
            own_node=snapshot.own_node,
            rollouts=tuple(_told(SeenRollout, view) for _, view in sorted(snapshot.rollouts.items())),
            nodes=tuple(_told(SeenNode, view) for _, view in sorted(snapshot.nodes.items())),
            nodeoses=tuple(_told(SeenNodeOS, view) for _, view in sorted(snapshot.oses.items())),
            hopeless=tuple(blocker for _, found in sorted(snapshot.undrainable.items()) for blocker in found),
        )
    )


def read(found: object, at: str = "") -> tuple[Snapshot, datetime]:
    """The snapshot that a document holds, and when it was taken.

    Args:
        found: The document.
        at: Where it is from, for the error.

    Raises:
        ProaError: ``CONFIG_VALUE`` for what is none.
    """
    try:
        told = parse(SnapshotReport, found)
    except ProaError as error:
        raise ProaError(Code.CONFIG_VALUE, f"not a snapshot, or not a whole one: {error}", at=at, hint=_HINT) from error
    now = read_time(told.at)
    if now is None:
        raise ProaError(Code.CONFIG_VALUE, "the snapshot is incomplete: at", at=at)
    rollouts = {one.name: _seen(RolloutView, one) for one in told.rollouts}
    nodes = {one.name: _seen(NodeView, one) for one in told.nodes}
    oses = {one.name: _seen(NodeOSView, one) for one in told.nodeoses}
    drains = drains_of(nodes, rollouts)
    alerts, undrainable = alerts_of(rollouts), by_node(told.hopeless)
    return Snapshot(nodes, oses, rollouts, drains, own_node=told.own_node, undrainable=undrainable, alerts=alerts), now


def load(path: Path) -> tuple[Snapshot, datetime]:
    """The snapshot in a file, and when it was taken.

    Raises:
        ProaError: ``FILE_MISSING``, ``CONFIG_VALUE`` for what is no snapshot.
    """
    try:
        found = json_value(path.read_bytes())
    except OSError as error:
        hint = "Name a file that 'proa-scheduler snapshot -o FILE' has written."
        what = f"the snapshot cannot be read: {error.strerror or error}"
        raise ProaError(Code.FILE_MISSING, what, at=path, hint=hint) from error
    except ValueError as error:
        raise ProaError(Code.CONFIG_VALUE, "not JSON", at=path, hint=_HINT) from error
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

    specs = [view.spec for view in snapshot.rollouts.values()]
    selectors = [spec.node_selector for spec in specs]
    selectors += [group.node_selector for spec in specs for group in spec.order.groups]
    selected = {key for one in selectors for key in (*one.match_labels, *(it.key for it in one.match_expressions))}
    nodes = {name(one.name): _hash_node(one, name, selected) for one in snapshot.nodes.values()}
    oses = {name(one.name): _hash(one, name) for one in snapshot.oses.values()}
    rollouts = {one.name: _hash(one, name) for one in snapshot.rollouts.values()}
    undrainable = {name(node): _hash(found, name) for node, found in snapshot.undrainable.items()}
    return Snapshot(nodes, oses, rollouts, own_node=name(snapshot.own_node), undrainable=undrainable)


# to JSON, and back


_TEXTS: Final[Mapping[str, tuple[Callable[[Any], str], Callable[[str], object]]]] = {
    "ready_since": (text, read_time),
    "created": (text, read_time),
    "mark": (mark_text, read_mark),
    "record": (record_text, read_record),
}
"""Fields that are texts in the document, empty where there is nothing: how they are written, and read."""


def _told(kind: type[Kind], view: object) -> Kind:
    """What the document holds of a view."""
    values = {key: getattr(view, key) for key in keys(kind)}
    texts = {key: write(values[key]) if values[key] else "" for key, (write, _) in _TEXTS.items() if key in values}
    made: Callable[..., Kind] = kind
    return made(**values | texts)


def _seen(kind: Callable[..., Kind], told: SeenNode | SeenNodeOS | SeenRollout) -> Kind:
    """The view that the document tells of."""
    values = {key: getattr(told, key) for key in keys(type(told))}
    read_ones = {key: read(values[key]) if values[key] else None for key, (_, read) in _TEXTS.items() if key in values}
    return kind(**values | read_ones)


# hashing

_Name = Callable[[str], str]
_Rule = Callable[[Any, _Name], Any]
_HIDDEN: Final = "registry.invalid/hidden"


def _hash(thing: Any, name: _Name) -> Any:
    """A thing, or several, with what their rules say."""
    if isinstance(thing, tuple):
        return tuple(_hash(one, name) for one in thing)
    values = {field: (getattr(thing, field), rule) for field, rule in _RULES[type(thing)].items()}
    return dataclasses.replace(thing, **{key: rule(value, name) for key, (value, rule) in values.items() if value})


def _named(value: Any, name: _Name) -> Any:
    return name(value) if isinstance(value, str) else tuple(map(name, value))


def _nothing(value: Any, _: _Name) -> Any:
    return type(value)()


def _hidden(_: object, __: _Name) -> str:
    return "hidden"


def _hash_release(said: str, _: _Name) -> str:
    return f"{_HIDDEN}@{digest_of(said)}"


_RULES: Final[Mapping[type, Mapping[str, _Rule]]] = {
    NodeView: {
        **dict.fromkeys(("name", "uid", "boot_id"), _named),
        **dict.fromkeys(("attached", "ready_said"), _nothing),
        "mark": _hash,
    },
    NodeOSView: {
        **dict.fromkeys(("name", "uid", "owner"), _named),
        **dict.fromkeys(("order", "status", "record"), _hash),
    },
    RolloutView: {
        "uid": _named,
        "spec": _hash,
        "status": _hash,
        "problem": _hidden,
        "version": _nothing,
        "approved": _hidden,
        "approved_groups": lambda found, _: dict.fromkeys(found, "hidden"),
    },
    Mark: {"boot_id": _named},
    NodeRecord: {"message": _nothing},
    Blocker: {**dict.fromkeys(("node", "pod", "budget", "volume"), _named), "reason": _hidden},
    Order: {"release": _hash_release, "trial": _hash},
    Proof: {"boot_id": _named},
    NodeStatus: dict.fromkeys(("booted", "standby", "last_error", "conditions"), _hash),
    Booted: {"boot_id": _named, "version": _nothing},
    Standby: {"version": _nothing},
    LastError: {"message": _nothing},
    Condition: {"message": _nothing},
    RolloutSpec: {"release": _hash_release, "budgets": _hash, "health": _hash},
    Budget: {"reason": _nothing},
    HealthPolicy: dict.fromkeys(("daemon_sets", "alerts"), _nothing),
    RolloutStatus: {
        **dict.fromkeys(("wave", "alerts", "blockers", "history"), _nothing),
        **dict.fromkeys(("canary", "zone", "conditions"), _hash),
        "release": _hash_release,
        "halted": _hidden,
        "scheduler_node": _named,
    },
    CanaryStatus: {"nodes": _named},
    ZoneStatus: {"name": _named},
}
"""By type: which fields another name, or nothing, stands for; all others stay as they are."""


def _hash_node(view: NodeView, name: _Name, selected: set[str]) -> NodeView:
    """Labels that a rollout selects by stay as they are; of the others only those that the planner knows are kept."""
    labels = {key: value for key, value in view.labels.items() if key in selected or key in QUORUM}
    if view.zone:
        labels.setdefault(ZONE, name(view.zone))
    hold = "hidden" if view.hold is not None else None
    found: NodeView = _hash(dataclasses.replace(view, labels=labels, hold=hold), name)
    return found
