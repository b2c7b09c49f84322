"""Orders from their arrival to their end, over boots and interruptions, as a node carries them out."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.agent.daemon.daemon import Daemon
from proa.agent.install.install import plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.lock import held
from proa.agent.node.view import Context
from proa.agent.orders.plan import OrderStep
from proa.agent.orders.worker import IDLE, RETRY
from proa.agent.testing.node import known
from proa.agent.testing.orders import Site
from proa.agent.testing.world import World
from proa.agent.trial.health import Health
from proa.agent.verbs import verbs
from proa.core.orders.messages import NodeStatus
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Event, Progress
from proa.partition.boot.bootstate import Slot

HEALTHY = Health(())
OTHER = "sha256:" + "9" * 64


def refused(work: Callable[[], Any]) -> ProaError:
    with pytest.raises(ProaError) as caught:
        work()
    return caught.value


def result(status: NodeStatus) -> tuple[str, str]:
    """What became of the last order: the result, and the error's code."""
    assert status.observed_order
    return status.observed_order.result, status.last_error.code if status.last_error else ""


def done(status: NodeStatus) -> bool:
    return result(status) == ("Done", "")


class TestARollout:
    def test_from_stage_to_commit(self, site: Site) -> None:
        agent = site.agent()
        before = site.node.bytes_of(Slot.A)
        assert agent.status.phase == "Good"
        staged = agent.order(1, "Stage", site.new)
        assert (staged.phase, done(staged)) == ("Staged", True)
        assert staged.standby
        assert (staged.standby.release, staged.standby.complete, staged.standby.good) == (site.new, True, False)
        assert not site.node.state.on_trial, "nothing is armed by it"
        assert site.reboots == 0

        booting = agent.order(2, "Boot", site.new)
        assert (booting.phase, result(booting)) == ("Booting", ("Running", ""))
        assert (site.node.state.trial, site.node.state.left, site.reboots) == (Slot.B, 1, 1)

        assert site.reboot() is Slot.B
        agent = site.agent()
        trial = agent.work()
        assert (trial.phase, done(trial)) == ("Trial", True)
        assert trial.booted
        assert (trial.booted.release, trial.booted.committed) == (site.new, False)
        assert trial.standby
        assert trial.standby.good

        waits = agent.order(3, "Commit", trial=site.proof(trial))
        assert (waits.phase, result(waits)) == ("Trial", ("Running", ""))
        agent.health = HEALTHY
        good = agent.work()
        assert (good.phase, done(good)) == ("Good", True)
        assert good.booted
        assert good.booted.committed
        assert (site.node.state.good, site.node.state.alt) == (Slot.B, True)
        assert "stop proa-deadline.timer" in site.systemctl.calls
        assert site.node.bytes_of(Slot.A) == before

        assert done(agent.order(4, "Commit", trial=site.proof(good))), "it was done already"
        back = agent.order(5, "Rollback")
        assert (back.phase, result(back)) == ("Booting", ("Running", ""))
        assert site.reboot() is Slot.A
        agent = site.agent()
        assert (agent.work().phase, done(agent.status)) == ("Good", True)
        assert site.reboots == 2
        assert agent.work() == agent.status, "and nothing more is done"
        assert site.reboots == 2

    def test_what_the_agent_tells(self, site: Site) -> None:
        status = site.on_trial().status
        assert status.observed_order
        assert (status.observed_order.id, status.observed_order.action) == (2, "Boot")
        assert [(one.type, one.status) for one in status.conditions] == [("Healthy", "Unknown"), ("Consistent", "True")]
        assert status.agent


