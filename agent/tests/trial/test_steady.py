"""Healthy is who stays so for a time: crash loops between two looks, restarts, and what is told of it (n12)."""

from __future__ import annotations

import pytest

from proa.agent.cli.text import describe_status
from proa.agent.daemon.daemon import Daemon
from proa.agent.node.failure import HealthFailure
from proa.agent.node.paths import Paths
from proa.agent.node.settings import HealthSettings
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import healthy, watch
from proa.agent.trial.health import HealthReport, check_health, failed_units
from proa.agent.trial.steady import Steadiness
from proa.agent.verbs.status import status
from proa.core.runtime.clock import VirtualClock
from proa.partition.boot.bootstate import Slot

WELL = HealthReport(())
ILL = HealthReport((HealthFailure("unit x", "failed"),))


def restarts(**counts: int) -> HealthReport:
    return HealthReport((), restarts={f"{name}.service": count for name, count in counts.items()})


def test_n12_one_look_is_no_health() -> None:
    clock = VirtualClock()
    steady = Steadiness(clock, 60.0)
    for _ in range(12):
        report = steady.judge(WELL)
        assert (report.healthy, report.waiting) == (False, True)
        clock.sleep(5)
    assert steady.judge(WELL).healthy


def test_n12_whatever_goes_wrong_begins_the_time_anew() -> None:
    clock = VirtualClock()
    steady = Steadiness(clock, 60.0)
    for _ in range(3):
        assert not steady.judge(WELL).healthy
        clock.sleep(59)
        assert not steady.judge(ILL).waiting
        clock.sleep(2)
    steady.judge(WELL)
    clock.sleep(60)
    assert steady.judge(WELL).healthy


