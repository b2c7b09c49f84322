"""The simulated agent's state machine, in virtual time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.core.orders.messages import Action, NodeStatus, Order, OrderResult, Phase, Proof
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse
from proa.vm.simulated.agent import SimAgent
from proa.vm.simulated.faults import Faults, Timing
from proa.vm.simulated.releases import FACTORY, digest_of, release, root_hash_of, version_of

TIMING = Timing(stage=60, leave=1, boot=90, healthy=10, commit=2, trial=600)
NEW = release("v2")
OLDER = release("v1")


class Node:
    """An agent, and who gives it orders."""

    def __init__(self, **faults: Any) -> None:
        self.clock = VirtualClock()
        self.agent = SimAgent(timing=TIMING, clock=self.clock)
        self.agent.faults = Faults(**faults)
        self.number = 0

    def order(self, action: Action, reference: str = NEW, **more: Any) -> NodeStatus:
        self.number += 1
        return self.agent.take(Order(self.number, action, more.pop("fence", 1), reference, **more))

    def after(self, seconds: float) -> NodeStatus:
        """The status once time has passed, step by step as things happen."""
        end = self.clock.at + seconds
        while self.agent.due is not None and self.agent.due <= end:
            self.clock.at = max(self.clock.at, self.agent.due)
            self.agent.advance()
        self.clock.at = end
        self.agent.advance()
        return self.agent.status

    def is_away(self) -> bool:
        return self.agent.away

    @property
    def proof(self) -> Proof:
        return Proof(self.agent.booted.boot_id, self.agent.booted.root_hash)

    def to_trial(self) -> NodeStatus:
        self.order(Action.STAGE)
        self.after(60)
        self.order(Action.BOOT)
        return self.after(91)

    def to_good(self) -> NodeStatus:
        self.to_trial()
        self.after(10)
        self.order(Action.COMMIT, trial=self.proof)
        return self.after(2)


def seen(status: NodeStatus) -> tuple[str, str, str]:
    """Phase, result and error in short."""
    observed, error = status.observed_order, status.last_error
    return status.phase, observed.result if observed else "", error.code if error else ""


def conditions(status: NodeStatus) -> dict[str, str]:
    return {condition.type: condition.status for condition in status.conditions}


def test_a_new_node_runs_the_release_of_the_factory() -> None:
    agent = Node().agent
    assert agent.booted.slot == "a"
    assert agent.booted.release == digest_of(FACTORY)
    assert agent.booted.root_hash == root_hash_of(FACTORY)
    assert agent.booted.version == "factory"
    assert agent.booted.committed
    assert agent.standby.slot == "b"
    assert not agent.standby.complete
    assert seen(agent.status) == (Phase.GOOD, "", "")
    assert agent.due is None


def test_names_of_releases() -> None:
    assert release("v2") == release("v2") != release("v3")
    assert version_of(release("v2")) == "v2"
    assert version_of("host:5000/os@sha256:" + "ab" * 32) == "ababab"
    assert root_hash_of(NEW) not in NEW


def test_from_staging_to_good() -> None:
    node = Node()
    first = node.agent.booted
    assert seen(node.order(Action.STAGE)) == (Phase.STAGING, OrderResult.RUNNING.value, "")
    assert node.agent.standby.state == "writing"
    assert node.agent.status.progress is not None
    staged = node.after(60)
    assert seen(staged) == (Phase.STAGED, OrderResult.DONE.value, "")
    assert (node.agent.standby.release, node.agent.standby.complete) == (digest_of(NEW), True)
    assert node.agent.booted == first
    assert seen(node.order(Action.BOOT)) == (Phase.BOOTING, OrderResult.RUNNING.value, "")
    assert node.after(1).phase == Phase.BOOTING
    assert node.is_away()
    trial = node.after(90)
    assert not node.is_away()
    assert seen(trial) == (Phase.TRIAL, OrderResult.DONE.value, "")
    assert (node.agent.booted.slot, node.agent.booted.release) == ("b", digest_of(NEW))
    assert node.agent.booted.root_hash == root_hash_of(NEW)
    assert node.agent.booted.boot_id != first.boot_id
    assert trial.booted == dataclasses.replace(node.agent.booted, committed=False)
    assert (node.agent.standby.release, node.agent.standby.good) == (first.release, True)
    assert conditions(trial) == {"Healthy": "Unknown", "Consistent": "True", "PersistHealthy": "True"}
    assert conditions(node.after(10)) == {"Healthy": "True", "Consistent": "True", "PersistHealthy": "True"}
    assert seen(node.order(Action.COMMIT, trial=node.proof)) == (Phase.TRIAL, OrderResult.RUNNING.value, "")
    good = node.after(2)
    assert seen(good) == (Phase.GOOD, OrderResult.DONE.value, "")
    assert conditions(good) == {"Consistent": "True", "PersistHealthy": "True"}
    assert node.agent.booted.committed
    assert node.agent.standby.good
    assert node.after(6000) == good
    assert node.agent.boots == 1


def test_what_it_says_can_be_read() -> None:
    status = Node().to_trial()
    assert parse(NodeStatus, document(status)) == status


def test_the_same_order_again_changes_nothing() -> None:
    node = Node()
    order = Order(5, Action.STAGE, 1, NEW)
    first = node.agent.take(order)
    assert node.agent.take(order) is first
    done = node.after(60)
    assert node.agent.take(order) is done


def test_an_order_that_leads_to_where_it_is_changes_nothing() -> None:
    node = Node()
    node.to_good()
    boot_id = node.agent.booted.boot_id
    assert seen(node.order(Action.BOOT)) == (Phase.GOOD, OrderResult.DONE.value, "")
    assert seen(node.order(Action.STAGE)) == (Phase.GOOD, OrderResult.DONE.value, "")
    assert seen(node.order(Action.COMMIT, trial=node.proof)) == (Phase.GOOD, OrderResult.DONE.value, "")
    assert node.agent.due is None
    assert node.agent.booted.boot_id == boot_id
    other = Node()
    other.order(Action.STAGE)
    other.after(60)
    assert seen(other.order(Action.STAGE)) == (Phase.STAGED, OrderResult.DONE.value, "")
    assert other.agent.due is None


@pytest.mark.parametrize(("number", "fence"), [(4, 3), (6, 2)])
def test_older_orders_and_lower_fences_are_refused(number: int, fence: int) -> None:
    node = Node()
    before = node.agent.take(Order(5, Action.STAGE, 3, NEW))
    with pytest.raises(ProaError) as caught:
        node.agent.take(Order(number, Action.BOOT, fence, NEW))
    assert caught.value.code is Code.STALE_ORDER
    assert node.agent.status is before


def test_the_fence_is_remembered() -> None:
    node = Node()
    node.agent.take(Order(1, Action.NONE, 7))
    with pytest.raises(ProaError):
        node.agent.take(Order(2, Action.NONE, 6))
    node.agent.take(Order(2, Action.NONE, 7))
    with pytest.raises(ProaError):
        node.agent.take(Order(2, Action.ROLLBACK, 7))


def test_an_order_that_contradicts_itself_is_not_taken() -> None:
    node = Node()
    for order in (Order(1, Action.STAGE, 1), Order(1, Action.BOOT, 1), Order(1, Action.COMMIT, 1)):
        with pytest.raises(ProaError) as caught:
            node.agent.take(order)
        assert caught.value.code is Code.CONFIG_VALUE
    assert node.agent.status.observed_order is None


def test_what_is_not_staged_is_not_booted() -> None:
    node = Node()
    assert seen(node.order(Action.BOOT)) == (Phase.GOOD, OrderResult.REFUSED.value, Code.NOT_STAGED.name)
    node.order(Action.STAGE, OLDER)
    node.after(60)
    assert seen(node.order(Action.BOOT)) == (Phase.STAGED, OrderResult.REFUSED.value, Code.NOT_STAGED.name)


def test_another_release_is_staged_in_its_place() -> None:
    node = Node()
    node.order(Action.STAGE, OLDER)
    node.after(30)
    node.order(Action.STAGE, NEW)
    assert node.after(59).phase == Phase.STAGING
    assert node.after(1).phase == Phase.STAGED
    assert node.agent.standby.version == "v2"


def test_a_staging_is_taken_back() -> None:
    node = Node()
    node.order(Action.STAGE)
    node.after(30)
    assert seen(node.order(Action.NONE)) == (Phase.GOOD, OrderResult.DONE.value, "")
    assert node.agent.standby.state == "partial"
    assert node.after(600).phase == Phase.GOOD


def test_a_reboot_is_taken_back_before_it_comes() -> None:
    node = Node()
    node.order(Action.STAGE)
    node.after(60)
    node.order(Action.BOOT)
    assert seen(node.order(Action.NONE)) == (Phase.STAGED, OrderResult.DONE.value, "")
    assert node.after(600).phase == Phase.STAGED
    assert node.agent.boots == 0
    assert seen(node.order(Action.NONE)) == (Phase.STAGED, OrderResult.DONE.value, "")


def test_a_node_about_to_reboot_takes_no_other_order() -> None:
    node = Node()
    node.order(Action.STAGE)
    node.after(60)
    node.order(Action.BOOT)
    assert seen(node.order(Action.STAGE, OLDER)) == (Phase.BOOTING, OrderResult.REFUSED.value, Code.BUSY.name)
    assert node.after(91).phase == Phase.TRIAL


def test_a_node_that_is_away_hears_nothing() -> None:
    node = Node()
    node.order(Action.STAGE)
    node.after(60)
    node.order(Action.BOOT)
    node.after(1)
    with pytest.raises(ProaError) as caught:
        node.order(Action.NONE)
    assert caught.value.code is Code.DEVICE
    silent = Node(silent=True)
    with pytest.raises(ProaError):
        silent.order(Action.STAGE)
    assert not silent.agent.away


@pytest.mark.parametrize("field", ["boot_id", "root_hash"])
def test_a_commit_for_another_trial_is_refused(field: str) -> None:
    node = Node()
    node.to_trial()
    node.after(10)
    wrong = dataclasses.replace(node.proof, **{field: "f" * 64})
    assert seen(node.order(Action.COMMIT, trial=wrong)) == (
        Phase.TRIAL,
        OrderResult.REFUSED.value,
        Code.STALE_ORDER.name,
    )
    assert not node.agent.booted.committed


def test_there_must_be_a_trial_to_commit() -> None:
    node = Node()
    assert seen(node.order(Action.COMMIT, trial=Proof("x", "y"))) == (Phase.GOOD, "Refused", Code.NO_TRIAL.name)


def test_a_commit_waits_for_the_health_checks() -> None:
    node = Node()
    node.to_trial()
    node.order(Action.COMMIT, trial=node.proof)
    assert node.after(5).phase == Phase.TRIAL
    assert node.after(20).phase == Phase.GOOD


def test_a_commit_is_taken_back() -> None:
    node = Node()
    node.to_trial()
    node.order(Action.COMMIT, trial=node.proof)
    assert seen(node.order(Action.NONE)) == (Phase.TRIAL, OrderResult.DONE.value, "")
    assert seen(node.after(60)) == (Phase.TRIAL, OrderResult.DONE.value, "")


def test_a_commit_that_takes_too_long() -> None:
    node = Node(unhealthy=True)
    node.to_trial()
    node.order(Action.COMMIT, trial=node.proof, timeout="1m")
    assert seen(node.after(59)) == (Phase.TRIAL, OrderResult.RUNNING.value, "")
    assert seen(node.after(15)) == (Phase.TRIAL, OrderResult.FAILED.value, Code.TIMEOUT.name)


def test_in_a_trial_nothing_is_staged_or_booted() -> None:
    node = Node()
    node.to_trial()
    assert seen(node.order(Action.STAGE, OLDER)) == (Phase.TRIAL, OrderResult.REFUSED.value, Code.IN_TRIAL.name)
    assert seen(node.order(Action.BOOT, OLDER)) == (Phase.TRIAL, OrderResult.REFUSED.value, Code.IN_TRIAL.name)
    assert seen(node.order(Action.BOOT)) == (Phase.TRIAL, OrderResult.DONE.value, "")
    assert seen(node.order(Action.STAGE, FACTORY)) == (Phase.TRIAL, OrderResult.DONE.value, "")


def test_a_trial_that_nobody_commits_goes_back() -> None:
    node = Node()
    first = node.agent.booted
    node.to_trial()
    assert node.after(599).phase == Phase.TRIAL
    node.after(1)
    assert node.is_away()
    back = node.after(90)
    assert seen(back) == (Phase.ROLLED_BACK, OrderResult.DONE.value, Code.NO_COMMIT_ORDER.name)
    assert node.agent.booted == dataclasses.replace(first, boot_id=node.agent.booted.boot_id)
    assert node.agent.booted.boot_id != first.boot_id
    assert (node.agent.standby.version, node.agent.standby.state) == ("v2", "failed")
    assert not node.agent.standby.good
    assert node.agent.boots == 2


def test_an_unhealthy_trial_goes_back_for_its_own_sake() -> None:
    node = Node(unhealthy=True)
    node.to_trial()
    assert conditions(node.after(10)) == {"Healthy": "False", "Consistent": "True", "PersistHealthy": "True"}
    node.order(Action.COMMIT, trial=node.proof)
    assert node.after(100).phase == Phase.TRIAL
    back = node.after(700)
    assert seen(back) == (Phase.ROLLED_BACK, OrderResult.FAILED.value, Code.TRIAL_RETURNED.name)


def test_a_trial_that_the_boot_loader_gives_up() -> None:
    node = Node(returns_in_old_slot=True)
    first = node.agent.booted
    back = node.to_trial()
    assert seen(back) == (Phase.ROLLED_BACK, OrderResult.FAILED.value, Code.TRIAL_RETURNED.name)
    assert node.agent.booted.slot == first.slot
    assert node.agent.booted.boot_id != first.boot_id
    assert node.agent.standby.state == "failed"
    node.agent.faults = Faults()
    node.order(Action.BOOT)
    assert node.after(91).phase == Phase.TRIAL


def test_a_rollback_leads_to_the_slot_before() -> None:
    node = Node()
    node.to_good()
    assert seen(node.order(Action.ROLLBACK)) == (Phase.BOOTING, OrderResult.RUNNING.value, "")
    back = node.after(91)
    assert seen(back) == (Phase.GOOD, OrderResult.DONE.value, "")
    assert node.agent.booted.version == "factory"
    assert node.agent.booted.committed
    assert (node.agent.standby.version, node.agent.standby.good) == ("v2", True)
    node.order(Action.ROLLBACK)
    assert node.after(91).booted == dataclasses.replace(
        node.agent.booted, version="v2", release=digest_of(NEW), root_hash=root_hash_of(NEW), slot="b"
    )


def test_a_rollback_out_of_a_trial() -> None:
    node = Node()
    node.to_trial()
    node.order(Action.ROLLBACK)
    back = node.after(91)
    assert seen(back) == (Phase.ROLLED_BACK, OrderResult.DONE.value, "")
    assert node.agent.booted.version == "factory"
    assert not node.agent.standby.good
    assert node.after(6000) == back


def test_no_rollback_to_what_was_never_good() -> None:
    node = Node()
    assert seen(node.order(Action.ROLLBACK)) == (Phase.GOOD, OrderResult.REFUSED.value, Code.NOT_GOOD.name)


def test_staging_that_fails_or_takes_too_long() -> None:
    node = Node(stage_error="SIGNATURE")
    node.order(Action.STAGE)
    assert seen(node.after(60)) == (Phase.FAILED, OrderResult.FAILED.value, "SIGNATURE")
    assert not node.agent.standby.complete
    node.agent.faults = Faults(slow_seconds=100)
    node.order(Action.STAGE, timeout="2m")
    assert node.after(119).phase == Phase.STAGING
    assert seen(node.after(1)) == (Phase.FAILED, OrderResult.FAILED.value, Code.TIMEOUT.name)
    node.agent.faults = Faults()
    node.order(Action.STAGE)
    assert seen(node.after(60)) == (Phase.STAGED, OrderResult.DONE.value, "")


def test_a_node_that_never_returns_and_then_does() -> None:
    node = Node(never_returns=True)
    assert node.to_trial().phase == Phase.BOOTING
    assert node.after(6000).phase == Phase.BOOTING
    assert node.is_away()
    assert node.agent.due is None
    node.agent.faults = Faults()
    node.agent.power_on()
    assert not node.is_away()
    assert node.agent.status.phase == Phase.TRIAL
    node.agent.power_on()
    assert node.agent.boots == 1


def test_another_root_than_was_staged() -> None:
    node = Node(wrong_root=True)
    node.to_trial()
    assert node.agent.booted.release == digest_of(NEW)
    assert node.agent.booted.root_hash != root_hash_of(NEW)


def test_a_reboot_that_nobody_ordered() -> None:
    node = Node()
    first = node.agent.booted
    node.order(Action.STAGE)
    node.after(30)
    node.agent.reboot()
    assert node.is_away()
    node.agent.reboot()
    assert seen(node.after(90)) == (Phase.STAGING, OrderResult.RUNNING.value, "")
    assert node.agent.booted == dataclasses.replace(first, boot_id=node.agent.booted.boot_id)
    assert node.agent.boots == 1
    assert seen(node.after(60)) == (Phase.STAGED, OrderResult.DONE.value, "")
    node.agent.reboot()
    assert seen(node.after(90)) == (Phase.STAGED, OrderResult.DONE.value, "")


def test_a_reboot_in_a_trial_is_the_end_of_it() -> None:
    node = Node()
    node.to_trial()
    node.agent.reboot()
    assert seen(node.after(90)) == (Phase.ROLLED_BACK, OrderResult.DONE.value, Code.TRIAL_RETURNED.name)
    assert node.agent.booted.version == "factory"


def test_its_clock_may_be_wrong() -> None:
    node = Node(clock_skew=3600)
    for condition in node.to_trial().conditions:
        assert condition.last_transition_time.startswith("2026-01-01T01:")


def test_it_goes_on_from_what_it_said() -> None:
    status = Node().to_good()
    assert SimAgent(status=status).status == status
