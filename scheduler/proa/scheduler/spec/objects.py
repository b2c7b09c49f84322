"""The custom resources ``OSRollout`` and ``NodeOS``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proa.core.orders.messages import NodeStatus, Order
from proa.core.schema.model import field
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import RolloutStatus

GROUP: Final = "proa.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True)
class Rollout:
    """The long-lived desired state of a group of nodes: a node that joins later follows it."""

    spec: RolloutSpec = field("The desired state.")
    status: RolloutStatus | None = field("The observed state.", default=None)


@dataclass(frozen=True)
class NodeOSSpec:
    """What the scheduler asks of the node."""

    VALIDATIONS = (
        {"rule": "!has(oldSelf.order) || has(self.order)", "message": "an order can be replaced, but not removed"},
    )

    order: Order | None = field("The order.", default=None)


@dataclass(frozen=True)
class NodeOS:
    """One node: the order to it, by the scheduler alone, and what it says of itself, by that node alone."""

    VALIDATIONS = (
        {"rule": "!has(oldSelf.status) || has(self.status)", "message": "the status cannot be removed once it is set"},
        {"rule": "!has(oldSelf.spec) || has(self.spec)", "message": "the spec cannot be removed once it is set"},
        {
            "rule": "!has(self.status) || !has(self.status.observedOrder) || self.status.observedOrder.id"
            " <= (has(self.spec) && has(self.spec.order) ? self.spec.order.id : 0)",
            "message": "observedOrder.id names an order that was never given",
        },
    )

    spec: NodeOSSpec = field("What the scheduler orders.", default=NodeOSSpec())
    status: NodeStatus | None = field("What the node reports.", default=None)