class TestTakingIn:
    def test_the_same_order_again_does_nothing(self, site: Site) -> None:
        agent = site.agent()
        first = agent.order(1, "Stage", site.new)
        record = site.node.paths.record.read_bytes()
        assert agent.order(1, "Stage", site.new) == first
        assert site.node.paths.record.read_bytes() == record

    def test_a_stale_one_changes_nothing(self, site: Site) -> None:
        agent = site.agent()
        agent.order(5, "None", fence=3)
        record = site.node.paths.record.read_bytes()
        for number, action, fence in ((6, "None", 2), (4, "None", 3), (5, "Rollback", 3), (5, "None", 4)):
            stale = site.order(number, action, fence=fence)
            assert refused(lambda one=stale: agent.worker.put(one)).code is Code.STALE_ORDER  # type: ignore[misc]  # bound
        assert site.node.paths.record.read_bytes() == record

    def test_it_is_remembered_over_boots_and_slots(self, site: Site) -> None:
        site.on_trial()
        site.reboot()
        assert refused(lambda: site.agent().worker.put(site.order(2, "None"))).code is Code.STALE_ORDER
        assert refused(lambda: site.agent().worker.put(site.order(3, "None", fence=0))).code is Code.STALE_ORDER

    @pytest.mark.parametrize(
        "changes",
        [{"action": "Dance"}, {"id": "1"}, {"id": True}, {"fence": None}, {"more": 1}, {"trial": {"more": 1}}],
    )
    def test_what_is_no_order_is_refused_as_a_whole(self, site: Site, changes: dict[str, Any]) -> None:
        assert refused(lambda: site.agent().worker.put(site.order(1, "None") | changes)).code is Code.CONFIG_VALUE
        assert site.node.record.order is None


