"""What comes next for an order, decided from facts alone: every rule, and that no situation leaves it undecided."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from proa.agent.node.order_book import AcceptedOrder, Moment, take
from proa.agent.node.record import Returned
from proa.agent.node.states import NodeState
from proa.agent.orders.plan import DONE, End, OrderStep, Situation, Staging, next_step
from proa.core.orders.messages import Action, Order, OrderResult, Proof
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot

NEW, OLD = "sha256:" + "2" * 64, "sha256:" + "1" * 64
ROOT = "ab" * 32
PROOF = Proof("boot-1", ROOT)
BACK = Returned("b", "2", ROOT, "2026-01-01T00:00:00+00:00", "not healthy", 1, 1)
GOOD = Situation(NodeState.GOOD, boot_id="boot-1", root_hash="cd" * 32, booted=Slot.A, good=Slot.A, kept=OLD)
STAGED = dataclasses.replace(GOOD, state=NodeState.STAGED, staged=NEW)
ARMED = dataclasses.replace(STAGED, state=NodeState.ARMED, armed=True)
TRIAL = dataclasses.replace(STAGED, state=NodeState.TRIAL, booted=Slot.B, running=NEW, root_hash=ROOT)
LEAVING = dataclasses.replace(TRIAL, state=NodeState.LEAVING)
COMMITTED = dataclasses.replace(TRIAL, state=NodeState.PAIRED, good=Slot.B, kept=NEW, staged=OLD)
RETURNED = dataclasses.replace(STAGED, state=NodeState.RETURNED, boot_id="boot-2", returned=BACK)


def accepted(action: Action, **changes: Any) -> AcceptedOrder:
    release = f"registry.example/os/node@{NEW}" if action in (Action.STAGE, Action.BOOT) else ""
    proof = PROOF if action is Action.COMMIT else None
    found = take(None, Order(1, action, 0, release, trial=proof), Moment("2026-01-01T00:00:00+00:00", "boot-1", 0))
    return dataclasses.replace(found, **changes)


def now(situation: Situation, **changes: Any) -> Situation:
    return dataclasses.replace(situation, **changes)


def end(step: Any) -> tuple[OrderResult, Code | None]:
    assert isinstance(step, End), step
    return step.result, step.code


class TestNone:
    def test_there_is_nothing_to_take_back(self) -> None:
        for situation in (GOOD, STAGED, TRIAL, LEAVING, COMMITTED):
            assert next_step(accepted(Action.NONE), situation) is DONE

    def test_an_arming_is_taken_back(self) -> None:
        assert next_step(accepted(Action.NONE), ARMED) is OrderStep.DISARM

    def test_an_install_is_stopped_first(self) -> None:
        assert next_step(accepted(Action.NONE), now(ARMED, staging=Staging(NEW))) is OrderStep.STOP
        assert next_step(accepted(Action.NONE), now(ARMED, staging=Staging(NEW, over=True))) is OrderStep.DISARM


class TestStage:
    def test_it_is_installed(self) -> None:
        assert next_step(accepted(Action.STAGE), GOOD) is OrderStep.STAGE

    @pytest.mark.parametrize("situation", [STAGED, COMMITTED, ARMED, TRIAL])
    def test_it_is_there_already(self, situation: Situation) -> None:
        assert next_step(accepted(Action.STAGE), situation) is DONE

    def test_it_is_waited_for(self) -> None:
        assert next_step(accepted(Action.STAGE), now(GOOD, staging=Staging(NEW))) is OrderStep.WAIT

    def test_another_ones_install_is_stopped_first(self) -> None:
        assert next_step(accepted(Action.STAGE), now(GOOD, staging=Staging(OLD))) is OrderStep.STOP
        over = Staging(OLD, over=True, error=ProaError(Code.CANCELLED))
        assert next_step(accepted(Action.STAGE), now(GOOD, staging=over)) is OrderStep.STAGE

    def test_it_ended_well(self) -> None:
        assert next_step(accepted(Action.STAGE), now(GOOD, staging=Staging(NEW, over=True))) is DONE

    @pytest.mark.parametrize(("begun", "result"), [(False, OrderResult.REFUSED), (True, OrderResult.FAILED)])
    def test_it_did_not(self, begun: bool, result: OrderResult) -> None:
        staging = Staging(NEW, begun=begun, over=True, error=ProaError(Code.SERIAL, "too old"))
        step = next_step(accepted(Action.STAGE), now(GOOD, staging=staging))
        assert step == End(result, Code.SERIAL, "too old")

    @pytest.mark.parametrize("code", [Code.BUSY, Code.INTERRUPTED])
    def test_it_could_not_be_begun_now(self, code: Code) -> None:
        staging = Staging(NEW, over=True, error=ProaError(code))
        assert next_step(accepted(Action.STAGE), now(GOOD, staging=staging)) is OrderStep.STAGE

    def test_its_time_is_up(self) -> None:
        late = now(GOOD, late=True)
        assert end(next_step(accepted(Action.STAGE), late)) == (OrderResult.FAILED, Code.TIMEOUT)
        assert next_step(accepted(Action.STAGE), now(late, staging=Staging(NEW))) is OrderStep.TIME_OUT
        stopped = Staging(NEW, over=True, error=ProaError(Code.TIMEOUT))
        assert end(next_step(accepted(Action.STAGE), now(late, staging=stopped))) == (OrderResult.FAILED, Code.TIMEOUT)
        assert next_step(accepted(Action.STAGE), now(late, staged=NEW)) is DONE, "it came in time all the same"


class TestBoot:
    def test_it_is_armed_then_rebooted_then_done(self) -> None:
        assert next_step(accepted(Action.BOOT), STAGED) is OrderStep.ARM
        assert next_step(accepted(Action.BOOT, begun=True), ARMED) is OrderStep.REBOOT
        assert next_step(accepted(Action.BOOT, begun=True), now(TRIAL, boot_id="boot-2")) is DONE
        assert next_step(accepted(Action.BOOT, begun=True), COMMITTED) is DONE, "the checks were faster than a look"

    def test_what_was_armed_by_hand_gets_one_try(self) -> None:
        assert next_step(accepted(Action.BOOT), ARMED) is OrderStep.ARM

    def test_power_lost_before_it_was_armed(self) -> None:
        assert next_step(accepted(Action.BOOT, begun=True), now(STAGED, boot_id="boot-2")) is OrderStep.ARM

    def test_it_came_back(self) -> None:
        step = next_step(accepted(Action.BOOT, begun=True), RETURNED)
        assert step == End(OrderResult.FAILED, Code.TRIAL_RETURNED, "not healthy")
        waited = dataclasses.replace(BACK, code="NO_COMMIT_ORDER")
        assert (
            end(next_step(accepted(Action.BOOT, begun=True), now(RETURNED, returned=waited)))[1] is Code.NO_COMMIT_ORDER
        )
        newer = dataclasses.replace(BACK, code="TIRED")
        assert (
            end(next_step(accepted(Action.BOOT, begun=True), now(RETURNED, returned=newer)))[1] is Code.TRIAL_RETURNED
        )

    def test_an_earlier_return_is_none_of_its_own(self) -> None:
        assert next_step(accepted(Action.BOOT), RETURNED) is OrderStep.ARM

    def test_it_is_told_only_when_the_boot_is_settled(self) -> None:
        for returned in (None, BACK):
            situation = now(RETURNED, settled=False, returned=returned)
            assert next_step(accepted(Action.BOOT, begun=True), situation) is OrderStep.WAIT

    @pytest.mark.parametrize("situation", [LEAVING, now(TRIAL, state=NodeState.INCONSISTENT)])
    def test_a_trial_that_is_given_up_is_not_done(self, situation: Situation) -> None:
        assert next_step(accepted(Action.BOOT, begun=True), situation) is OrderStep.WAIT
        assert next_step(accepted(Action.BOOT), situation) is OrderStep.ARM, "which the table of states refuses"

    def test_its_time_is_up(self) -> None:
        late = now(ARMED, late=True)
        assert next_step(accepted(Action.BOOT, begun=True), late) is OrderStep.DISARM
        assert end(next_step(accepted(Action.BOOT, begun=True), now(late, armed=False)))[1] is Code.TIMEOUT
        assert end(next_step(accepted(Action.BOOT), late))[1] is Code.TIMEOUT, "an arming by hand stays"
        assert end(next_step(accepted(Action.BOOT, begun=True), now(RETURNED, late=True)))[1] is Code.TRIAL_RETURNED
        assert next_step(accepted(Action.BOOT, begun=True), now(TRIAL, late=True)) is DONE


class TestCommit:
    def test_a_trial_that_is_meant_is_committed_once_it_is_healthy(self) -> None:
        assert next_step(accepted(Action.COMMIT), TRIAL) is OrderStep.WAIT
        assert next_step(accepted(Action.COMMIT), now(TRIAL, healthy=True)) is OrderStep.COMMIT
        assert next_step(accepted(Action.COMMIT), COMMITTED) is DONE

    @pytest.mark.parametrize("other", [{"boot_id": "boot-2"}, {"root_hash": "cd" * 32}])
    def test_another_trial_is_not(self, other: dict[str, str]) -> None:
        step = next_step(accepted(Action.COMMIT), now(TRIAL, healthy=True, **other))
        assert end(step) == (OrderResult.REFUSED, Code.STALE_ORDER)

    @pytest.mark.parametrize("situation", [GOOD, STAGED, ARMED, now(COMMITTED, root_hash="cd" * 32)])
    def test_there_is_no_trial(self, situation: Situation) -> None:
        assert end(next_step(accepted(Action.COMMIT), situation)) == (OrderResult.REFUSED, Code.NO_TRIAL)

    def test_a_boot_that_cannot_be_understood(self) -> None:
        situation = now(TRIAL, state=NodeState.INCONSISTENT, problem=ProaError(Code.HANDSHAKE))
        assert end(next_step(accepted(Action.COMMIT), situation)) == (OrderResult.REFUSED, Code.HANDSHAKE)

    def test_one_that_was_done_already(self) -> None:
        later = now(COMMITTED, boot_id="boot-2")
        assert next_step(accepted(Action.COMMIT), later) is DONE, "cut off right after the commit"
        late_order = accepted(Action.COMMIT, boot_id="boot-2")
        assert end(next_step(late_order, later)) == (OrderResult.REFUSED, Code.NO_TRIAL), "it means a boot that is over"

    def test_the_trial_came_back_before_it_was_healthy(self) -> None:
        assert next_step(accepted(Action.COMMIT), LEAVING) is OrderStep.WAIT
        assert next_step(accepted(Action.COMMIT), now(RETURNED, settled=False, returned=None)) is OrderStep.WAIT
        assert end(next_step(accepted(Action.COMMIT), RETURNED)) == (OrderResult.FAILED, Code.TRIAL_RETURNED)

    def test_its_time_is_up(self) -> None:
        assert end(next_step(accepted(Action.COMMIT), now(TRIAL, late=True))) == (OrderResult.FAILED, Code.TIMEOUT)


class TestRollback:
    def test_the_other_slot_is_made_good_and_booted(self) -> None:
        begun = accepted(Action.ROLLBACK, begun=True, slot="a")
        assert next_step(accepted(Action.ROLLBACK), TRIAL) is OrderStep.ROLL_BACK
        assert next_step(begun, TRIAL) is OrderStep.ROLL_BACK, "killed before it was written"
        assert next_step(begun, LEAVING) is OrderStep.REBOOT
        assert next_step(begun, RETURNED) is DONE

    def test_after_a_commit(self) -> None:
        begun = accepted(Action.ROLLBACK, begun=True, slot="a")
        assert next_step(accepted(Action.ROLLBACK), COMMITTED) is OrderStep.ROLL_BACK
        assert next_step(begun, COMMITTED) is OrderStep.ROLL_BACK
        assert next_step(begun, now(COMMITTED, state=NodeState.LEAVING, good=Slot.A)) is OrderStep.REBOOT
        assert next_step(begun, now(COMMITTED, booted=Slot.A, good=Slot.A)) is DONE

    def test_a_slot_that_could_not_be_loaded_is_settled_first(self) -> None:
        begun = accepted(Action.ROLLBACK, begun=True, slot="a")
        fallback = now(COMMITTED, state=NodeState.LEAVING, good=Slot.A, settled=False)
        assert next_step(begun, fallback) is OrderStep.WAIT
        assert next_step(begun, now(COMMITTED, boot_id="boot-2")) is OrderStep.ROLL_BACK, "which is refused then"

    def test_its_time_is_up(self) -> None:
        begun = accepted(Action.ROLLBACK, begun=True, slot="a")
        assert end(next_step(begun, now(LEAVING, late=True))) == (OrderResult.FAILED, Code.TIMEOUT)


def every_situation() -> list[Situation]:
    stagings = [None, Staging(NEW), Staging(OLD), Staging(NEW, over=True), Staging(OLD, over=True)]
    return [
        dataclasses.replace(situation, returned=returned, settled=settled, staging=staging, late=late, healthy=healthy)
        for situation, returned, settled, staging, late, healthy in itertools.product(
            [GOOD, STAGED, ARMED, TRIAL, LEAVING, COMMITTED, RETURNED],
            [None, BACK],
            [True, False],
            stagings,
            [True, False],
            [True, False],
        )
    ]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("begun", [True, False])
def test_no_situation_leaves_an_order_undecided(action: Action, begun: bool) -> None:
    order = accepted(action, begun=begun, slot="a" if action is Action.ROLLBACK and begun else "")
    for situation in every_situation():
        step = next_step(order, situation)
        assert isinstance(step, OrderStep | End)
        running = situation.staging is not None and not situation.staging.over
        if running and not isinstance(step, End):
            assert step in (OrderStep.WAIT, OrderStep.STOP, OrderStep.TIME_OUT), "nothing is done beside an install"
        if situation.late and not running:
            assert isinstance(step, End) or step is OrderStep.DISARM, "nothing is begun when the time is up"