def test_n12_a_service_that_loops_between_the_looks_is_seen_by_its_restarts() -> None:
    clock = VirtualClock()
    steady = Steadiness(clock, 60.0)
    for count in range(100):
        report = steady.judge(restarts(loops=count // 5, runs=3))
        clock.sleep(5)
        assert not report.healthy
    seen = steady.seen(report, "2026-01-01T00:00:00+00:00")
    assert (seen.restarts, seen.services) == ({"loops.service": 19}, 2)


def test_n12_restarts_before_the_watch_and_counters_that_were_reset_are_none() -> None:
    clock = VirtualClock()
    steady = Steadiness(clock, 10.0)
    for count in (7, 7, 0, 0):
        report = steady.judge(restarts(early=count))
        clock.sleep(5)
    assert report.healthy
    assert not steady.judge(restarts(early=1)).healthy


def test_n12_with_no_time_asked_for_one_look_is_enough() -> None:
    assert Steadiness(VirtualClock(), 0.0).judge(WELL).healthy


@pytest.mark.parametrize(
    ("deadline", "seconds", "wanted"), [(0.0, 60.0, 60.0), (100.0, 60.0, 50.0), (1000.0, 5.0, 5.0), (0.0, 900.0, 270.0)]
)
def test_n12_the_time_fits_into_the_deadline(paths: Paths, deadline: float, seconds: float, wanted: float) -> None:
    assert HealthSettings(deadline=deadline, seconds=seconds).resolved(paths).seconds == wanted


@pytest.fixture
def paths(node: Node) -> Paths:
    return node.paths


class TestTrial:
    """A trial of the real daemon, on a virtual clock."""

    def test_n12_it_is_committed_after_the_time_not_before(self, trial: Node, systemctl: Systemctl) -> None:
        trial.write("etc/proa/agent.toml", "[health]\nseconds = 60\n")
        watch(trial)
        assert trial.state.good is Slot.B
        assert 60 <= trial.clock.at < 80

    def test_n12_a_unit_that_crash_loops_is_never_committed(self, trial: Node, systemctl: Systemctl) -> None:
        trial.write("etc/proa/agent.toml", "[health]\nseconds = 60\ninterval = 20\n")
        systemctl.restarts(loop=0)

        def crash(seconds: float) -> None:
            trial.clock.pass_by(seconds)
            systemctl.restarts(loop=int(trial.clock.at / 30))

        trial.clock.instead = crash
        watch(trial)
        assert trial.state.good is Slot.A
        trial.clock.instead = None
        assert trial.reboot() is Slot.A
        assert trial.returned.cause == "unhealthy"
        assert "loop.service" in trial.returned.reason

    def test_n12_a_service_that_was_restarted_once_only_takes_longer(self, trial: Node, systemctl: Systemctl) -> None:
        trial.write("etc/proa/agent.toml", "[health]\nseconds = 60\n")
        systemctl.restarts(once=0)

        def crash(seconds: float) -> None:
            trial.clock.pass_by(seconds)
            systemctl.restarts(once=int(trial.clock.at > 40))

        trial.clock.instead = crash
        watch(trial)
        assert trial.state.good is Slot.B
        assert trial.clock.at > 100

    @pytest.mark.parametrize("result", ["exit-code", "signal", "watchdog", "start-limit-hit"])
    @pytest.mark.parametrize("state", ["auto-restart", "auto-restart-queued"])
    def test_n12_a_crash_loop_that_is_slower_than_the_watch_is_seen(
        self, trial: Node, systemctl: Systemctl, state: str, result: str
    ) -> None:
        """With RestartSec=10min nothing is failed, and nothing is restarted, for all of a watch of a minute."""
        systemctl.services(slow=f"NRestarts=0\nSubState={state}\nResult={result}", fine="NRestarts=0\nSubState=running")
        (failure,) = check_health(trial.paths, HealthSettings()).failures
        assert failure.what == "unit slow.service"
        assert failure.why == f"failed ({result}) and waits for systemd to restart it"
        assert not failure.waiting

    @pytest.mark.parametrize("one", ["SubState=auto-restart\nResult=success", "SubState=running\nResult=exit-code"])
    def test_n12_a_service_that_ends_well_and_begins_again_is_no_crash_loop(
        self, trial: Node, systemctl: Systemctl, one: str
    ) -> None:
        systemctl.services(periodic=f"NRestarts=0\n{one}")
        assert check_health(trial.paths, HealthSettings()).healthy

    def test_n12_a_crash_loop_that_was_there_before_the_upgrade_is_not_the_releases(
        self, trial: Node, systemctl: Systemctl
    ) -> None:
        systemctl.services(slow="NRestarts=0\nSubState=auto-restart\nResult=exit-code")
        assert check_health(trial.paths, HealthSettings(ignore=("slow.service",))).healthy
        assert check_health(trial.paths, HealthSettings(), failed_units()).healthy

    def test_n12_restarts_of_a_unit_that_is_ignored_do_not_count(self, trial: Node, systemctl: Systemctl) -> None:
        settings = HealthSettings(ignore=("loop.service",))
        systemctl.restarts(loop=5, other=2)
        assert check_health(trial.paths, settings).restarts == {"other.service": 2}

    def test_n12_restarts_that_cannot_be_counted_are_not_healthy(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("restarts", "", 1)
        (failure,) = check_health(trial.paths, HealthSettings()).failures
        assert failure.what == "system"

    def test_n12_what_was_looked_at_stands_in_the_status(self, trial: Node, systemctl: Systemctl) -> None:
        assert status(trial.context).health is None
        trial.write("usr/lib/proa/health.d/10-net", "#!/bin/sh\nexit 0\n", 0o755)
        trial.write("etc/proa/agent.toml", '[health]\nunits = ["ssh.service"]\nseconds = 10\n')
        systemctl.answer("is-active", "active\n")
        systemctl.restarts(ssh=0, cron=0)
        watch(trial)
        told = status(trial.context)
        seen = told.health
        assert seen is not None
        assert (seen.units, seen.checks, seen.services) == (("ssh.service",), ("10-net",), 2)
        assert (seen.healthy, seen.wanted, seen.failures) == (True, 10.0, ())
        assert seen.steady >= 10
        assert "looked at 1 required units, 2 services, 1 checks" in describe_status(told)
        trial.reboot()
        assert status(trial.context).health is None, "it is about one boot"

    def test_n12_the_cluster_hears_of_health_after_the_same_time(self, trial: Node, systemctl: Systemctl) -> None:
        trial.write("etc/proa/agent.toml", '[cluster]\ncommit = "order"\n[health]\nseconds = 60\ninterval = 20\n')
        daemon = Daemon(trial.context)
        heard = list[tuple[float, bool]]()

        def look(seconds: float) -> None:
            if daemon.health:
                heard.append((trial.clock.at, daemon.health.healthy))
            trial.clock.pass_by(seconds)

        trial.clock.instead = look
        healthy(systemctl)
        daemon.watch_trial()
        assert all(well is (at >= 60) for at, well in heard)
        assert any(well for _, well in heard)
