"""Orders from their arrival to their end, over boots and interruptions, as a node carries them out."""

from __future__ import annotations

import shutil
import threading
from typing import Any

import pytest

from proa.agent.daemon.daemon import Daemon
from proa.agent.orders.plan import OrderStep
from proa.agent.orders.worker import OrderWorker
from proa.agent.testing.node import known
from proa.agent.testing.orders import Site
from proa.agent.testing.results import done, refused, result
from proa.agent.trial.health import HealthReport
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code
from proa.partition.boot.bootstate import Slot

HEALTHY = HealthReport(())


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
        told = [(one.type, one.status) for one in status.conditions]
        assert told == [("Healthy", "Unknown"), ("Consistent", "True"), ("PersistHealthy", "True")]
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

    def test_one_that_comes_while_another_ends_is_not_ended_with_it(self, site: Site) -> None:
        agent = site.agent()
        newer = [site.order(2, "Stage", site.new)]

        def meanwhile() -> bool:
            if newer:
                worker.put(newer.pop())
            return True

        worker = OrderWorker(agent.worker.feed, settled=meanwhile, install=agent.install)
        worker.put(site.order(1, "None"))
        worker.step()
        kept = site.node.record.order
        assert kept
        assert (kept.order.id, kept.running) == (2, True)

    @pytest.mark.parametrize(
        "changes",
        [{"action": "Dance"}, {"id": "1"}, {"id": True}, {"fence": None}, {"more": 1}, {"trial": {"more": 1}}],
    )
    def test_what_is_no_order_is_refused_as_a_whole(self, site: Site, changes: dict[str, Any]) -> None:
        assert refused(lambda: site.agent().worker.put(site.order(1, "None") | changes)).code is Code.CONFIG_VALUE
        assert site.node.record.order is None


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
    thread.join(300)
    assert not thread.is_alive()
