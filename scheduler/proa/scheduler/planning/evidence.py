"""Whether a node has proved what is demanded of it before its release is committed, or its cordon taken away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from proa.core.orders.messages import Booted
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.spec.rollout import HealthPolicy

Missing = tuple[str, datetime | None]
"""What has not been seen yet, in a sentence, and when it can be there at the earliest, where only time is missing."""
NOTHING: Missing = ("", None)


def missing(progress: NodeProgress, health: HealthPolicy, daemon_set: str | None, now: datetime) -> Iterator[Missing]:
    """Look at all that is demanded, in the order in which it comes.

    Args:
        progress: The node, with our mark.
        health: What is demanded.
        daemon_set: Which DaemonSet's pod is not ready on the node; empty if all are, none if nobody has looked yet.
        now: The time.
    """
    node, booted = progress.node, progress.booted
    yield from ((said, None) for said in _boot(progress, booted))
    if not node.ready:
        yield "the node is not Ready", None
    since = node.ready_since or now
    until = since + timedelta(seconds=health.ready_seconds)
    if health.ready_seconds and now < until:
        yield f"the node has been Ready for {max(0, int((now - since).total_seconds()))} s", until
    if health.daemon_sets and daemon_set is None:
        yield "the pods of DaemonSets have yet to be checked", None
    if health.daemon_sets and daemon_set:
        yield f"the pod of DaemonSet {daemon_set} is not ready", None
    if booted is not None and not booted.committed:
        yield from ((said, None) for said in _agent(progress))


def _boot(progress: NodeProgress, booted: Booted | None) -> Iterator[str]:
    """It is another boot than before, and the node's two witnesses, agent and kubelet, speak of the same one."""
    if booted is None:
        yield "the agent has not reported what runs"
        return
    if progress.mark is not None and booted.boot_id == progress.mark.boot_id:
        yield "the node has not rebooted"
    if progress.mark is not None and progress.mark.root_hash not in ("", booted.root_hash):
        yield "the running root hash differs from the staged one"
    if progress.node.boot_id != booted.boot_id:
        yield "the kubelet still reports another boot"


def _agent(progress: NodeProgress) -> Iterator[str]:
    """A trial's own health checks; without the condition the agent has not got so far."""
    found = progress.status.conditions if progress.status else ()
    healthy = next((one for one in found if one.type == "Healthy"), None)
    if healthy is None:
        yield "the agent has not reported its health checks"
    elif healthy.status != "True":
        yield f"health checks: {healthy.message}"
