"""The order worker: takes the cluster's orders in, and sees each to its end, step by step, whatever comes between."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.agent.api.jobs import Job
from proa.agent.install.order import InstallOrder
from proa.agent.node.bookkeeping import amend
from proa.agent.node.boot import boot_id
from proa.agent.node.order_book import AcceptedOrder, Moment, take
from proa.agent.node.record import AgentRecord
from proa.agent.node.refused_order import RefusedOrder, save_refused
from proa.agent.node.reports import Installed
from proa.agent.node.settings import registry_settings
from proa.agent.node.view import Context, View, look
from proa.agent.orders.execution import STEPS, begun_staging
from proa.agent.orders.plan import End, OrderStep, SettingsHashes, Situation, Staging, next_step, situation
from proa.agent.orders.status_feed import StatusFeed
from proa.agent.trial import change
from proa.core.orders.messages import Order, OrderResult
from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.schema.model import parse

RETRY: Final = 5.0
"""Seconds before what could not be begun is tried again, as when another process holds the lock."""
IDLE: Final = 60.0
"""Seconds before an order that waits is looked at without a reason, and a reboot that did not come is ordered again."""
_AGAIN: Final = (Code.BUSY, Code.CANCELLED, Code.INTERRUPTED)
"""Errors of a step that say nothing about the order."""
_OVERTAKEN: Final = (Code.NO_TRIAL, Code.STALE_ORDER)
"""Errors of a step that was overtaken: another look tells what comes next."""
Install = Callable[[Context, InstallOrder, Callable[[], None]], Installed]


def install_release(context: Context, order: InstallOrder, begins: Callable[[], None]) -> Installed:
    """The install itself; what it needs is imported once it is asked for."""
    from proa.agent.install.install import install

    return install(context, order, begins=begins)


@dataclass
class OrderWorker:
    """The order worker of one node.

    Attributes:
        feed: Where the node's state is told; its signal says that it is to be looked at again.
        settled: Whether this boot was settled.
        install: How a release is installed.
    """

    feed: StatusFeed
    settled: Callable[[], bool] = lambda: True
    install: Install = install_release

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._staging: Staging | None = None
        self._job: Job | None = None
        self._latest: tuple[int, OrderStep] | None = None
        self._said = ""
        self._not_before = dict.fromkeys(OrderStep, 0.0)

    @property
    def context(self) -> Context:
        """The daemon's."""
        return self.feed.context

    # taking in

    def put(self, body: Mapping[str, Any]) -> None:
        """Accept an order; the same one again changes nothing.

        Raises:
            ProaError: ``CONFIG_VALUE`` or ``REFERENCE`` for one that is none, ``STALE_ORDER``; ``DEVICE`` or
                ``DISK_FULL`` when it cannot be kept.
        """
        context = self.context
        try:
            self._take(parse(Order, body, strict=True))
        except ProaError as error:
            save_refused(context.paths, RefusedOrder(context.time(), error.code.name, error.message))
            raise
        save_refused(context.paths, None)
        self.feed.changed.notify()

    def _take(self, order: Order) -> None:
        context = self.context
        moment = Moment(context.time(), boot_id(context.paths), int(context.clock.monotonic()))

        def note(record: AgentRecord) -> AgentRecord:
            accepted = take(record.order, order, moment)
            if accepted is record.order:
                return record
            self._forget_staging()
            return dataclasses.replace(record, order=accepted)

        with self._lock:
            amend(context, note)

    def _forget_staging(self) -> None:
        """What became of an install that an earlier order asked for says nothing about a new one; the lock is held."""
        if self._staging and self._staging.over:
            self._staging = None

    # carrying out

    def run(self) -> None:
        """Carry every order to its end until the signal is closed. Failures are reported and retried."""
        changed, cancel = self.feed.changed, self.context.cancel
        while not changed.closed and not cancel.asked:
            known = changed.count
            try:
                pause = self.step()
            except Exception as error:  # noqa: BLE001 -- a defect in one order must not end the daemon
                failure = told(error)
                self._tell(f"{failure.code.name}: {failure.message}")
            else:
                self._said = ""
                changed.wait(known, pause)
                continue
            cancel.wait(RETRY)  # not for the signal, which comes with what was told

    def _tell(self, what: str) -> None:
        """Tell what went wrong, once for as long as it is the same."""
        if what != self._said:
            self._said = what
            self.context.monitor.emit(Note(what, "warning"))

    def step(self) -> float | None:
        """Do what comes next for the order at hand; seconds until it is to be looked at again, none for not at all.

        Raises:
            ProaError: When the node cannot be looked at, or what became of the order cannot be kept.
        """
        view = look(self.context)
        accepted = view.record.order
        if accepted is None or not accepted.running:
            return None
        accepted = self._count(accepted, view.boot_id)
        left = accepted.limit - accepted.elapsed(view.boot_id, self._uptime)
        step = next_step(accepted, self._situation(view, late=left <= 0))
        if isinstance(step, End):
            self._end(accepted, step)
            return None
        pause = self._try(accepted, view, step)
        return pause if left <= 0 else min(pause, left)

    def _count(self, accepted: AcceptedOrder, boot: str) -> AcceptedOrder:
        """Write down how much of its time an order has used up, so that it holds over boots.

        That it cannot be written must not keep an order from its end.
        """
        counted = accepted.counted(boot, self._uptime)
        if counted is not accepted:
            try:
                self._amend(accepted.order.id, lambda now: now.counted(boot, self._uptime))
            except ProaError as error:
                self._tell(f"the time of the order cannot be recorded: {error.message}")
        return counted

    def _situation(self, view: View, *, late: bool) -> Situation:
        health = self.feed.health()
        healthy = health is not None and health.healthy
        found, told = situation(view), self.feed.settings()
        settings = SettingsHashes(told.hash, told.trial_hash, told.failed_hash, told.message)
        return dataclasses.replace(
            found, settled=self.settled(), healthy=healthy, staging=self._staging, late=late, settings=settings
        )

    def _try(self, accepted: AcceptedOrder, view: View, todo: OrderStep) -> float:
        """Do something; seconds until the next look."""
        try:
            return self._do(accepted, view, todo)
        except ProaError as error:
            if todo is OrderStep.REBOOT:
                raise
            if error.code in _OVERTAKEN:
                return self._look_again(accepted, todo)
            if error.code not in _AGAIN:
                self._end(accepted, End(OrderResult.REFUSED, error.code, error.message))
            return RETRY

    def _do(self, accepted: AcceptedOrder, view: View, todo: OrderStep) -> float:
        if self._uptime < self._not_before[todo]:
            return self._not_before[todo] - self._uptime
        match todo:
            case OrderStep.WAIT:
                pass
            case OrderStep.STOP | OrderStep.TIME_OUT:
                self._stop(Code.TIMEOUT if todo is OrderStep.TIME_OUT else Code.CANCELLED)
            case OrderStep.STAGE:
                if self._staging and self._staging.digest == accepted.digest:  # it found the lock held
                    self._staging = None
                    self._not_before[todo] = self._uptime + RETRY
                    return RETRY
                self._begin_staging(accepted)
            case OrderStep.REBOOT:
                change.reboot()
                self._not_before[todo] = self._uptime + IDLE
            case _:
                STEPS[todo](self.context, accepted, view)
                return self._look_again(accepted, todo)
        return IDLE

    def _look_again(self, accepted: AcceptedOrder, todo: OrderStep) -> float:
        """At once, unless that was so for the same reason before: nothing may turn round and round."""
        before, self._latest = self._latest, (accepted.order.id, todo)
        return RETRY if before == self._latest else 0.0

    def _end(self, accepted: AcceptedOrder, end: End) -> None:
        """Write down what became of an order, if it is still the one at hand."""
        code, message = end.code.name if end.code else "", end.message
        kept = self._amend(accepted.order.id, lambda now: now.ended(end.result, code, message))
        with self._lock:
            self._forget_staging()
        if kept is not None and kept.order.id == accepted.order.id:
            what = f"order {accepted.order.id}, {accepted.order.action.value}: {kept.result.value}"
            bad = f": {code}: {message}" if code else ""
            self.context.monitor.emit(Note(what + bad, "warning" if bad else "info"))

    def _amend(self, number: int, change: Callable[[AcceptedOrder], AcceptedOrder]) -> AcceptedOrder | None:
        """Change what is kept of an order, if it is still the one at hand and has not ended; what is kept then."""

        def note(record: AgentRecord) -> AgentRecord:
            now = record.order
            if now is None or now.order.id != number or not now.running:
                return record
            return dataclasses.replace(record, order=change(now))

        with self._lock:
            return amend(self.context, note).order

    @property
    def _uptime(self) -> float:
        return self.context.clock.monotonic()

    # staging

    def _begin_staging(self, accepted: AcceptedOrder) -> None:
        """Start the install as a job.

        Raises:
            ProaError: ``BUSY`` while another job is under way.
        """
        with self._lock:
            self._staging = Staging(accepted.digest)
            try:
                self._job = self.feed.jobs.start("install", lambda job: self._stage(job, accepted))
            except ProaError:
                self._staging = None
                raise

    def _stage(self, job: Job, accepted: AcceptedOrder) -> Installed:
        context = dataclasses.replace(self.context, cancel=job.cancel)
        try:
            job.slot = look(context).state.good.other.value
            wanted = InstallOrder(
                accepted.order.release,
                registry=registry_settings(context.paths),
                downgrade=accepted.order.allow_downgrade,
                rate=accepted.order.bytes_per_second,
            )
            report = self.install(context, wanted, lambda: self._begins(accepted.digest))
        except Exception as error:
            self._change_staging(over=True, error=told(error))
            raise
        self._change_staging(over=True)
        return report

    def _begins(self, digest: str) -> None:
        self._change_staging(begun=True)
        amend(self.context, begun_staging(digest))

    def _change_staging(self, **changes: Any) -> None:
        with self._lock:
            if self._staging:
                self._staging = dataclasses.replace(self._staging, **changes)

    def _stop(self, code: Code) -> None:
        if self._job:
            self._job.cancel.ask(code)
