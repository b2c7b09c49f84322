"""Nodes with the mark of a rollout that does not answer for them any more: it was deleted, or has let them go.

They are given back as soon as no order to reboot is out and no trial runs there; a trial that nobody commits goes back
by itself. Until then they count as away, and no other rollout touches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from proa.scheduler.planning.actions import Uncordon, Verdict
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.standing import is_reboot_out
from proa.scheduler.planning.views import NodeOSView, NodeView, Snapshot


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


def give_back(snapshot: Snapshot, names: Iterable[str]) -> Iterator[Uncordon]:
    """What is to be written now."""
    for name in names:
        if name not in snapshot.pending and _is_at_rest(snapshot.nodes[name], snapshot.oses.get(name)):
            yield Uncordon(name, Reason.LetGo.name)


def _is_at_rest(node: NodeView, os: NodeOSView | None) -> bool:
    if os is None or os.owner != node.uid:
        return True
    booted = os.status.booted if os.status else None
    return not is_reboot_out(os) and (booted is None or booted.committed)
