"""A node's agent without a node: it carries out orders as the real one does, in as much time as it is told.

It holds two slots and a boot id, and nothing else; what it is asked and what it says are those of
:mod:`proa.core.wire`.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from proa.core import SCHEMA_VERSION, duration
from proa.core.clock import SYSTEM, Clock
from proa.core.errors import Code, ProaError
from proa.core.wire import (
    Action,
    Booted,
    Condition,
    LastError,
    NodeStatus,
    Observed,
    Order,
    Phase,
    Progress,
    Proof,
    Result,
    Standby,
)
from proa.vm.simfaults import WELL, Timing
from proa.vm.simreleases import FACTORY, digest_of, root_hash_of, version_of

HEALTHY: Final = "Healthy"
"""The condition that tells of a trial's health checks."""


class SimAgent:
    """One node's agent, boot loader and slots.

    Args:
        release: What runs at first, as a reference with a digest.
        status: What it has said before, to go on from; its boot id stays.
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
        self.fence = -1
        """The highest fence that was seen."""
        self._clock = clock
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._lost: Callable[[], None] | None = None
        if status is not None and status.booted is not None:
            self.status = status
        else:
            booted = Booted("a", version_of(release), digest_of(release), root_hash_of(release), _boot_id(), True)
            self.status = NodeStatus(
                phase=Phase.IDLE, booted=booted, standby=Standby("b", state="unknown"), agent=SCHEMA_VERSION
            )

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

    # what is done to it

    def take(self, order: Order) -> NodeStatus:
        """Take an order; the status then. The same order again changes nothing.

        Raises:
            ProaError: ``STALE_ORDER`` for one that is older than what was seen, or whose fence is lower; ``DEVICE``
                while nobody answers.
        """
        self.advance()
        if not self.reachable:
            raise ProaError(Code.DEVICE, "the agent cannot be reached")
        seen = self.status.observed_order
        if order.fence < self.fence or (seen is not None and order.id < seen.id):
            what = f"order {order.id} with fence {order.fence} is older than what was seen"
            raise ProaError(Code.STALE_ORDER, what)
        if seen is None or order.id > seen.id:
            self.fence = order.fence
            self._begin(order)
        return self.status

    def advance(self) -> None:
        """Let everything happen whose time has come."""
        while self._later and self._later[0][0] <= self._clock.monotonic():
            _, _, work = heapq.heappop(self._later)
            work()

    def reboot(self) -> None:
        """Somebody else reboots the node. A trial has had its tries then."""
        if self.away or self.status.phase == Phase.BOOTING:
            return
        if self.status.phase == Phase.STAGING:
            self._tell(standby=Standby(self.standby.slot, state="partial"))
            self._fail(Code.INTERRUPTED, "the node rebooted", Phase.FAILED)
        self._go_down(self._back if not self.booted.committed else self._same)

    def power_on(self) -> None:
        """A node that did not come back does so now."""
        if self._lost is not None:
            work, self._lost = self._lost, None
            self._at(0.0, work)
            self.advance()

    # orders

    def _begin(self, order: Order) -> None:
        rebooting = self.status.phase == Phase.BOOTING
        self._tell(observed_order=Observed(order.id, order.action.value, Result.RUNNING.value))
        if rebooting and order.action is not Action.NONE:
            self._refuse(Code.BUSY, "the node is about to reboot")
            return
        self._ORDERS[order.action](self, order)

    def _none(self, order: Order) -> None:
        """Take back what can be: a staging under way, a reboot that has not come yet."""
        if self.status.phase == Phase.STAGING:
            self._drop()
            self._done(self._resting, standby=Standby(self.standby.slot, state="partial"))
        elif self.status.phase == Phase.BOOTING:
            self._drop()
            self._done(self._resting if self.booted.committed else Phase.TRIAL)
        else:
            self._done(self.status.phase)

    def _stage(self, order: Order) -> None:
        if not self.booted.committed:
            self._refuse(Code.IN_TRIAL, "a trial runs")
        elif self.booted.release == digest_of(order.release):
            self._done(Phase.GOOD)
        elif self.standby.complete and self.standby.release == digest_of(order.release):
            self._done(Phase.STAGED)
        else:
            self._drop()
            writing = Standby(self.standby.slot, state="writing")
            self._tell(phase=Phase.STAGING, standby=writing, progress=Progress("fetch"), last_error=None)
            limit = duration.parse(order.timeout).total_seconds()
            seconds = self.timing.stage + self.faults.slow_seconds
            self._at(min(seconds, limit), lambda: self._staged(order, in_time=seconds <= limit))

    def _staged(self, order: Order, in_time: bool) -> None:
        code = self.faults.stage_error if in_time else Code.TIMEOUT.name
        if code:
            self._tell(standby=Standby(self.standby.slot, state="partial"))
            self._fail(code, f"the release could not be staged: {order.release}", Phase.FAILED)
            return
        name = order.release
        held = Standby(self.standby.slot, version_of(name), digest_of(name), root_hash_of(name), "staged", True)
        self._done(Phase.STAGED, standby=held)

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
        if order.trial != Proof(self.booted.boot_id, self.booted.root_hash):
            self._refuse(Code.STALE_ORDER, "another boot, or another root, was meant")
        elif self.booted.committed:
            self._done(Phase.GOOD)
        else:
            self._at(self.timing.commit + self.faults.slow_seconds, lambda: self._committed(order))

    def _committed(self, order: Order) -> None:
        """Health checks come first: a trial that fails them is not committed."""
        if not self._healthy:
            self._at(max(self.timing.healthy, 0.01), lambda: self._committed(order))
            return
        self._drop()
        good = dataclasses.replace(self.standby, state="fallback", good=True)
        self._done(Phase.GOOD, booted=dataclasses.replace(self.booted, committed=True), standby=good)

    def _rollback(self, order: Order) -> None:
        if self.standby.good:
            self._leave(self._back_by_order)
        else:
            self._refuse(Code.NOT_GOOD, "the other slot is not known to be good")

    _ORDERS: Final[Mapping[Action, Callable[[SimAgent, Order], None]]] = {
        Action.NONE: _none,
        Action.STAGE: _stage,
        Action.BOOT: _boot,
        Action.COMMIT: _commit,
        Action.ROLLBACK: _rollback,
    }

    # boots

    def _leave(self, up: Callable[[], None]) -> None:
        self._drop()
        self._tell(phase=Phase.BOOTING, progress=None, last_error=None)
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
            self._tell(booted=dataclasses.replace(self.booted, boot_id=_boot_id()), standby=failed)
            self._fail(Code.TRIAL_RETURNED, "the boot loader gave the trial up", Phase.ROLLED_BACK)
            return
        self._swap(committed=False, left="good")
        self._done(Phase.TRIAL, conditions=(self._condition("Unknown", "Checking"),))
        self._at(self.timing.healthy, self._check_health)
        self._at(self.timing.trial, lambda: self._go_down(self._back))

    def _check_health(self) -> None:
        bad = self.faults.unhealthy
        self._tell(conditions=(self._condition("False", "CheckFailed") if bad else self._condition("True", "Passed"),))

    def _back(self) -> None:
        """A trial that nobody committed goes back to the good slot."""
        well = self._healthy
        self._swap(committed=True, left="failed")
        code = Code.NO_COMMIT_ORDER if well else Code.TRIAL_RETURNED
        self._fail(code, code.value.summary, Phase.ROLLED_BACK)

    def _back_by_order(self) -> None:
        self._swap(committed=True, left="fallback" if self.booted.committed else "failed")
        self._done(Phase.GOOD)

    def _same(self) -> None:
        self._tell(booted=dataclasses.replace(self.booted, boot_id=_boot_id()))

    def _swap(self, *, committed: bool, left: str) -> None:
        """The other slot runs; what ran lies there as ``left`` says."""
        self._drop()
        new, old = self.standby, self.booted
        root = root_hash_of("wrong") if self.faults.wrong_root and not committed else new.root_hash
        good = left != "failed"
        self._tell(
            booted=Booted(new.slot, new.version, new.release, root, _boot_id(), committed),
            standby=Standby(old.slot, old.version, old.release, old.root_hash, left, True, good),
            conditions=(),
        )

    # words

    @property
    def _healthy(self) -> bool:
        return any(condition.type == HEALTHY and condition.status == "True" for condition in self.status.conditions)

    @property
    def _resting(self) -> str:
        return Phase.STAGED if self.standby.complete and not self.standby.good else Phase.IDLE

    def _condition(self, status: str, reason: str) -> Condition:
        now = self._clock.now() + timedelta(seconds=self.faults.clock_skew)
        return Condition(HEALTHY, status, reason, "", now.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def _done(self, phase: str, **changes: Any) -> None:
        self._end(Result.DONE, phase=phase, last_error=None, **changes)

    def _refuse(self, code: Code, message: str) -> None:
        self._end(Result.REFUSED, last_error=LastError(code.name, message))

    def _fail(self, code: Code | str, message: str, phase: str) -> None:
        name = code.name if isinstance(code, Code) else code
        self._end(Result.FAILED, phase=phase, last_error=LastError(name, message))

    def _end(self, result: Result, **changes: Any) -> None:
        seen = self.status.observed_order
        observed = dataclasses.replace(seen, result=result.value) if seen else None
        self._tell(observed_order=observed, progress=None, **changes)

    def _tell(self, **changes: Any) -> None:
        self.status = dataclasses.replace(self.status, **changes)

    def _at(self, seconds: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self._clock.monotonic() + seconds, next(self._number), work))

    def _drop(self) -> None:
        """Forget what was to happen."""
        self._later.clear()


def _boot_id() -> str:
    return str(uuid.uuid4())
