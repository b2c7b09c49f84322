"""What the planner asks for: typed, each written by one request, each safe to be asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Order, Proof
from proa.scheduler.planning.views import Mark, NodeOSView, NodeRecord

RECALL_TIMEOUT: Final = "5m"


@dataclass(frozen=True, slots=True)
class Create:
    """Make the NodeOS of a node that has none, owned by it."""

    node: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the NodeOS of a node that is gone, although another one has its name."""

    node: str
    uid: str


@dataclass(frozen=True, slots=True)
class Give:
    """Give a node an order.

    Attributes:
        id: Its id: one more than that of the order before, so that it is given once.
        release: The full reference; for a rollback that of the release to leave.
        proof: For a commit: which trial.
        timeout: How long the node has, as a duration.
        downgrade: Whether a release older than what the node has committed is meant.
        rate: Bytes a second that the node may fetch at; 0 for no limit.
        settings: What to configure, or what a trial gets along with its release, as JSON.
        settings_hash: Which settings to commit or to revert.
    """

    node: str
    id: int
    verb: Verb
    release: str = ""
    proof: Proof | None = None
    timeout: str = "15m"
    downgrade: bool = False
    rate: int = 0
    settings: str = ""
    settings_hash: str = ""

    def order(self, fence: int, issued: str) -> Order:
        """The order that it gives, as a leader of a fence issues it."""
        return Order(
            self.id,
            self.verb,
            fence,
            self.release,
            self.timeout,
            self.proof,
            issued,
            self.downgrade,
            self.rate,
            self.settings,
            self.settings_hash,
        )


@dataclass(frozen=True, slots=True)
class Cordon:
    """Cordon a node and set our mark, in one write; the cordon of a person stays one.

    Attributes:
        again: Whether it was under way, and has been registered anew meanwhile.
    """

    node: str
    mark: Mark
    again: bool = False


@dataclass(frozen=True, slots=True)
class Uncordon:
    """Take our mark and our cordon away, in one write."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Write down what went wrong on a node; the record says why."""

    node: str
    record: NodeRecord


Action = Create | Forget | Give | Cordon | Uncordon | Note


def recall(os: NodeOSView, now: datetime) -> Give:
    """Take the order of an object back: the one for nothing takes its place."""
    return Give(os.name, os.next_id(now), Verb.NONE, timeout=RECALL_TIMEOUT)
