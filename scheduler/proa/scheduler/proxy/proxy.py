"""What the proxy does next: give the agent its order, write the node's status. One step after the other, no thread.

Nothing here is lost by a crash: what the agent and the object hold is compared anew, whatever was done before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from proa.core.orders.messages import Action, NodeStatus, Order
from proa.core.runtime.backoff import Backoff, jitter
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import parse
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server
from proa.scheduler.kube.stream import Object, number_of, part, version_of, whole
from proa.scheduler.kube.times import text
from proa.scheduler.objects.writing import difference
from proa.scheduler.proxy.follower import Told
from proa.scheduler.proxy.wording import Refusal, is_progress, own_conditions, wanted
from proa.scheduler.spec.crd import NODE_OSES

PROGRESS_SECONDS: Final = 10.0
"""Between two writes of nothing but progress, at least."""
SILENT_SECONDS: Final = 180.0
"""After how long without the agent that is told; an agent that restarts is back long before."""
BURST: Final = 8
"""Writes within :data:`BURST_SECONDS`, at most: a node that cannot make up its mind must not busy the API server."""
BURST_SECONDS: Final = 20.0
HURRY_SECONDS: Final = 5.0
"""Within so much time all proxies write what they could not write while the API server was away."""
_FINAL: Final = frozenset({Code.STALE_ORDER, Code.CONFIG_VALUE})
"""With these the agent says no to the order itself: it is not asked again until something else is as it was."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The node's NodeOS, as the API server has it.

    Attributes:
        uid: Another one is another object, although it has the same name.
        version: Its resource version; 0 if it is not a number.
        order: ``spec.order`` as it stands there; none if it was never given one.
        status: ``status`` as it stands there; empty if it has none.
    """

    uid: str
    version: int
    order: Mapping[str, Any] | None
    status: Mapping[str, Any]


def seen(item: Object, _: Seen | None = None) -> Seen:
    """What is kept of a NodeOS, whatever stands in it."""
    order = part(part(item, "spec"), "order")
    return Seen(str(item["metadata"].get("uid", "")), number_of(version_of(item)), order or None, part(item, "status"))


class Tell(Protocol):
    """Where news go: the log."""

    def __call__(self, message: str, **fields: object) -> None:
        """Tell one thing."""
        ...


_REBOOTS: Final = frozenset({Action.BOOT, Action.ROLLBACK})
"""Orders that must still stand when they are given: a node whose order was taken back may run pods again."""


@dataclass
class NodeProxy:
    """One node's.

    Attributes:
        node: Its name.
        seen: Gives its NodeOS; none as long as there is none.
        told: Gives what its agent has told.
        put: Gives the agent an order.
        api: The API server.
        tell: Where news go.
        clock: The clock.
        random: A number from 0 to 1, another one at every call.
    """

    node: str
    seen: Callable[[], Seen | None]
    told: Callable[[], Told]
    put: Callable[[Order], NodeStatus]
    api: Server
    tell: Tell
    clock: Clock = SYSTEM
    random: Callable[[], float] = jitter
    _refusal: Refusal | None = field(default=None, init=False)
    _settled: tuple[Mapping[str, Any], int] | None = field(default=None, init=False)
    """The order that was taken or refused for good, and by which connection."""
    _offer_due: float = field(default=0.0, init=False)
    _written: Seen | None = field(default=None, init=False)
    """The object as the last write of its status has left it."""
    _write_due: float = field(default=0.0, init=False)
    _uid: str = field(default="", init=False)
    _last_order: Mapping[str, Any] | None = field(default=None, init=False)
    _problem: str = field(default="", init=False)
    _may_hurry: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._offers = Backoff(0.5, 60.0, self.random)
        self._writes = Backoff(0.5, 30.0, self.random)
        self._recent: deque[float] = deque(maxlen=BURST)

    def hurry(self) -> None:
        """The API server answers again: what could not be written is tried soon, unless it asked to be left alone."""
        if self._may_hurry:
            self._write_due = min(self._write_due, self.clock.monotonic() + self.random() * HURRY_SECONDS)

    def step(self, *, ending: bool = False) -> float | None:
        """Do what is to be done; after how many seconds there is more, although there are no news.

        Args:
            ending: Whether there is no next step: what could wait is written now.

        Raises:
            ProaError: ``INTERNAL`` when nobody follows the object any more.
        """
        seen = self.seen()
        if seen is None:
            return None
        if seen.uid != self._uid:
            self._uid, self._write_due, self._offer_due, self._settled = seen.uid, 0.0, 0.0, None
        waits = [] if ending else [self._deliver(seen)]
        waits.append(self._report(seen, ending=ending))
        return min((wait for wait in waits if wait is not None), default=None)

    # orders

    def _deliver(self, seen: Seen) -> float | None:
        """Give the agent the order of the object, unless it has it."""
        told, said = self.told(), seen.order
        if said != self._last_order:
            self._last_order, self._offer_due = said, 0.0
            self._offers.reset()
        if self._refusal is not None and self._refusal.order != said:
            self._refusal = None
        if said is None or not told.answering or told.status is None:
            return None
        key = (said, told.connection)
        if key == self._settled:
            return None
        try:
            order = parse(Order, said, "spec.order")
        except ProaError as error:
            self._settle(key, error)
            return None
        if _has(told.status, order):
            self._settled, self._refusal = key, None
            return None
        wait = self._offer_due - self.clock.monotonic()
        return wait if wait > 0 else self._offer(order, key)

    def _offer(self, order: Order, key: tuple[Mapping[str, Any], int]) -> float | None:
        try:
            if order.action in _REBOOTS and not self._stands(key[0]):
                return self._later(order, ProaError(Code.STALE_ORDER, "another order has replaced it"))
        except ProaError as error:
            return self._later(order, error)
        try:
            self._put(order)
        except ProaError as error:
            if error.code in _FINAL:
                self._settle(key, error)
                return None
            if error.code is not Code.DEVICE:  # it is there, and says no
                self._refusal = Refusal.of(key[0], error)
            return self._later(order, error)
        self._settled, self._refusal = key, None
        self._offers.reset()
        self.tell("gave an order", order=order.id, action=order.action.value, fence=order.fence)
        return None

    def _put(self, order: Order) -> None:
        """Give it; without the limit of its rate where the agent is so old that it refuses to read of one."""
        try:
            self.put(order)
        except ProaError as error:
            if error.code is not Code.CONFIG_VALUE or not order.bytes_per_second:
                raise
            self.put(replace(order, bytes_per_second=0))

    def _stands(self, said: Mapping[str, Any]) -> bool:
        """Whether it is the order of the object still: what a watch shows that was cut may be old.

        Raises:
            ApiError: When that cannot be known now.
        """
        now = seen(self.api.get(paths.named(NODE_OSES, self.node)))
        return (now.uid, now.order) == (self._uid, said)

    def _later(self, order: Order, error: ProaError) -> float:
        """It could not be given; how long to wait before it is tried again."""
        pause = self._offers.next(error.retry_after if isinstance(error, ApiError) else None)
        self.tell("could not give an order", order=order.id, code=error.code.name, why=error.message)
        self._offer_due = self.clock.monotonic() + pause
        return pause

    def _settle(self, key: tuple[Mapping[str, Any], int], error: ProaError) -> None:
        """The agent will not take this one."""
        refusal = Refusal.of(key[0], error)
        if refusal != self._refusal:
            self.tell("the agent refuses an order", order=key[0].get("id"), code=refusal.code, why=refusal.message)
        self._settled, self._refusal = key, refusal

    # status

    def _report(self, seen: Seen, *, ending: bool) -> float | None:
        """Write the status, if it is another one than is there."""
        there = self._there(seen)
        told, now = self.told(), self.clock.monotonic()
        silent = told.since + SILENT_SECONDS - now if not told.answering else None
        if told.status is None and (silent is None or silent > 0):
            return silent
        silence = told.problem or "it is silent" if silent is not None and silent <= 0 else ""
        own = own_conditions(self._refusal, silence)
        order_id = whole((seen.order or {}).get("id"))
        status = wanted(told.status, there, order_id, own, text(self.clock.now()))
        patch = difference(there, status)
        later = silent if silent is not None and silent > 0 else None
        if not patch:
            return later
        wait = 0.0 if ending else self._wait(patch, now)
        if wait <= 0 and self._write_due <= now:
            wait = self._write(seen, patch, status)
        wait = max(wait, self._write_due - self.clock.monotonic())
        return min((one for one in (wait, later) if one is not None and one > 0), default=None)

    def _there(self, seen: Seen) -> Mapping[str, Any]:
        """The status that is there: as it was seen, or as we have left it where that is not seen yet."""
        written = self._written
        if written is not None and written.uid == seen.uid and written.version > seen.version:
            return written.status
        return seen.status

    def _wait(self, patch: Mapping[str, Any], now: float) -> float:
        """How long to wait before this is written."""
        last = self._recent[-1] if self._recent else now - PROGRESS_SECONDS
        wait = last + PROGRESS_SECONDS - now if is_progress(patch) and patch["progress"] else 0.0
        full = len(self._recent) == BURST
        return max(wait, self._recent[0] + BURST_SECONDS - now) if full else wait

    def _write(self, seen: Seen, patch: Mapping[str, Any], status: Mapping[str, Any]) -> float:
        """Write it; how long to wait if that did not work."""
        body = {"metadata": {"uid": seen.uid}, "status": patch}
        try:
            answer = self.api.merge(paths.named(NODE_OSES, self.node, "status"), body)
        except ProaError as error:
            after = error.retry_after if isinstance(error, ApiError) else None
            pause = self._writes.next(after)
            self._may_hurry = after is None
            self._write_due = self.clock.monotonic() + pause
            if error.message != self._problem:
                self._problem = error.message
                self.tell("could not write the status", code=error.code.name, why=error.message)
            return pause
        self._written = replace(seen, version=number_of(version_of(answer)), status=status)
        self._recent.append(self.clock.monotonic())
        self._writes.reset()
        self._problem, self._write_due = "", 0.0
        self.tell("wrote the status", phase=status.get("phase", ""), changed=",".join(patch))
        return 0.0


def _has(status: NodeStatus, order: Order) -> bool:
    """Whether the agent has seen this very order."""
    observed = status.observed_order
    return observed is not None and (observed.id, observed.action) == (order.id, order.action.value)
