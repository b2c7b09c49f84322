"""Nodes with the mark of a rollout that does not answer for them any more: it was deleted, or has let them go.

They are given back as soon as no order to reboot is out and no trial runs there: a trial that nobody commits goes back
by itself, and an order that a node does not take up is taken back. Until then they count as away, and no other rollout
touches them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Action, Uncordon, recall
from proa.scheduler.planning.ordered import is_reboot_out, is_untaken
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import SILENCE
from proa.scheduler.planning.views import NodeOSView, NodeView, Snapshot


def find(
    marked: Iterable[tuple[NodeView, str]], idle: Collection[str], answering: Callable[[str], tuple[str, ...]]
) -> dict[str, Verdict]:
    """The nodes, each with what is said of it; some wait for a person.

    Args:
        marked: Nodes with a mark, and the rollout that it names; empty for a mark that cannot be read.
        idle: Rollouts whose spec cannot be read: nobody knows what they answer for.
        answering: By the name of a node, the rollouts that answer for it.
    """
    found = {}
    for node, rollout in marked:
        if not rollout:
            found[node.name] = Verdict(Reason.ForeignMark, "it cannot be read")
        elif rollout in idle:
            found[node.name] = Verdict(Reason.ForeignMark, f"rollout {rollout} cannot be read")
        elif rollout not in answering(node.name):
            found[node.name] = Verdict(Reason.LetGo, f"rollout {rollout}")
    return found


def give_back(snapshot: Snapshot, found: Mapping[str, Verdict], now: datetime) -> tuple[list[Action], list[datetime]]:
    """What is to be written now, and when there is more to write although nothing has changed."""
    actions: list[Action] = []
    wakes = []
    for name, verdict in found.items():
        if name in snapshot.pending or verdict.reason is not Reason.LetGo:
            continue
        os = _own(snapshot.nodes[name], snapshot.oses.get(name))
        if os is not None and is_untaken(os):
            until = _patience(os, now)
            if now < until:
                wakes.append(until)
            else:
                actions.append(recall(os, now))
        elif os is None or _is_at_rest(os):
            actions.append(Uncordon(name, Reason.LetGo.name))
    return actions, wakes


def _own(node: NodeView, os: NodeOSView | None) -> NodeOSView | None:
    return os if os is not None and os.owner == node.uid else None


def _patience(os: NodeOSView, now: datetime) -> datetime:
    """Until when an order may be on its way to the node."""
    issued = read(os.order.issued) if os.order else None
    return issued + SILENCE if issued else now


def _is_at_rest(os: NodeOSView) -> bool:
    booted = os.status.booted if os.status else None
    return not is_reboot_out(os) and (booted is None or booted.committed)
