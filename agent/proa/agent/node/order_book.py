"""The order that a node was given last: whether it is taken in, and what is kept of it in ``agent.json``. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.core.oci import reference
from proa.core.orders.messages import FIRST, Action, Order, OrderResult
from proa.core.runtime import duration
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import Part, field
from proa.core.schema.values import CodeName, Count, Time

MAX_NUMBER: Final = (1 << 63) - 1
"""The highest id and fence: what the API server can keep."""
MAX_JUMP: Final = 100_000
"""How far id and fence may rise at once, beyond the last ones and beyond the seconds since :data:`FIRST`: the scheduler
begins with the time, then counts one by one, and a node is away for some orders only. Without a bound one request could
use the numbers up, and the node would refuse every order for ever."""
_COUNT_AFTER: Final = 60.0
"""Seconds after which the time that an order has used up is written down again."""
_NO_CLOCK: Final = 10 * 366 * 86_400
"""The seconds since then for a node whose clock is not set."""
_LONG_AGO: Final = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Moment:
    """When and in which boot something was seen.

    Attributes:
        time: The wall clock (RFC 3339).
        boot_id: The kernel's identifier of the boot.
        uptime: Seconds since that boot began.
    """

    time: str
    boot_id: str
    uptime: int


@dataclass(frozen=True)
class TimeSpent(Part):
    """How much of its time an order had used up at a moment."""

    boot_id: str = field("In which boot that was.")
    uptime: Count = field("Seconds since that boot had begun.")
    seconds: Count = field("Seconds used up by then, in all boots.")


@dataclass(frozen=True)
class AcceptedOrder(Part):
    """An accepted order and its progress."""

    order: Order = field("The order.")
    seen: Time = field("When the node first saw it, by its clock; durations are counted otherwise.")
    boot_id: str = field("In which boot that was.")
    uptime: Count = field("Seconds since that boot had begun.")
    result: OrderResult = field("The result.", default=OrderResult.RUNNING)
    code: CodeName = field("The error's code; empty unless something went wrong.", default="")
    message: str = field("The error's text.", default="")
    begun: bool = field(
        "Whether something was changed for it: from then on it can only fail, no longer be refused.", default=False
    )
    slot: str = field("The slot that a rollback leads to, once it has begun.", default="", enum=["", "a", "b"])
    spent: TimeSpent | None = field(
        "The time that was last counted; none while it is counted from the first moment.", default=None, left_out=True
    )
    forgotten: bool = field(
        "Whether root let the node forget its numbers: it then accepts any other order, and does not start this one "
        "again.",
        default=False,
        left_out=True,
    )

    @property
    def running(self) -> bool:
        """Whether it has not come to its end."""
        return self.result is OrderResult.RUNNING

    @property
    def digest(self) -> str:
        """The release's manifest digest; empty for an order that has none."""
        return self.order.release.rpartition("@")[2]

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
        return duration.parse(self.order.timeout).total_seconds()

    def elapsed(self, boot_id: str, uptime: float) -> float:
        """Seconds for which the node has been up since it was first seen, as far as they were counted.

        The wall clock tells nothing: a machine without a battery begins anywhere, and is set by the network later.
        """
        last = self._last_count
        return last.seconds + max(0.0, uptime - (last.uptime if last.boot_id == boot_id else 0))

    def counted(self, boot_id: str, uptime: float) -> AcceptedOrder:
        """The same, with its time counted up to now where that has to be kept: in each boot, and now and then."""
        last = self._last_count
        if last.boot_id == boot_id and uptime - last.uptime < max(_COUNT_AFTER, self.limit / 20):
            return self
        spent = TimeSpent(boot_id, int(uptime), int(self.elapsed(boot_id, uptime)))
        return dataclasses.replace(self, spent=spent)

    @property
    def _last_count(self) -> TimeSpent:
        return self.spent or TimeSpent(self.boot_id, self.uptime, 0)

    def ended(self, result: OrderResult, code: str = "", message: str = "") -> AcceptedOrder:
        """The same, at its end. What was begun can only fail, no longer be refused."""
        if result is OrderResult.REFUSED and self.begun:
            result = OrderResult.FAILED
        return dataclasses.replace(self, result=result, code=code, message=message)


