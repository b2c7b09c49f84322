"""The status that a NodeOS is to have: the agent's own words, and what the proxy has to add to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.core.orders.messages import MAX_CONDITIONS, Condition, NodeStatus
from proa.core.runtime.errors import ProaError
from proa.core.schema.model import document
from proa.scheduler.kube.stream import parts, whole

DELIVERED: Final = "Delivered"
"""Condition, there only when it is False: the agent does not take the order; reason and message are its own."""
ANSWERS: Final = "AgentAnswers"
"""Condition, there only when it is False: the agent has not been heard for a while, and all else is its last word."""
_OURS: Final = frozenset({DELIVERED, ANSWERS})
_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order that the agent did not take.

    Attributes:
        order: The order, as it stands in the object.
        code: The agent's code.
        message: In a sentence.
    """

    order: Mapping[str, Any]
    code: str
    message: str

    @classmethod
    def of(cls, order: Mapping[str, Any], error: ProaError) -> Refusal:
        """The refusal that an error is."""
        return cls(order, error.code.name, error.message)


def own_conditions(refusal: Refusal | None, silence: str) -> Iterator[Condition]:
    """What the proxy has to add.

    Args:
        refusal: The order that the agent does not take, if there is one.
        silence: Why the agent is not heard; empty if it is.
    """
    if refusal is not None:
        yield Condition(DELIVERED, "False", refusal.code, refusal.message[:_MESSAGE])
    if silence:
        yield Condition(ANSWERS, "False", "Unreachable", silence[:_MESSAGE])


def wanted(
    status: NodeStatus | None, there: Mapping[str, Any], order_id: int, own: Iterable[Condition], now: str
) -> dict[str, Any]:
    """The status as it is to be.

    ``observedOrder`` is never ahead of the object's order, nor behind what is there: the API server would refuse all
    of it. An object that was made anew is behind its node, and a node with a new disk is behind its object.

    Args:
        status: The agent's last word; without one, what is there stays.
        there: The status that is there.
        order_id: The id of the object's order; 0 if it has none.
        own: What the proxy adds.
        now: The time, for conditions that were not there before.
    """
    found = dict(there) if status is None else document(status)
    kept, seen = there.get("observedOrder"), found.get("observedOrder")
    if _id(seen) > order_id or _id(seen) < _id(kept):
        found.pop("observedOrder", None)
        if kept is not None:
            found["observedOrder"] = kept
    before = {_name(one): one for one in parts(there, "conditions")}
    theirs = [one for one in parts(found, "conditions") if _name(one) not in _OURS]
    ours = [_since(document(one), before, now) for one in own]
    conditions = [*theirs[: MAX_CONDITIONS - len(ours)], *ours]
    found.pop("conditions", None)
    return found | ({"conditions": conditions} if conditions else {})


def is_progress(patch: Mapping[str, Any]) -> bool:
    """Whether nothing has changed but how far something has come."""
    return patch.keys() == {"progress"}


def _since(condition: dict[str, Any], before: Mapping[str, Mapping[str, Any]], now: str) -> dict[str, Any]:
    old = before.get(_name(condition))
    same = old is not None and old.get("status") == condition.get("status")
    return condition | {"lastTransitionTime": (old or {}).get("lastTransitionTime") or now if same else now}


def _name(condition: Mapping[str, Any]) -> str:
    return str(condition.get("type", ""))


def _id(observed: object) -> int:
    return whole(observed.get("id")) if isinstance(observed, Mapping) else 0
