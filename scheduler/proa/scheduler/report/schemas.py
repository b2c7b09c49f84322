"""The JSON Schemas of what ``proa-scheduler`` and ``kubectl proa`` print.

What is taken from an object of the cluster has that object's own names, in camel case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.core.artifact.schemas import Schema, flag, listing, mapping, nullable, number, record, report, seconds, text
from proa.core.orders.messages import Condition, NodeStatus, Order
from proa.core.schema.json_schema import json_schema
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Blocker, Counts, PastRollout, RolloutStatus


def _of(kind: type, what: str = "") -> Schema:
    """The schema of a part of an object."""
    return json_schema(kind) | ({"description": what} if what else {})


_TIME: Final = "(RFC 3339, UTC)"
_REASON: Final[Mapping[str, Schema]] = {
    "reason": text("Why, in a word (docs/reference/reasons.md)."),
    "text": text("The reason in a sentence."),
    "detail": text("What exactly; empty if there is no more to say."),
    "who": text("Who can change it; `-` if there is nothing to change."),
}
_COUNTS: Final = _of(Counts, "Nodes by what they are; what is 0 may be missing.")
_BLOCKERS: Final = listing("What keeps nodes from being drained.", _of(Blocker))
_NOTES: Final = listing("What is not known, and why; empty if all is.", text("A sentence."))

_ROLLOUT: Final = record(
    "A rollout.",
    name=text("Its name."),
    release=text("What is wanted, by digest."),
    phase=text("What it is doing; empty as long as no scheduler has looked."),
    observed=flag("Whether all that is told here is about the spec as it is now."),
    problem=text("Why its spec cannot be read; empty if it can."),
    paused=flag("Whether it is paused."),
    attempt=number("Which attempt is wanted."),
    progress=text("Nodes up to date, of all: `3/12`."),
    counts=_of(Counts, "Nodes by what they are."),
    wave=text("Whose turn it is; empty if nobody is under way."),
    halted=text("Why it was halted; empty if it was not."),
    next_window=text(f"When the next window opens {_TIME}; empty while one is open."),
    started_at=text(f"When it began {_TIME}; empty if it has not."),
    completed_at=text(f"When all were up to date {_TIME}; empty if they are not."),
    failed_digests=listing("Releases that failed too often.", text("A digest.")),
    blockers=_BLOCKERS,
    conditions=listing("Its conditions.", _of(Condition)),
    history=listing("Earlier targets, the last first.", _of(PastRollout)),
)

_ROLLOUTS: Final = report(
    "proa.rollouts/v1",
    "`kubectl proa status`.",
    rollouts=listing("The rollout that was asked for, or all.", _ROLLOUT),
    versions=mapping("How many nodes run what, by version.", number("Nodes.", 1)),
    nodes=listing(
        "Nodes, those with something to do first.",
        record(
            "A node.",
            name=text("Its name."),
            zone=text("Its zone; empty if it has none."),
            ready=flag("Whether it is Ready."),
            cordoned=flag("Whether it takes no pods."),
            rollouts=listing("Those that select it.", text("A name.")),
            reason=text("Why it does or does not move; empty if no rollout selects it."),
            detail=text("The same in a sentence."),
            order=nullable(_of(Order, "Its order; null if it has none.")),
            status=nullable(_of(NodeStatus, "What it says of itself; null if it has not said anything.")),
        ),
    ),
    notes=_NOTES,
)

_CHANGE: Final = report(
    "proa.rollout/v1",
    "`kubectl proa start`, `pause`, `resume` and `rollback`.",
    name=text("The rollout's name."),
    changed=flag("Whether anything was written."),
    said=text("What was done, or would be, without its subject."),
    notes=listing("What a person should know besides.", text("A sentence.")),
    request=nullable({"type": "object", "description": "The object, or the merge patch; null if nothing is to do."}),
    rollout=nullable(_ROLLOUT | {"description": "The rollout as it is then; null if there is none."}),
)

_PLAN: Final = report(
    "proa.plan/v1",
    "`proa-scheduler plan` and `kubectl proa plan`.",
    rollout=text("The rollout's name."),
    release=text("What is wanted, by digest."),
    at=text(f"Of which moment this is {_TIME}."),
    phase=text("What the rollout is doing."),
    counts=_COUNTS,
    halted=text("Why it was halted; empty if it was not."),
    next_window=text(f"When the next window opens {_TIME}; empty while one is open."),
    ends=nullable(text(f"When all are done, as estimated {_TIME}; null if no end is in sight.")),
    notes=_NOTES,
    waves=listing(
        "In order, as estimated.",
        record(
            "A wave.",
            name=text("`Canary`, `ControlPlane`, or a zone."),
            nodes=number("Nodes in it."),
            begins=text(f"When it begins {_TIME}."),
            ends=text(f"When it ends {_TIME}."),
        ),
    ),
    nodes=listing(
        "Those under way, those to come, those that are done, those that have no turn.",
        record(
            "A node.",
            position=number("Whose turn it is, from 1; 0 for one that has none."),
            name=text("Its name."),
            zone=text("Its zone; empty if it has none."),
            wave=text("Its wave."),
            starts=nullable(text(f"When it is cordoned, as estimated {_TIME}; null if it is not.")),
            ends=nullable(text(f"When it is uncordoned, as estimated {_TIME}; null if it is not.")),
            **_REASON,
        ),
    ),
)

_EXPLANATION: Final = report(
    "proa.explain/v1",
    "`proa-scheduler explain` and `kubectl proa explain`.",
    node=text("The node's name."),
    rollouts=listing("Those that select it; more than one is a conflict.", text("A name.")),
    release=text("What the rollout wants there; empty if none acts."),
    step=text("Where it stands, in a word; empty if no rollout counts it."),
    reason=nullable(record("Why it does or does not move; null if no rollout selects it.", **_REASON)),
    gates=listing(
        "All that holds it back, what counts first.",
        record(
            "A gate that is shut.",
            **_REASON,
            since=nullable(text(f"Since when {_TIME}; null where nobody has written that down.")),
        ),
    ),
    blockers=_BLOCKERS,
    drain_until=nullable(text(f"By when it must be drained {_TIME}; null if it is not being drained.")),
    next=listing("What would be done with it now.", text("An action.")),
    notes=_NOTES,
    order=nullable(_of(Order, "Its order; null if it has none.")),
    status=nullable(_of(NodeStatus, "What it says of itself; null if it has not said anything.")),
)

_SIMULATION: Final = report(
    "proa.simulation/v1",
    "`proa-scheduler simulate`.",
    nodes=number("Nodes of the cluster."),
    ended=flag("Whether all rollouts came to an end."),
    began_at=text(f"When it began, in virtual time {_TIME}."),
    ended_at=text(f"When it ended, in virtual time {_TIME}."),
    took_seconds=number("Virtual seconds from beginning to end."),
    nodes_per_hour=seconds("Nodes that were done in an hour of it."),
    done=number("Nodes that were done."),
    boots=number("Reboots."),
    most_away=number("Nodes that were away at once, at most."),
    passes=number("Passes of the planner."),
    seconds=seconds("How long it took to find out."),
    rollouts=listing(
        "How they ended.",
        record(
            "A rollout.",
            name=text("Its name."),
            phase=text("How it ended."),
            halted=text("Why it was halted; empty if it was not."),
            counts=_COUNTS,
        ),
    ),
    waves=listing(
        "In order.",
        record(
            "A wave.",
            name=text("`Canary`, `ControlPlane`, or a zone."),
            nodes=number("Nodes in it."),
            done=number("Those of them that were done."),
            began_at=text(f"When it began {_TIME}."),
            ended_at=text(f"When it ended {_TIME}."),
        ),
    ),
    troubles=listing(
        "What went wrong.",
        record(
            "A trouble.",
            at=text(f"When {_TIME}."),
            node=text("Where."),
            reason=text("What, in a word."),
            message=text("What, in a sentence."),
        ),
    ),
    left=listing("Nodes that are left cordoned, or not Ready.", text("A name.")),
)

_MANIFESTS: Final = report(
    "proa.manifests/v1",
    "`proa-scheduler manifests`: the same as the YAML.",
    items=listing(
        "Objects, in an order in which they can be applied.",
        {"type": "object", "description": "An object of Kubernetes.", "additionalProperties": True, "properties": {}},
    ),
)

_UNINSTALL: Final = report(
    "proa.uninstall/v1",
    "`proa-scheduler uninstall`.",
    dry_run=flag("Whether nothing was changed."),
    changes=listing(
        "In order.",
        record(
            "What was done to an object.",
            kind=text("Its kind."),
            name=text("Its name, with its namespace before it if it is in one."),
            did=text("What was done, or would be, in words for people."),
        ),
    ),
)

_SNAPSHOT: Final = report(
    "proa.snapshot/v1",
    "`proa-scheduler snapshot`: what the planner sees of a cluster; `plan`, `explain` and `simulate` read it.",
    at=text(f"When it was taken {_TIME}."),
    own_node=text("Where the scheduler runs; empty where that is not known."),
    rollouts=listing(
        "All rollouts.",
        record(
            "A rollout.",
            name=text("Its name."),
            uid=text("Its UID."),
            generation=number("Its generation."),
            spec=_of(RolloutSpec, "What is wanted."),
            status=_of(RolloutStatus, "What became of it so far."),
            problem=text("Why its spec cannot be read; empty if it can."),
        ),
    ),
    nodes=listing(
        "All nodes.",
        record(
            "A node.",
            name=text("Its name."),
            uid=text("Its UID."),
            labels=mapping("Its labels.", text("A value.")),
            ready=flag("Whether it is Ready."),
            ready_since=text(f"Since when it is or is not {_TIME}; empty where that is not known."),
            unschedulable=flag("Whether it is cordoned."),
            boot_id=text("The boot that its kubelet reports."),
            mark=text("Our mark on it, as it stands in the annotation; empty if it has none."),
            fence=number("Of the leader that set the mark; -1 if there is none.", -1),
            hold=nullable(text("Why a person holds it; null if nobody does.")),
            excluded=flag("Whether a person has excluded it."),
        ),
    ),
    nodeoses=listing(
        "The NodeOS of all nodes.",
        record(
            "A NodeOS.",
            name=text("Its name."),
            uid=text("Its UID."),
            owner=text("The UID of its node."),
            order=nullable(_of(Order, "Its order; null if it has none.")),
            status=nullable(_of(NodeStatus, "What the node says of itself; null if it has not said anything.")),
            record=text("What went wrong there, as it stands in the annotation; empty if nothing."),
            fence=number("The highest fence on it; -1 if there is none.", -1),
        ),
    ),
    hopeless=listing("What would keep nodes from being drained for ever.", _of(Blocker)),
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "proa.explain/v1": _EXPLANATION,
    "proa.manifests/v1": _MANIFESTS,
    "proa.plan/v1": _PLAN,
    "proa.rollout/v1": _CHANGE,
    "proa.rollouts/v1": _ROLLOUTS,
    "proa.simulation/v1": _SIMULATION,
    "proa.snapshot/v1": _SNAPSHOT,
    "proa.uninstall/v1": _UNINSTALL,
}
"""The schemas of this package, by name."""
