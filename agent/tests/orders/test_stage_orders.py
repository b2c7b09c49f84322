"""Orders to stage a release: what ends them, what they wait for, and what a later order does to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from proa.agent.install.install import plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.lock import held
from proa.agent.node.reports import Installed, StartedJob
from proa.agent.node.view import Context
from proa.agent.orders.worker import RETRY
from proa.agent.testing.orders import Site
from proa.agent.testing.results import OTHER, done, result
from proa.agent.testing.world import World
from proa.agent.verbs import verbs
from proa.core.orders.messages import NodeStatus
from proa.core.runtime.errors import Code
from proa.core.runtime.events import Event, Progress
from proa.partition.boot.bootstate import Slot


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
        assert verbs.scrub_slot(site.node.context, "a").ok, "its kernel image is known now, too"
        agent.places.clear()
        assert done(agent.order(2, "Stage", site.factory))

    @pytest.mark.parametrize("rate", [0, 1 << 20])
    def test_it_fetches_at_the_rate_of_its_order(self, site: Site, rate: int) -> None:
        agent, asked = site.agent(), []
        install = agent.worker.install

        def watched(context: Context, order: InstallOrder, begins: Callable[[], None]) -> Installed:
            asked.append(order.rate)
            return install(context, order, begins)

        agent.worker.install = watched
        assert done(agent.order(1, "Stage", site.new, **({"bytesPerSecond": rate} if rate else {})))
        assert asked == [rate]

    def test_a_refusal_changes_nothing(self, site: Site) -> None:
        site.node.trust(compatible="other")
        before = site.node.part("ROOT-B").read_bytes()
        status = site.agent().order(1, "Stage", site.new)
        assert (result(status), status.phase) == (("Refused", "INCOMPATIBLE"), "Good")
        assert site.node.part("ROOT-B").read_bytes() == before

    def test_a_failure_after_the_first_byte(self, site: Site, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "bad", world.recipe("3", tree_of=world.image(5)))
        bad = plan_only(site.node.context, InstallOrder(reference)).release.manifest
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
        agent.worker.feed.jobs.start("scrub", lambda _: StartedJob(int(ended.wait(300))))
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

        def counted(context: Context, wanted: InstallOrder, begins: Callable[[], None]) -> Installed:
            installs.append(wanted.reference)
            return real(context, wanted, begins)

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
