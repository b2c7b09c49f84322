"""The agent is killed at each of its writes for an order, and comes to the same end: for real, as a process."""

from __future__ import annotations

import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proa.agent.testing.node import Node, known
from proa.agent.testing.orders import Site
from proa.agent.testing.results import done, result
from proa.agent.testing.world import World
from proa.agent.trial.health import HealthReport
from proa.agent.trial.reconcile import reconcile
from proa.agent.verbs import verbs
from proa.core.orders.messages import NodeStatus
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot

pytestmark = pytest.mark.contract

HEALTHY = HealthReport(())


class TestKilled:
    """The agent dies before or after each of its writes, is started again, and comes to the same end."""

    def killed_at(self, number: int, work: Callable[[], object]) -> bool:
        """Work in a process that dies at its so-manieth flush; whether it came to its end before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child uses none of ours
            child = os.fork()
        if child == 0:
            count, real = 0, os.fsync

            def dying(handle: Any) -> None:
                nonlocal count
                count += 1
                if count == number:
                    os._exit(9)
                real(handle)

            try:
                os.fsync = dying  # type: ignore[assignment]  # in the child alone
                work()
                os._exit(0)
            except BaseException:  # noqa: BLE001 -- it must not go on as a second run of the tests
                traceback.print_exc()
                os._exit(3)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9)
        return status == 0

    def to_the_end(self, site: Site, given: dict[str, Any], before: int) -> NodeStatus:
        """What follows: the agent starts again, the order is given again, the machine reboots when that was ordered."""
        for _ in range(4):
            reconcile(site.node.context)
            agent = site.agent(health=HEALTHY)
            agent.worker.put(given)
            status: NodeStatus = agent.work()
            if result(status)[0] != "Running":
                return status
            assert site.reboots > before, status
            before = site.reboots
            site.reboot(agent=False)
        raise AssertionError(status)

    def every_kill(self, site: Site, given: dict[str, Any]) -> Iterator[tuple[int, NodeStatus, int]]:
        """Kill the agent at each of its writes for an order, in this boot: the number of the kill, how it ended all the
        same, and how often the boot state was changed by then."""
        saved = Saved(site.node)
        for number in range(1, 60):
            saved.restore()
            seq, reboots = site.node.state.seq, site.reboots

            def work() -> None:
                reconcile(site.node.context)
                agent = site.agent(health=HEALTHY)
                agent.worker.put(given)
                agent.work()

            ended = self.killed_at(number, work)
            status = self.to_the_end(site, given, reboots)
            yield number, status, site.node.state.seq - seq
            if ended:
                return
        raise AssertionError("it never comes to its end")

    def test_stage(self, site: Site, world: World) -> None:
        good = site.node.bytes_of(Slot.A)
        for number, status, changes in self.every_kill(site, site.order(1, "Stage", site.new)):
            assert done(status), number
            assert status.standby
            assert (status.standby.release, status.standby.complete) == (site.new, True)
            assert verbs.scrub_slot(site.node.context, "b").ok
            assert changes <= 2, "the standby is disarmed by each install, of which there are two at most"
            assert site.node.bytes_of(Slot.A) == good
        assert number > 6

    def test_stage_of_what_is_good(self, site: Site) -> None:
        for number, status, changes in self.every_kill(site, site.order(1, "Stage", site.factory)):
            assert done(status), number
            assert status.booted
            assert (status.booted.release, changes) == (site.factory, 0)

    def test_boot(self, site: Site) -> None:
        site.agent().order(1, "Stage", site.new)
        for number, status, changes in self.every_kill(site, site.order(2, "Boot", site.new)):
            assert (done(status), status.phase) == (True, "Trial"), number
            assert (site.node.state.left, changes) == (0, 1), "armed once, for one try"
        assert number > 6

    def test_boot_in_the_trial(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new)
        site.reboot(agent=False)
        for _, status, changes in self.every_kill(site, site.order(2, "Boot", site.new)):
            assert (done(status), changes) == (True, 0)

    def test_boot_after_the_return(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new)
        assert [site.reboot(agent=False), site.reboot(agent=False)] == [Slot.B, Slot.A]
        for number, status, changes in self.every_kill(site, site.order(2, "Boot", site.new)):
            assert (result(status), status.phase) == (("Failed", "TRIAL_RETURNED"), "RolledBack"), number
            assert changes == 1, "what is left of the trial is retired"

    def test_commit(self, site: Site) -> None:
        agent = site.on_trial()
        for number, status, changes in self.every_kill(site, site.order(3, "Commit", trial=site.proof(agent.status))):
            assert (done(status), status.phase) == (True, "Good"), number
            assert (site.node.state.good, changes) == (Slot.B, 1)
            assert site.systemctl.calls[-1] != "reboot"
        assert number > 6

    def test_commit_with_a_reboot_at_the_kill(self, site: Site) -> None:
        """The power fails with it: committed or come back, and the order says which."""
        agent = site.on_trial()
        given = site.order(3, "Commit", trial=site.proof(agent.status))
        ends = set()
        saved = Saved(site.node)
        for number in range(1, 60):
            saved.restore()

            def work() -> None:
                again = site.agent(health=HEALTHY)
                again.worker.put(given)
                again.work()

            if self.killed_at(number, work):
                break
            slot = site.reboot()
            remembered = known(site.node.record.order).order.id == 3
            status = site.agent(health=HEALTHY).work()
            assert status.booted
            assert status.booted.committed
            assert status.booted.slot == slot.value
            if remembered:
                assert result(status) == (("Done", "") if slot is Slot.B else ("Failed", "TRIAL_RETURNED")), number
            ends.add((slot, remembered))
        assert ends == {(Slot.A, False), (Slot.A, True), (Slot.B, True)}

    @pytest.mark.parametrize("committed", [True, False])
    def test_rollback(self, site: Site, committed: bool) -> None:
        site.committed() if committed else site.on_trial()
        for number, status, changes in self.every_kill(site, site.order(4, "Rollback")):
            assert done(status), number
            assert (site.node.booted, site.node.state.good, changes) == (Slot.A, Slot.A, 1)

    def test_none(self, site: Site) -> None:
        agent = site.agent()
        agent.order(1, "Stage", site.new)
        agent.order(2, "Boot", site.new)
        for number, status, changes in self.every_kill(site, site.order(3, "None")):
            assert (done(status), changes) == (True, 1), number
            assert not site.node.state.on_trial


class Saved:
    """What a node is before the agent is killed, to come back to."""

    CHANGING = ("STATE", "ROOT-B", "UKI-B", "root")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.folder = node.folder.with_name("saved")
        self.booted, self.boots = node.booted, node.boots
        self.folder.mkdir()
        for name in self.CHANGING:
            run(["cp", "--archive", node.folder / name, self.folder])

    def restore(self) -> None:
        shutil.rmtree(self.node.folder / "root")
        for name in self.CHANGING:
            run(["cp", "--archive", self.folder / name, self.node.folder])
        self.node.booted, self.node.boots = self.booted, self.boots
        self.node.__dict__.pop("context", None)
