"""Orders to boot what is staged, over interruptions and lost power."""

from __future__ import annotations

from datetime import timedelta

import pytest

from proa.agent.daemon.daemon import Daemon
from proa.agent.orders.worker import IDLE
from proa.agent.testing.orders import Site
from proa.agent.testing.results import OTHER, done, refused, result
from proa.core.runtime.errors import Code
from proa.partition.boot.bootstate import Slot


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
        assert "never reached its agent; 1 of 1 attempts used" in status.last_error.message
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

    @pytest.mark.parametrize("years", [-25, 25])
    def test_n11_a_clock_that_jumps_neither_ends_nor_prolongs_it(self, site: Site, years: int) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        before = site.node.part("STATE").read_bytes()
        agent.order(2, "Boot", site.new, timeout="5m")
        for spent in (0, 200):
            site.node.part("STATE").write_bytes(before)  # power lost while arming
            site.node.clock.start += timedelta(days=365 * years)
            assert site.reboot() is Slot.A
            site.node.clock.at += spent
            assert result(site.agent().work()) == ("Running", "")
        site.node.clock.at += 59  # 20 s of the boot before, and 279 s of this one
        assert result(site.agent().work()) == ("Running", "")
        site.node.clock.at += 2
        assert result(site.agent().work()) == ("Failed", "TIMEOUT")

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
