"""Whether a node has proved what is demanded of it before its release is committed, or its cordon taken away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from proa.core.orders.messages import Booted
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.spec.rollout import Health


@dataclass(frozen=True)
class Evidence:
    """What was seen.

    Attributes:
        missing: What has not been seen yet, in a sentence; empty if nothing is missing.
        until: When it can be there at the earliest, where only time is missing.
    """

    missing: str = ""
    until: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether all has been seen."""
        return not self.missing


def examine(progress: NodeProgress, health: Health, daemon_set: str | None, now: datetime) -> Evidence:
    """Look at all that is demanded, in the order in which it comes.

    Args:
        progress: The node, with our mark.
        health: What is demanded.
        daemon_set: Which DaemonSet's pod is not ready on the node; empty if all are, none if nobody has looked yet.
        now: The time.
    """
    booted = progress.booted
    missing = _boot(progress, booted)
    if missing:
        return Evidence(missing)
    node = progress.node
    if not node.ready:
        return Evidence("the node is not Ready")
    if health.ready_seconds:
        since = node.ready_since or now
        until = since + timedelta(seconds=health.ready_seconds)
        if now < until:
            return Evidence(f"the node has been Ready for {max(0, int((now - since).total_seconds()))} s", until)
    if health.daemon_sets and daemon_set != "":
        return Evidence(
            f"the pod of DaemonSet {daemon_set} is not ready"
            if daemon_set
            else ("the pods of DaemonSets have yet to be checked")
        )
    return _agent(progress)


def _boot(progress: NodeProgress, booted: Booted | None) -> str:
    """It is another boot than before, and the node's two witnesses, agent and kubelet, speak of the same one."""
    if booted is None:
        return "the agent has not reported what runs"
    if progress.mark is not None and booted.boot_id == progress.mark.boot_id:
        return "the node has not rebooted"
    if progress.mark is not None and progress.mark.root_hash not in ("", booted.root_hash):
        return "the running root hash differs from the staged one"
    if progress.node.boot_id != booted.boot_id:
        return "the kubelet still reports another boot"
    return ""


def _agent(progress: NodeProgress) -> Evidence:
    """A trial's own health checks; without the condition the agent has not got so far."""
    status = progress.status
    if status is None or status.booted is None or status.booted.committed:
        return Evidence()
    for condition in status.conditions:
        if condition.type == "Healthy":
            return Evidence() if condition.status == "True" else Evidence(f"health checks: {condition.message}")
    return Evidence("the agent has not reported its health checks")