class TestStage:
    def test_it_is_there_already(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.places.clear()
        assert done(agent.order(2, "Stage", site.new)), "nobody asked the registry"

    def test_the_good_slot_holds_it(self, site: Site) -> None:
        agent = site.agent()
        assert agent.status.booted
        assert agent.status.booted.release == "", "the factory leaves no name"
        status = agent.order(1, "Stage", site.factory)
        assert (done(status), status.phase) == (True, "Good")
        assert status.booted
        assert status.booted.release == site.factory
        assert verbs.scrub_slot(site.node.context, "a")["ok"], "its kernel image is known now, too"
        agent.places.clear()
        assert done(agent.order(2, "Stage", site.factory))

    def test_a_refusal_changes_nothing(self, site: Site) -> None:
        site.node.trust(compatible="other")
        before = site.node.part("ROOT-B").read_bytes()
        status = site.agent().order(1, "Stage", site.new)
        assert (result(status), status.phase) == (("Refused", "INCOMPATIBLE"), "Good")
        assert site.node.part("ROOT-B").read_bytes() == before

    def test_a_failure_after_the_first_byte(self, site: Site, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "bad", world.recipe("3", tree_of=world.image(5)))
        bad = plan_only(site.node.context, InstallOrder(reference))["release"]["manifest"]
        site.places[bad] = reference
        status = site.agent().order(1, "Stage", bad)
        assert (result(status), status.phase) == (("Failed", "VERITY"), "Failed")
        assert status.last_error
        assert "block" in status.last_error.message
        assert done(site.agent().order(2, "Stage", site.new)), "the next one begins anew"

    def test_a_registry_that_is_not_there(self, site: Site) -> None:
        assert result(site.agent().order(1, "Stage", OTHER)) == ("Refused", "FILE_MISSING")

    def test_in_a_trial(self, site: Site) -> None:
        agent = site.on_trial()
        assert result(agent.order(3, "Stage", OTHER)) == ("Refused", "IN_TRIAL")

    def test_a_lock_that_is_held_is_waited_for(self, site: Site) -> None:
        agent = site.agent()
        with held(site.node.paths.lock):
            assert result(agent.order(1, "Stage", site.new)) == ("Running", "")
        site.node.clock.at += RETRY
        assert done(agent.work())

    def test_another_job_is_waited_for(self, site: Site) -> None:
        agent = site.agent()
        ended = Cancel()
        agent.worker.feed.jobs.start("scrub", lambda _: {"ended": ended.wait(30)})
        agent.worker.put(site.order(1, "Stage", site.new))
        assert agent.worker.step() == RETRY
        ended.ask()
        assert done(agent.work())

    def test_progress_is_told(self, site: Site) -> None:
        told: list[NodeStatus] = []

        class Watcher:
            def emit(self, event: Event) -> None:
                if isinstance(event, Progress):
                    told.append(agent.status)

        agent = site.agent(monitors=[Watcher()])
        agent.order(1, "Stage", site.new)
        progress = [status.progress for status in told if status.progress]
        assert {status.phase for status in told} == {"Staging"}
        assert {one.step for one in progress} == {"tree -> b", "root -> b", "boot -> b"}
        assert {one.percent % 5 for one in progress} == {0}
        assert agent.status.progress is None

    @pytest.mark.parametrize("last", ["None", "Rollback", "Stage"])
    def test_a_later_order_stops_it(self, site: Site, last: str) -> None:
        def later() -> None:
            agent.worker.put(site.order(2, last, site.factory if last == "Stage" else ""))
            agent.worker.step()

        agent = site.agent(monitors=[Once(later)])
        status = agent.order(1, "Stage", site.new)
        expected = {"None": ("Done", ""), "Rollback": ("Refused", "NOT_GOOD"), "Stage": ("Done", "")}
        assert (status.observed_order and status.observed_order.id, result(status)) == (2, expected[last])
        assert site.node.view.slot_state(Slot.B).value == "partial"

    def test_a_later_order_for_the_same_release_takes_it_over(self, site: Site) -> None:
        agent = site.agent(monitors=[Once(lambda: agent.worker.put(site.order(2, "Stage", site.new, fence=4)))])
        installs: list[str] = []
        real = agent.worker.install

        def counted(context: Context, wanted: InstallOrder, begins: Callable[[], None]) -> dict[str, Any]:
            installs.append(wanted.reference)
            report: dict[str, Any] = real(context, wanted, begins)
            return report

        agent.worker.install = counted
        assert done(agent.order(1, "Stage", site.new))
        assert len(installs) == 1

    def test_its_time_is_up(self, site: Site) -> None:
        def later() -> None:
            site.node.clock.at += 61
            agent.worker.step()

        agent = site.agent(monitors=[Once(later)])
        status = agent.order(1, "Stage", site.new, timeout="1m")
        assert (result(status), status.phase) == (("Failed", "TIMEOUT"), "Failed")
        assert not site.node.record.slots[Slot.B].complete

    def test_a_person_cancels_it(self, site: Site) -> None:
        agent = site.agent(monitors=[Once(lambda: agent.worker.feed.jobs.cancel())])
        assert result(agent.order(1, "Stage", site.new)) == ("Failed", "CANCELLED")

    def test_a_stop_of_the_agent_is_no_end(self, site: Site) -> None:
        agent = site.agent(monitors=[Once(lambda: agent.worker.feed.jobs.cancel(Code.INTERRUPTED))])
        assert result(agent.order(1, "Stage", site.new)) == ("Running", "")
        assert done(site.agent().work())


class Once:
    """Does something once the root is being written."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.told = False

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress) and event.step.startswith("root") and not self.told:
            self.told = True
            self.work()


class TestBoot:
    def test_nothing_is_staged(self, site: Site) -> None:
        status = site.agent().order(1, "Boot", site.new)
        assert (result(status), status.phase) == (("Refused", "NOT_STAGED"), "Good")
        assert site.reboots == 0

    def test_something_else_is_staged(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        status = agent.order(2, "Boot", OTHER)
        assert result(status) == ("Refused", "NOT_STAGED")
        assert status.last_error
        assert site.new in status.last_error.message
        assert not site.node.state.on_trial

    def test_what_is_staged_was_altered(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        with site.node.part("UKI-B").open("r+b") as file:
            file.seek(200_000)
            file.write(b"rot")
        status = agent.order(2, "Boot", site.new)
        assert result(status) == ("Refused", "NOT_STAGED")
        assert status.standby
        assert not status.standby.complete, "so that it is staged anew"
        assert done(agent.order(3, "Stage", site.new))

    def test_what_runs_already_is_done(self, site: Site) -> None:
        agent = site.on_trial()
        assert done(agent.order(3, "Boot", site.new))
        assert site.reboots == 1

    def test_it_comes_back(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new)
        assert site.reboot(agent=False) is Slot.B
        assert site.reboot() is Slot.A
        agent = site.agent()
        status = agent.work()
        assert (result(status), status.phase) == (("Failed", "TRIAL_RETURNED"), "RolledBack")
        assert status.last_error
        assert "never came as far as its agent; 1 of 1 tries used" in status.last_error.message
        assert site.reboots == 1

        again = agent.order(3, "Stage", site.new)
        assert (again.observed_order and again.observed_order.result, again.phase) == ("Done", "RolledBack")
        assert result(agent.order(4, "Boot", site.new)) == ("Running", ""), "it may be tried again"
        assert site.reboot() is Slot.B
        assert done(site.agent().work())

    def test_failed_units_are_named_when_the_trial_was_not_healthy(self, site: Site) -> None:
        site.on_trial()
        site.systemctl.answer("is-system-running", "degraded\n", 1)
        site.systemctl.answer("list-units", "bad.service loaded failed failed Bad thing\n")
        site.systemctl.answer("show", "exit-code\n")
        site.node.write("etc/proa/agent.toml", "[health]\ninterval = 270\n")
        Daemon(site.node.context).watch_trial()
        assert site.reboot() is Slot.A
        status = site.agent().work()
        assert (result(status), status.phase) == (("Done", "TRIAL_RETURNED"), "RolledBack")
        assert status.last_error
        assert "bad.service" in status.last_error.message

    def test_its_time_is_up_before_the_reboot(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new, timeout="5m")
        site.node.clock.at += 301
        status = agent.work()
        assert (result(status), status.phase) == (("Failed", "TIMEOUT"), "Failed")
        assert not site.node.state.on_trial, "the next reboot tries nothing"

    def test_a_reboot_that_does_not_come_is_ordered_again(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new)
        agent.work()
        assert site.reboots == 1
        site.node.clock.at += IDLE
        agent.work()
        assert site.reboots == 2

    def test_a_reboot_that_cannot_be_ordered_is_tried_again(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        site.systemctl.answer("reboot", "no\n", 1)
        agent.worker.put(site.order(2, "Boot", site.new))
        assert agent.worker.step() == 0.0
        assert refused(agent.worker.step).code is Code.TOOL
        site.systemctl.answer("reboot", "")
        assert result(agent.work()) == ("Running", "")

    def test_power_lost_while_arming(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        before = site.node.part("STATE").read_bytes()
        agent.order(2, "Boot", site.new)
        site.node.part("STATE").write_bytes(before)
        assert site.reboot() is Slot.A
        assert result(site.agent().work()) == ("Running", ""), "it was never tried"
        assert site.reboot() is Slot.B
        assert done(site.agent().work())


class TestCommit:
    def test_another_trial_is_meant(self, site: Site) -> None:
        agent = site.on_trial()
        agent.health = HEALTHY
        right = site.proof(agent.status)
        for number, wrong in enumerate(({"bootID": "boot-0"}, {"rootHash": "0" * 64}), 3):
            assert result(agent.order(number, "Commit", trial=right | wrong)) == ("Refused", "STALE_ORDER")
        assert site.node.state.on_trial

    def test_no_trial_runs(self, site: Site) -> None:
        agent = site.agent()
        status = agent.order(1, "Commit", trial={"bootID": "boot-1", "rootHash": "0" * 64})
        assert result(status) == ("Refused", "NO_TRIAL")

    def test_the_checks_may_be_faster(self, site: Site) -> None:
        agent = site.on_trial()
        agent.order(3, "Commit", trial=site.proof(agent.status))
        Daemon(site.node.context).watch_trial()
        assert done(agent.work())

    def test_it_is_committed_in_the_moment_in_which_somebody_else_does(self, site: Site) -> None:
        """The look and the lock are two moments."""
        agent = site.on_trial()
        agent.worker.put(site.order(3, "Commit", trial=site.proof(agent.status)))
        agent.health = HEALTHY
        view = site.node.view
        verbs.commit(site.node.context)
        assert agent.worker._try(known(site.node.record.order), view, OrderStep.COMMIT) == 0.0
        assert done(agent.work())

    def test_its_time_is_up_and_the_trial_goes_on(self, site: Site) -> None:
        agent = site.on_trial()
        agent.order(3, "Commit", trial=site.proof(agent.status), timeout="2m")
        site.node.clock.at += 121
        status = agent.work()
        assert (result(status), status.phase) == (("Failed", "TIMEOUT"), "Trial")
        assert site.node.state.on_trial

    def test_the_trial_comes_back_meanwhile(self, site: Site) -> None:
        agent = site.on_trial()
        agent.order(3, "Commit", trial=site.proof(agent.status))
        assert site.reboot() is Slot.A
        assert result(site.agent().work()) == ("Failed", "TRIAL_RETURNED")


class TestRollback:
    def test_a_trial_is_given_up(self, site: Site) -> None:
        agent = site.on_trial()
        assert result(agent.order(3, "Rollback")) == ("Running", "")
        assert site.reboot() is Slot.A
        status = site.agent().work()
        assert (done(status), status.phase) == (True, "RolledBack")
        assert site.reboots == 2

    def test_there_is_nothing_to_go_back_to(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        status = agent.order(2, "Rollback")
        assert (result(status), status.phase) == (("Refused", "NOT_GOOD"), "Staged")
        assert site.reboots == 0

    def test_the_other_slot_is_damaged(self, site: Site) -> None:
        agent = site.committed()
        with site.node.part("ROOT-A").open("r+b") as file:
            file.write(b"rot" * 2000)
        assert result(agent.order(4, "Rollback")) == ("Refused", "NOT_GOOD")
        assert site.node.state.good is Slot.B
        assert agent.status.standby
        assert not agent.status.standby.good

    def test_it_cannot_be_loaded(self, site: Site) -> None:
        """GRUB boots the slot from before, and the agent mends the state: there is nothing to go back to any more."""
        agent = site.committed()
        agent.order(4, "Rollback")
        site.node.boot(Slot.B)
        shutil.rmtree(site.node.paths.run)
        site.node.boot(Slot.B)
        site.node.reconcile()
        assert result(site.agent().work()) == ("Failed", "NOT_GOOD")
        assert site.node.state.good is Slot.B

    def test_only_the_reboot_is_left(self, site: Site) -> None:
        agent = site.committed()
        verbs.rollback(site.node.context)
        state = site.node.states.read()
        assert result(agent.order(4, "Rollback")) == ("Running", "")
        assert (site.node.states.read(), site.reboots) == (state, 2)


class TestNone:
    def test_an_armed_trial_is_taken_back(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new)
        status = agent.order(3, "None")
        assert (done(status), status.phase) == (True, "Staged")
        assert site.reboot() is Slot.A
        assert (site.node.record.returned, site.agent().work().phase) == (None, "Staged")

    def test_a_trial_that_runs_cannot(self, site: Site) -> None:
        agent = site.on_trial()
        status = agent.order(3, "None")
        assert (done(status), status.phase) == (True, "Trial")


def test_a_defect_does_not_end_the_desk(site: Site) -> None:
    agent = site.agent()
    agent.worker.put(site.order(1, "None"))
    asked = []

    def settled() -> bool:
        asked.append(1)
        agent.cancel.ask()  # so that nobody waits for the next try
        raise ZeroDivisionError("oh")

    agent.worker.settled = settled
    agent.worker.run()
    assert asked == [1]
    assert "INTERNAL: ZeroDivisionError: oh" in str(site.node.events.events)


def test_the_desk_works_until_the_bell_is_closed(site: Site) -> None:
    agent = site.agent()
    thread = threading.Thread(target=agent.worker.run)
    thread.start()
    agent.worker.put(site.order(1, "Stage", site.new))
    for status in agent.worker.feed.follow():
        if status and done(status):
            break
    agent.changed.close()
    thread.join(30)
    assert not thread.is_alive()