def take(last: AcceptedOrder | None, order: Order, moment: Moment) -> AcceptedOrder:
    """What is kept of an order that was just given. The last one again is the same object: nothing changes.

    Raises:
        ProaError: ``STALE_ORDER`` for a fence below the last one, an id that is not higher, and the last id with other
            content; ``CONFIG_VALUE`` or ``REFERENCE`` as :func:`check`, and for numbers that jump.
    """
    check(order)
    if last is not None and order == last.order:
        return last
    counted = last.order if last and not last.forgotten else None
    begins = _seconds(moment)
    _check_jump("id", order.id, counted.id if counted else 0, begins)
    _check_jump("fence", order.fence, counted.fence if counted else 0, begins)
    if last is not None and not last.forgotten:
        if order.fence < last.order.fence:
            what = f"the order has fence {order.fence}, but the node has seen {last.order.fence}"
            raise ProaError(Code.STALE_ORDER, what, at="fence")
        if order.id == last.order.id:
            raise ProaError(Code.STALE_ORDER, f"order {order.id} was given before, with different content", at="id")
        if order.id < last.order.id:
            raise ProaError(Code.STALE_ORDER, f"order {order.id} is older than order {last.order.id}", at="id")
    return AcceptedOrder(order, moment.time, moment.boot_id, moment.uptime)


def _seconds(moment: Moment) -> int:
    """Where numbers begin that are given out now for the first time."""
    passed = int((datetime.fromisoformat(moment.time) - FIRST).total_seconds())
    return passed if passed >= 0 else _NO_CLOCK


def _check_jump(name: str, number: int, before: int, begins: int) -> None:
    if number - max(before, begins) > MAX_JUMP:
        what = f"{name} rises from {before} to {number}, by more than {MAX_JUMP} at once"
        hint = "Check this node's clock, and who gives it orders; 'proa-agent orders forget' makes it accept any other."
        raise ProaError(Code.CONFIG_VALUE, what, at=name, hint=hint)


def unreadable(written: object) -> AcceptedOrder | None:
    """What stands for an order in the record that only a newer agent can read: its numbers still bar older ones.

    None where even those cannot be told.
    """
    order = written.get("order") if isinstance(written, Mapping) else None
    number, fence = (order.get("id"), order.get("fence")) if isinstance(order, Mapping) else (None, None)
    if type(number) is not int or type(fence) is not int:
        return None
    if not (1 <= number <= MAX_NUMBER and 0 <= fence <= MAX_NUMBER):
        return None
    told = "it was given to another version of the agent, and this one cannot read it"
    stand_in = Order(number, Action.NONE, fence)
    return AcceptedOrder(stand_in, _LONG_AGO, "", 0, OrderResult.FAILED, Code.CONFIG_VALUE.name, told)


def check(order: Order) -> None:
    """Check what holds between the fields of an order; each was checked by itself when it was read.

    Raises:
        ProaError: ``CONFIG_VALUE``, or ``REFERENCE`` for a release that can be none.
    """
    for name, number in (("id", order.id), ("fence", order.fence)):
        if number > MAX_NUMBER:
            raise ProaError(Code.CONFIG_VALUE, f"{name} is higher than {MAX_NUMBER}", at=name)
    duration.parse(order.timeout)
    if order.release and reference.parse(order.release).layout is not None:
        what = "an order names a release in a registry, not a folder of the node"
        raise ProaError(Code.REFERENCE, what, at=order.release)
    if not order.release and order.action in (Action.STAGE, Action.BOOT):
        what = f"{order.action.value} needs a release, written as HOST/NAME[:TAG]@sha256:..."
        raise ProaError(Code.CONFIG_VALUE, what, at="release")
    if order.action is Action.COMMIT and not (order.trial and order.trial.boot_id and order.trial.root_hash):
        what = "Commit needs a trial: the boot id and the root hash that were proved healthy"
        raise ProaError(Code.CONFIG_VALUE, what, at="trial")
