"""Whether a node has proved what is demanded of it before its release is committed, or its cordon taken away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from proa.core.orders.messages import Booted
from proa.core.runtime import duration
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.rollout_pass import RolloutPass
from proa.scheduler.planning.views import NodeView
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
    yield from unready(node, health, daemon_set, node.ready_since or now, now)
    if booted is not None and not booted.committed:
        yield from ((said, None) for said in _agent(progress))


def unready(
    node: NodeView, health: HealthPolicy, daemon_set: str | None, since: datetime, now: datetime
) -> Iterator[Missing]:
    """What is demanded of a node on trial, be it of a release or of settings.

    Args:
        node: The node.
        health: What is demanded.
        daemon_set: As for :func:`missing`.
        since: Since when it has been Ready with what it tries.
        now: The time.
    """
    if not node.ready:
        yield "the node is not Ready", None
    until = since + timedelta(seconds=health.ready_seconds)
    if health.ready_seconds and now < until:
        yield f"the node has been Ready for {max(0, int((now - since).total_seconds()))} s", until
    if health.daemon_sets and daemon_set is None:
        yield "the pods of DaemonSets have yet to be checked", None
    if health.daemon_sets and daemon_set:
        yield f"the pod of DaemonSet {daemon_set} is not ready", None


def first(rollout_pass: RolloutPass, lacks: Iterator[Missing]) -> str:
    """The first thing that is missing, empty if nothing is; where only time is, it is looked at again then."""
    said, until = next(lacks, NOTHING)
    if until:
        rollout_pass.wakes.append(until)
    return said


def blame_if_late(rollout_pass: RolloutPass, progress: NodeProgress, reason: str, what: str) -> None:
    """Count a node that takes longer than it may from its last order on: nothing holds a place for ever in silence."""
    limit = rollout_pass.spec.health.timeout
    if rollout_pass.is_late(progress, duration.parse(limit)):
        rollout_pass.fail(progress, reason, f"{what} (within {limit})", fault=True)


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
