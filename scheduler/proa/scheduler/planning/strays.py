"""Nodes with the mark of a rollout that does not answer for them any more: it was deleted, or has let them go.

They are given back as soon as no order to reboot is out and no trial runs there: a trial that nobody commits goes back
by itself, and an order that a node does not take up is taken back. Until then they count as away, and no other rollout
touches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from proa.scheduler.planning.actions import Action, Uncordon, Verdict, recall
from proa.scheduler.planning.blame import SILENCE
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.standing import is_reboot_out, is_untaken
from proa.scheduler.planning.views import NodeOSView, NodeView, Snapshot
from proa.scheduler.spec.times import read


def find(marked: Iterable[tuple[NodeView, str]], answering: Callable[[str], tuple[str, ...]]) -> dict[str, Verdict]:
    """The nodes, each with what is said of it. A mark that cannot be read is nobody's, and waits for a person.

    Args:
        marked: Nodes with a mark, and the rollout that it names.
        answering: By the name of a node, the rollouts that answer for it.
    """
    return {
        node.name: Verdict(Reason.LetGo, f"rollout {rollout}")
        for node, rollout in marked
        if rollout and rollout not in answering(node.name)
    }


def give_back(snapshot: Snapshot, names: Iterable[str], now: datetime) -> tuple[list[Action], list[datetime]]:
    """What is to be written now, and when there is more to write although nothing has changed."""
    actions: list[Action] = []
    wakes = []
    for name in names:
        if name in snapshot.pending:
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
