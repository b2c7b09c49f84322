"""Carries out what the planner asks for, one action after the other, and says what became of each.

Every write names the object by its UID, carries the leader's fence as an annotation, and changes nothing when it comes
a second time. An admission policy compares that annotation with the lease. Where an object has none, as a Node after an
uncordon, it looks at the one that was there before: to take the fence away is a leader's right alone, too.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proa.core.orders.messages import Order
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import ProaError
from proa.core.schema.model import document, keys
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server
from proa.scheduler.kube.stream import Object, number_of, version_of
from proa.scheduler.kube.times import text
from proa.scheduler.objects.annotations import mark_text, record_text
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.views import FENCE, MARK, RECORD, NodeOSView, NodeView, RolloutView, Snapshot
from proa.scheduler.spec.crd import GROUP, NODE_OSES, NODES, OS_ROLLOUTS, VERSION
from proa.scheduler.spec.rolloutstatus import RolloutStatus

POLICY: Final = "proa-fence"
"""The ValidatingAdmissionPolicy that refuses the writes of a leader that is none any more."""
_FENCE_FALLS: Final = next(rule["message"] for rule in Order.VALIDATIONS if "oldSelf.fence" in rule["rule"])
_ID_IS_TAKEN: Final = next(rule["message"] for rule in Order.VALIDATIONS if "oldSelf.id" in rule["rule"])
_ORDER_KEYS: Final = keys(Order)


class Leadership(Protocol):
    """What is asked of :class:`proa.scheduler.kube.leader_elector.LeaderElector`."""

    @property
    def leading(self) -> bool:
        """Whether to act now."""
        ...

    @property
    def fence(self) -> int:
        """The fence of the term."""
        ...


class Outcome(enum.Enum):
    """What became of a write."""

    DONE = "done"
    """It is written, or was not needed."""
    STALE = "stale"
    """The object is another one by now, or has moved on: look again and plan again."""
    FENCED = "fenced"
    """Another one leads: resign."""
    AWAY = "away"
    """Nobody knows whether it was written; nothing can be, for a while: wait, then plan again."""
    REFUSED = "refused"
    """The cluster does not accept it, and will not the next time: tell people."""
    NOT_LEADING = "not-leading"
    """It was not sent: this is not the leader now."""


@dataclass(frozen=True)
class Written:
    """What became of a write.

    Attributes:
        outcome: In a word.
        version: The resource version of what was written: once the reflector of that collection has reached it, it
            shows. 0 where nothing was.
        error: Why it was not written.
    """

    outcome: Outcome
    version: int = 0
    error: ProaError | None = None


class _NotLeading(Exception):  # noqa: N818 -- it never leaves this module
    """It is not our turn."""


@dataclass(frozen=True)
class Writer:
    """Writes as the leader.

    Attributes:
        api: The API server.
        leader: Whether we lead, asked before each request.
        clock: For the time at which an order is given.
    """

    api: Server
    leader: Leadership
    clock: Clock = SYSTEM

    def carry_out(self, action: Action, snapshot: Snapshot) -> Written:
        """Carry out one action of a plan that was made from ``snapshot``."""
        node, os = snapshot.nodes.get(action.node), snapshot.oses.get(action.node)
        return self._tried(lambda: self._carry_out(action, node, os))

    def report(self, view: RolloutView, status: RolloutStatus) -> Written:
        """Write the status of a rollout, as far as it has changed, over the version that was planned from."""
        changes = difference(document(view.status), document(status))
        if not changes:
            return Written(Outcome.DONE)
        path = paths.named(OS_ROLLOUTS, view.name, "status")
        body = {"metadata": {"uid": view.uid, "resourceVersion": view.version}, "status": changes}

        def write() -> Written:
            self._fence()
            return _done(self.api.merge(path, body))

        return self._tried(write)

    # inside

    def _tried(self, write: Callable[[], Written]) -> Written:
        """What becomes of a write."""
        try:
            return write()
        except _NotLeading:
            return Written(Outcome.NOT_LEADING)
        except ProaError as error:
            return Written(outcome_of(error, str(self.leader.fence)), error=error)

    def _carry_out(self, action: Action, node: NodeView | None, os: NodeOSView | None) -> Written:
        match action:
            case Create() if node is not None:
                return self._create(node)
            case Forget():
                return self._forget(action)
            case Give() if os is not None:
                return self._give(action, os)
            case Cordon() if node is not None:
                return self._cordon(action, node)
            case Uncordon() if node is not None:
                return self._uncordon(node)
            case Note() if os is not None:
                return self._merge_os(os, {RECORD: record_text(action.record)})
            case _:
                return Written(Outcome.STALE)

    def _fence(self) -> str:
        """The fence for one request, which is sent at once.

        Raises:
            _NotLeading: When there is none.
        """
        fence = self.leader.fence
        if fence < 0 or not self.leader.leading:
            raise _NotLeading
        return str(fence)

    def _create(self, node: NodeView) -> Written:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid, "blockOwnerDeletion": False}
        metadata = {"name": node.name, "annotations": {FENCE: self._fence()}, "ownerReferences": [owner]}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": NODES.kind, "metadata": metadata, "spec": {}}
        return _done(self.api.create(NODE_OSES, body))

    def _forget(self, action: Forget) -> Written:
        self._fence()
        try:
            self.api.delete(paths.named(NODE_OSES, action.node), uid=action.uid, propagationPolicy="Background")
        except ApiError as error:
            if not (error.status == 404 and error.reason):
                raise
        return Written(Outcome.DONE)

    def _give(self, action: Give, os: NodeOSView) -> Written:
        fence = int(self._fence())
        order = action.order(fence, text(self.clock.now()))
        return self._merge_os(os, {}, {"order": {**dict.fromkeys(_ORDER_KEYS), **document(order)}})

    def _merge_os(self, os: NodeOSView, annotations: Mapping[str, str], spec: Object | None = None) -> Written:
        metadata = {"uid": os.uid, "annotations": {FENCE: self._fence(), **annotations}}
        body = {"metadata": metadata, **({"spec": spec} if spec else {})}
        return _done(self.api.merge(paths.named(NODE_OSES, os.name), body))

    def _cordon(self, action: Cordon, node: NodeView) -> Written:
        """Mark and cordon in one; the cordon is ours only where there was none before.

        By force: a manager that says the node is schedulable gives way. One that has cordoned it too still owns that.
        """
        annotations = {MARK: mark_text(action.mark), FENCE: self._fence()}
        return _done(self._apply(node, annotations, cordoned=action.mark.cordoned))

    def _uncordon(self, node: NodeView) -> Written:
        """Apply nothing: all that was ours goes away, in one. What others own as well stays.

        The mark of another leader takes a write before, which puts our fence there. That one leaves all else as it is:
        a scheduler that comes between the two must still find a node that is to be brought back.
        """
        fence = self._fence()
        if node.fence != int(fence):
            mark = {MARK: mark_text(node.mark)} if node.mark is not None else {}
            ours = node.mark is not None and node.mark.cordoned and node.unschedulable
            self._apply(node, {**mark, FENCE: fence}, cordoned=ours)
            self._fence()
        left = self._apply(node, {}, cordoned=False)
        if MARK in (left["metadata"].get("annotations") or {}):  # somebody else has applied it, too
            metadata = {"uid": node.uid, "annotations": {MARK: None, FENCE: self._fence()}}
            self.api.merge(paths.named(paths.NODES, node.name), {"metadata": metadata})
            metadata = {"uid": node.uid, "annotations": {FENCE: None}}
            left = self.api.merge(paths.named(paths.NODES, node.name), {"metadata": metadata})
        return _done(left)

    def _apply(self, node: NodeView, annotations: Mapping[str, str], *, cordoned: bool) -> Object:
        metadata = {"name": node.name, "uid": node.uid, **({"annotations": annotations} if annotations else {})}
        spec = {"spec": {"unschedulable": True}} if cordoned else {}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, **spec}
        return self.api.apply(paths.named(paths.NODES, node.name), body, force=True)


def outcome_of(error: ProaError, fence: str = "") -> Outcome:
    """What a failed write means for the one who planned it, with which fence; which rule refused is in the message."""
    if not isinstance(error, ApiError) or error.is_away or error.status == 401:
        return Outcome.AWAY
    messages = (error.message, *(cause.message for cause in error.causes))
    if error.status == 403:
        return Outcome.FENCED if any(_is_fenced(said, fence) for said in messages) else _NO
    if error.status == 422:
        if any(_FENCE_FALLS in said for said in messages):
            return Outcome.FENCED
        moved = any(_ID_IS_TAKEN in said for said in messages) or any(
            cause.field == "metadata.uid" for cause in error.causes
        )
        return Outcome.STALE if moved else _NO
    known = error.status == 409 or (error.status == 404 and error.reason != "")
    return Outcome.STALE if known else _NO


_NO: Final = Outcome.REFUSED
_OTHERS_FIELDS: Final = "the scheduler may change only the cordon and its own annotations of a Node"
"""What the policy says when a write comes with changes that are not ours: a webhook has added them on its way."""
_FENCES: Final = re.compile(r"the fence is (\S+), this write has (\S+)")


def _is_fenced(said: str, fence: str) -> bool:
    """Whether the policy says that another one leads: not that a webhook has changed our write on its way."""
    if f"ValidatingAdmissionPolicy '{POLICY}'" not in said or _OTHERS_FIELDS in said:
        return False
    told = _FENCES.search(said)
    return told is None or told[1] != fence


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes ``new`` of ``old``; empty if they are the same."""
    found: dict[str, Any] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if deeper := difference(before, value):
                found[key] = deeper
        elif value != before:
            found[key] = value
    return found


def _done(item: Object) -> Written:
    return Written(Outcome.DONE, number_of(version_of(item)))
