"""The report of the proof: every node's turn in every rollout as bars, and all that the API server told of it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.schema.model import Part, field
from proa.core.schema.values import Count, Seconds
from proa.vm.support.report import Story, StoryReport

_COLOURS: Final = {
    "stage": "#3b6ea5",
    "drain": "#b7791f",
    "reboot": "#b42318",
    "ready": "#7a5195",
    "commit": "#1a7f37",
    "uncordon": "#6b7785",
}
"""By the part of a turn, in order."""


@dataclass(frozen=True)
class FailedProbe(Part):
    """A failure."""

    at: Seconds = field("Seconds since the boot of the nodes.")
    node: str = field("The node that was asked; empty if there was none.")
    why: str = field("What happened.")


@dataclass(frozen=True)
class Probes(Part):
    """What the service answered, from its first probe to the last."""

    answers: Count = field("Answers that arrived.")
    failures: Count = field("Answers that failed.")
    slowest: Seconds = field("The slowest answer.")
    by_node: Mapping[str, Count] = field("Answers. By node.")
    failed: tuple[FailedProbe, ...] = field("The first 1000 failures.")


@dataclass(frozen=True)
class NodeChange(Part):
    """A change."""

    at: Seconds = field("Seconds since the boot of the nodes.")
    what: str = field("The change, in one line.")


@dataclass(frozen=True)
class ProofReport(StoryReport, schema="proa.proof/v1"):
    """`build/proof/report.json` of `make proof`; `proa-vm cluster`, and `report.json` in its report folder.

    A step with a rollout says how long each part of every node's turn took (`turns`), what the service answered
    (`probes`), and how many bytes of releases and of pods' images each node fetched (`bytes_fetched`, `bytes_of_pods`).
    """

    nodes: Count = field("Number of nodes.")
    memory: Count = field("Memory of each node in MiB.")
    memory_of_kernel: Mapping[str, Count] = field("MiB that a node's kernel has. By node.")
    memory_used: Mapping[str, Count] = field("The most MiB that a node was seen to use. By node.")
    probes: Probes = field("What the service answered, from its first probe to the last.")
    timeline: Mapping[str, tuple[NodeChange, ...]] = field("Every change that the API server reported of each node.")


class ProofStory(Story):
    """A story whose rollouts are shown node by node."""

    def sections(self, more: Mapping[str, Any]) -> str:
        """See :meth:`proa.vm.support.report.Story.sections`."""
        told = [(step.name, step.details["turns"]) for step in self.steps if step.details.get("turns")]
        longest = max((sum(parts.values()) for _, turns in told for parts in turns.values()), default=1.0)
        legend = " ".join(f'<span style="color:{colour}">&#9632;</span> {part}' for part, colour in _COLOURS.items())
        rows = "".join(_rollout(name, turns, max(longest, 1.0)) for name, turns in told)
        failed = "".join(_failed(one) for one in more.get("probes", {}).get("failed", ()))
        missed = f"<h2>Failed answers</h2><table>{failed}</table>" if failed else ""
        nodes = "".join(_changes(name, changes) for name, changes in more.get("timeline", {}).items())
        return f"<h2>Nodes</h2><p>{legend}; seconds</p><table>{rows}</table>{missed}{nodes}"


def _rollout(name: str, turns: Mapping[str, Mapping[str, float]], longest: float) -> str:
    rows = [f'<tr><th colspan="2">{html.escape(name)}</th></tr>']
    for node, parts in turns.items():
        bars = "".join(_bar(part, parts[part], longest) for part in _COLOURS if part in parts)
        rows.append(
            f'<tr><td>{html.escape(node)}</td><td style="width:85%"><div style="display:flex">{bars}</div></td></tr>'
        )
    return "".join(rows)


def _bar(part: str, seconds: float, longest: float) -> str:
    style = f"background:{_COLOURS[part]};color:#fff;width:{100 * seconds / longest:.1f}%;overflow:hidden"
    return f'<div style="{style}" title="{part}: {seconds:g} s">{seconds:.0f}</div>'


def _failed(one: Mapping[str, Any]) -> str:
    return f"<tr><td>{one['at']:.1f}</td><td>{html.escape(one['node'])}</td><td>{html.escape(one['why'])}</td></tr>"


def _changes(name: str, changes: list[dict[str, Any]]) -> str:
    rows = "".join(f"<tr><td>{one['at']:.1f}</td><td>{html.escape(one['what'])}</td></tr>" for one in changes)
    return f"<details><summary>{html.escape(name)}: every change</summary><table>{rows}</table></details>"
