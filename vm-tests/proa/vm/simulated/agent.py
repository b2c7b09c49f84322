"""A node's agent without a node: it carries out orders as the real one does, in as much time as it is told.

It holds two slots and a boot id, and nothing else; what it is asked and what it says are those of
:mod:`proa.core.orders.messages`.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from proa.core.orders.messages import (
    Action,
    Booted,
    LastError,
    NodeStatus,
    Order,
    OrderResult,
    Phase,
    Progress,
    Proof,
    SettingsState,
    Standby,
)
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings.document import Document, parse
from proa.scheduler.simulation import node_status
from proa.vm.simulated import wording
from proa.vm.simulated.faults import WELL, Timing
from proa.vm.simulated.releases import FACTORY, digest_of, root_hash_of


class SimAgent:
    """One node's agent, boot loader and slots.

    Args:
        release: What runs at first, as a reference with a digest.
        status: What it has said before, to go on from.
        timing: How long things take.
        clock: Whose time counts.
    """

    def __init__(
        self,
        release: str = FACTORY,
        *,
        status: NodeStatus | None = None,
        timing: Timing | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.timing = timing or Timing()
        self.faults = WELL
        self.away = False
        """Whether the node is down: nobody is there to be asked."""
        self.boots = 0
        """How often it has come up again."""
        self.order: Order | None = None
        """The last order that was taken."""
        self._clock = clock
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._lost: Callable[[], None] | None = None
        self._settings_before: SettingsState | None = None
        self.status = status if status is not None and status.booted else wording.first(release, self._time)

    # what it holds

    @property
    def booted(self) -> Booted:
        """What runs, or ran last."""
        return self.status.booted or Booted()

    @property
    def standby(self) -> Standby:
        """What the other slot holds."""
        return self.status.standby or Standby()

    @property
    def reachable(self) -> bool:
        """Whether the agent answers."""
        return not self.away and not self.faults.silent

    @property
    def due(self) -> float | None:
        """When, by the monotonic clock, something happens by itself; none if nothing will."""
        return self._later[0][0] if self._later else None

    @property
    def _time(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.faults.clock_skew)

    # what is done to it

    def take(self, order: Order) -> NodeStatus:
        """Take an order; the status then. The same order again changes nothing.

        Raises:
            ProaError: ``STALE_ORDER`` for one that is older than what was seen, or whose fence is lower;
                ``CONFIG_VALUE`` for one that cannot be carried out as it stands; ``DEVICE`` while nobody answers.
        """
        self.advance()
        if not self.reachable:
            raise ProaError(Code.DEVICE, "the agent cannot be reached")
        wording.check(order)
        if order != self.order:
            self._check_new(order)
            self.order = order
            self._begin(order)
        return self.status

    def advance(self) -> None:
        """Let everything happen whose time has come."""
        while self._later and self._later[0][0] <= self._clock.monotonic():
            _, _, work = heapq.heappop(self._later)
            work()

    def reboot(self) -> None:
        """Somebody else reboots the node. A trial has had its tries then; what was staged halfway is begun anew."""
        if self.away or self.status.phase == Phase.BOOTING:
            return
        self._go_down(self._same if self.booted.committed else lambda: self._back(Code.TRIAL_RETURNED))

    def power_on(self) -> None:
        """A node that did not come back does so now."""
        if self._lost is not None:
            work, self._lost = self._lost, None
            self._at(0.0, work)
            self.advance()

    # orders

    def _check_new(self, order: Order) -> None:
        seen = self.status.observed_order
        if (self.order and order.fence < self.order.fence) or (seen and order.id <= seen.id):
            what = f"order {order.id} with fence {order.fence} is older than one that the node has seen"
            raise ProaError(Code.STALE_ORDER, what)

    def _begin(self, order: Order) -> None:
        rebooting = self.status.phase == Phase.BOOTING
        self.status = node_status.begun(self.status, order)
        if rebooting and order.action is not Action.NONE:
            self._refuse(Code.BUSY, "the node is about to reboot")
        else:
            self._ORDERS[order.action](self, order)

    def _none(self, _: Order) -> None:
        """Take back what can be: a staging under way, a reboot that has not come yet."""
        if self.status.phase == Phase.STAGING:
            self._drop()
            self._done(Phase.GOOD, standby=Standby(self.standby.slot, state="partial"))
        elif self.status.phase == Phase.BOOTING:
            self._drop()
            self._done(Phase.STAGED if self.booted.committed else Phase.TRIAL)
        else:
            self._done(self.status.phase)

    def _stage(self, order: Order) -> None:
        digest = digest_of(order.release)
        good = self.booted if self.booted.committed else self.standby
        if good.release == digest:
            self._done(Phase.GOOD if self.booted.committed else Phase.TRIAL)
        elif not self.booted.committed:
            self._refuse(Code.IN_TRIAL, "a trial runs")
        elif self.standby.complete and self.standby.release == digest:
            self._done(Phase.STAGED)
        else:
            self._drop()
            writing = Standby(self.standby.slot, state="writing")
            self._tell(phase=Phase.STAGING, standby=writing, progress=Progress("fetch"), last_error=None)
            seconds, limit = self.timing.stage + self.faults.slow_seconds, wording.limit(order)
            self._at(min(seconds, limit), lambda: self._staged(order, in_time=seconds <= limit))

    def _staged(self, order: Order, in_time: bool) -> None:
        code = self.faults.stage_error if in_time else Code.TIMEOUT.name
        if code:
            self._tell(standby=Standby(self.standby.slot, state="partial"))
            self._fail(code, f"the release could not be staged: {order.release}", Phase.FAILED)
        else:
            self._done(Phase.STAGED, standby=wording.staged(self.standby.slot, order.release))

    def _boot(self, order: Order) -> None:
        digest = digest_of(order.release)
        if self.booted.release == digest:
            self._done(self.status.phase)
        elif not self.booted.committed:
            self._refuse(Code.IN_TRIAL, "another trial runs")
        elif not (self.standby.complete and self.standby.release == digest):
            self._refuse(Code.NOT_STAGED, "the release is not staged")
        else:
            self._leave(self._try)

    def _commit(self, order: Order) -> None:
        meant = order.trial == Proof(self.booted.boot_id, self.booted.root_hash)
        if self.booted.committed and meant:
            self._done(Phase.GOOD)
        elif self.booted.committed:
            self._refuse(Code.NO_TRIAL, "no trial is running")
        elif not meant:
            self._refuse(Code.STALE_ORDER, "the order is for another trial")
        else:
            until = self._clock.monotonic() + wording.limit(order)
            self._at(self.timing.commit + self.faults.slow_seconds, lambda: self._committed(order, until))

    def _committed(self, order: Order, until: float) -> None:
        """Health checks come first: a trial that fails them is not committed."""
        if self.order != order:
            return  # it was taken back
        if not wording.is_healthy(self.status):
            if self._clock.monotonic() >= until:
                self._fail(Code.TIMEOUT, "it did not finish in time", Phase.TRIAL)
            else:
                self._at(max(self.timing.healthy, 0.01), lambda: self._committed(order, until))
            return
        self._drop()
        good = dataclasses.replace(self.standby, state="fallback")
        booted = dataclasses.replace(self.booted, committed=True)
        self._done(Phase.GOOD, booted=booted, standby=good, conditions=wording.conditions(self._time))

    def _rollback(self, _: Order) -> None:
        if self.standby.good:
            self._leave(self._back_by_order)
        else:
            self._refuse(Code.NOT_GOOD, "the other slot is not known to be good")

    # settings

    def _configure(self, order: Order) -> None:
        wanted = parse(order.settings)
        if refused := wording.refused(wanted):
            self._refuse(Code.SETTINGS_REFUSED, refused)
            return
        self._at(self.timing.settle + self.faults.slow_seconds, lambda: self._configured(order, wanted))

    def _configured(self, order: Order, wanted: Document) -> None:
        if self.order != order:
            return
        if self.faults.bad_settings:
            why = "kubelet.service does not start; its last lines: invalid configuration"
            self.status = node_status.reverted(self.status, wanted.digest, why, "Failed")
            self._fail(Code.SETTINGS_FAILED, why, self.status.phase)
            return
        self.status = node_status.tried(self.status, wanted)
        self._done(self.status.phase)
        self._at(wording.limit(order), lambda: self._revert(wanted.digest, "it was not committed in time"))

    def _revert(self, tried: str, why: str) -> None:
        if self.status.settings is not None and self.status.settings.trial_hash == tried:
            self.status = node_status.reverted(self.status, tried, why)

    def _commit_settings(self, order: Order) -> None:
        told = self.status.settings or node_status.UNSET
        if told.trial_hash != order.settings_hash:
            self._refuse(Code.NO_SETTINGS_TRIAL, "other settings are being tried")
            return
        self.status = node_status.kept(self.status)
        self._done(self.status.phase)

    def _revert_settings(self, order: Order) -> None:
        self._revert(order.settings_hash, "an order reverted it")
        self._done(self.status.phase)

    _ORDERS: Final[Mapping[Action, Callable[[SimAgent, Order], None]]] = {
        Action.NONE: _none,
        Action.STAGE: _stage,
        Action.BOOT: _boot,
        Action.COMMIT: _commit,
        Action.ROLLBACK: _rollback,
        Action.CONFIGURE: _configure,
        Action.COMMIT_SETTINGS: _commit_settings,
        Action.REVERT_SETTINGS: _revert_settings,
    }

    # boots

    def _leave(self, up: Callable[[], None]) -> None:
        self._drop()
        self._tell(phase=Phase.BOOTING, last_error=None)
        self._at(self.timing.leave + self.faults.slow_seconds, lambda: self._go_down(up))

    def _go_down(self, up: Callable[[], None]) -> None:
        self._drop()
        self.away = True
        self._at(self.timing.boot, lambda: self._come_up(up))

    def _come_up(self, up: Callable[[], None]) -> None:
        if self.faults.never_returns:
            self._lost = lambda: self._come_up(up)
            return
        self.away = False
        self.boots += 1
        up()

    def _try(self) -> None:
        """The staged slot comes up, or the boot loader gives it up."""
        if self.faults.returns_in_old_slot:
            failed = dataclasses.replace(self.standby, state="failed")
            self._tell(booted=dataclasses.replace(self.booted, boot_id=wording.new_boot_id()), standby=failed)
            self.status = node_status.came_back(self.status, Code.TRIAL_RETURNED)
            return
        root = root_hash_of("wrong") if self.faults.wrong_root else ""
        self._settings_before = self.status.settings
        if self.order is not None and self.order.settings:
            self.status = node_status.configured(self.status, parse(self.order.settings))
        self.status = node_status.swapped(
            self.status, wording.new_boot_id(), committed=False, left="good", root_hash=root
        )
        self._done(Phase.TRIAL, conditions=wording.conditions(self._time, "Unknown", "NotLookedYet"))
        self._at(self.timing.healthy, self._check_health)
        self._at(self.timing.trial, self._expire)

    def _check_health(self) -> None:
        found = ("False", "ChecksFailed") if self.faults.unhealthy else ("True", "ChecksPassed")
        self._tell(conditions=wording.conditions(self._time, *found))

    def _expire(self) -> None:
        code = Code.NO_COMMIT_ORDER if wording.is_healthy(self.status) else Code.TRIAL_RETURNED
        self._go_down(lambda: self._back(code))

    def _back(self, code: Code) -> None:
        """A trial that nobody committed goes back to the good slot."""
        self._swap_back("failed")
        self.status = node_status.came_back(self.status, code)

    def _back_by_order(self) -> None:
        given_up = not self.booted.committed
        self._swap_back("failed" if given_up else "fallback")
        self._done(Phase.ROLLED_BACK if given_up else Phase.GOOD)

    def _swap_back(self, left: str) -> None:
        self._drop()
        status = node_status.swapped(self.status, wording.new_boot_id(), committed=True, left=left)
        settings = self._settings_before or status.settings
        self.status = dataclasses.replace(status, conditions=wording.conditions(self._time), settings=settings)

    def _same(self) -> None:
        self._tell(booted=dataclasses.replace(self.booted, boot_id=wording.new_boot_id()))
        if self.status.phase == Phase.STAGING and self.order is not None:
            self._stage(self.order)

    # words

    def _done(self, phase: str, **changes: Any) -> None:
        self.status = node_status.ended(self.status, OrderResult.DONE, phase=phase, last_error=None, **changes)

    def _refuse(self, code: Code, message: str) -> None:
        self.status = node_status.ended(self.status, OrderResult.REFUSED, last_error=LastError(code.name, message))

    def _fail(self, code: Code | str, message: str, phase: str) -> None:
        error = LastError(code.name if isinstance(code, Code) else code, message)
        self.status = node_status.ended(self.status, OrderResult.FAILED, phase=phase, last_error=error)

    def _tell(self, **changes: Any) -> None:
        self.status = dataclasses.replace(self.status, **changes)

    def _at(self, seconds: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self._clock.monotonic() + seconds, next(self._number), work))

    def _drop(self) -> None:
        """Forget what was to happen."""
        self._later.clear()
