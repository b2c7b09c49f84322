"""What ``kubectl proa settings`` shows: what nodes are set to, what their rollouts want, and where the two differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import SettingsState
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import Part, Report, field
from proa.core.settings.document import EMPTY, Document, parse
from proa.scheduler.planning.settings_aim import SettingsAim, settings_aim
from proa.scheduler.planning.views import NodeView, RolloutView, Snapshot
from proa.scheduler.report.explain import selecting
from proa.scheduler.report.rendering import MOST, table

_HASH: Final = 12
"""Characters of a hash that people look at."""


@dataclass(frozen=True)
class SettingsDifference(Part):
    """A setting that a node is to have and has not, or the other way round."""

    key: str = field("Which, as MODEL.KEY.")
    present: str = field("What it is, as JSON; empty if it is the release's own.")
    wanted: str = field("What it is to be, as JSON; empty if it is to become the release's own.")


@dataclass(frozen=True)
class NodeSettings(Part):
    """The settings of a node."""

    node: str = field("The node.")
    rollout: str = field("The rollout that sets it; empty if none does.")
    state: str = field("`Set`, `Differs`, `Trial`, `Failed`, `Drifted`, `Unmanaged` or `Unknown`.")
    hash: str = field("The hash of what is committed; empty if the node does not report it.")
    wanted: str = field("The hash of what the rollout wants; empty if it wants nothing.")
    generation: int = field("The generation in effect; 0 is the release's own.")
    message: str = field("Why the last settings were reverted.")
    drift: tuple[str, ...] = field("Settings that are no longer in effect.")
    refused: tuple[str, ...] = field("Committed settings that the running release does not allow.")
    difference: tuple[SettingsDifference, ...] | None = field(
        "Where the two differ; null if the document that the node has is not known here."
    )


@dataclass(frozen=True)
class NodesSettings(Report, schema="proa.nodes-settings/v1"):
    """`kubectl proa settings`: what nodes are set to."""

    nodes: tuple[NodeSettings, ...] = field("The nodes, those first on which something is to be seen to.")
    notes: tuple[str, ...] = field("What is not known.")


def settings_report(snapshot: Snapshot, name: str, notes: Sequence[str] = ()) -> NodesSettings:
    """The settings of a node, or of the nodes of a rollout.

    Args:
        snapshot: What is known.
        name: The name of a rollout or of a node; the rollout counts where both are called so.
        notes: What is not known.

    Raises:
        ProaError: ``CLUSTER_MISSING`` if there is neither.
    """
    rollout, node = snapshot.rollouts.get(name), snapshot.nodes.get(name)
    if rollout is None and node is None:
        raise ProaError(Code.CLUSTER_MISSING, f"there is no rollout and no node {name!r}")
    if rollout is not None:
        nodes = [one for _, one in sorted(snapshot.nodes.items()) if name in selecting(snapshot, one)]
    else:
        nodes = [node] if node is not None else []
    found = [_node(snapshot, one, rollout) for one in nodes]
    return NodesSettings(tuple(sorted(found, key=lambda one: _RANK[one.state])), tuple(notes))


_RANK: Final = {
    state: number
    for number, state in enumerate(("Failed", "Drifted", "Trial", "Differs", "Unknown", "Unmanaged", "Set"))
}


def _node(snapshot: Snapshot, node: NodeView, rollout: RolloutView | None) -> NodeSettings:
    if rollout is None:
        names = selecting(snapshot, node)
        rollout = snapshot.rollouts[names[0]] if len(names) == 1 else None
    os = snapshot.oses.get(node.name)
    told = os.status.settings if os is not None and os.status is not None else None
    aim = settings_aim(rollout.spec, rollout.status) if rollout is not None else None
    return NodeSettings(
        node=node.name,
        rollout=rollout.name if rollout is not None else "",
        state=_state(told, aim),
        hash=told.hash if told else "",
        wanted=aim.hash if aim else "",
        generation=told.generation if told else 0,
        message=told.message if told else "",
        drift=told.drift if told else (),
        refused=told.refused if told else (),
        difference=_difference(told, aim, rollout.status.settings_before if rollout is not None else ""),
    )


def _state(told: SettingsState | None, aim: SettingsAim | None) -> str:
    if told is None:
        return "Unknown"
    if told.trial_hash:
        return "Trial"
    if aim is not None and told.failed_hash == aim.hash and told.hash != aim.hash:
        return "Failed"
    if told.drift:
        return "Drifted"
    if aim is None:
        return "Unmanaged"
    return "Set" if told.hash == aim.hash else "Differs"


def _difference(
    told: SettingsState | None, aim: SettingsAim | None, before: str
) -> tuple[SettingsDifference, ...] | None:
    if told is None or aim is None:
        return None if told is None else ()
    wanted = parse(aim.text)
    known = {one.digest: one for one in (EMPTY, wanted, *([parse(before)] if before else []))}
    present = known.get(told.hash)
    return tuple(_differences(present, wanted)) if present is not None else None


def _differences(present: Document, wanted: Document) -> Iterator[SettingsDifference]:
    old, new = _flat(present), _flat(wanted)
    for key in sorted({*old, *new}):
        if old.get(key, "") != new.get(key, ""):
            yield SettingsDifference(key, old.get(key, ""), new.get(key, ""))


def _flat(document: Document) -> Mapping[str, str]:
    def shown(value: Any) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)

    return {f"{model}.{key}": shown(one) for model, part in document.models.items() for key, one in part.items()}


# text


def settings_lines(found: NodesSettings, *, diff: bool, most: int = MOST) -> Iterator[str]:
    """The whole for people.

    Args:
        found: It.
        diff: Whether to show where the settings differ.
        most: How many nodes are shown at most; 0 for all.
    """
    rows = [
        {
            "NODE": one.node,
            "SETTINGS": one.state,
            "HAS": one.hash[:_HASH] or "-",
            "WANTED": one.wanted[:_HASH] or "-",
            "ROLLOUT": one.rollout or "-",
            "REASON": "; ".join((*one.drift, *one.refused)) or (one.message if one.state == "Failed" else ""),
        }
        for one in found.nodes
    ]
    yield from table(rows, most)
    for one in found.nodes[: most or None] if diff else ():
        yield from _diff_lines(one)


def _diff_lines(one: NodeSettings) -> Iterator[str]:
    if one.difference is None:
        yield f"{one.node}: what it has is known there only: run 'proa-agent settings show' on it"
        return
    for each in one.difference:
        yield f"{one.node}: {each.key}: {each.present or '(the release)'} -> {each.wanted or '(the release)'}"
