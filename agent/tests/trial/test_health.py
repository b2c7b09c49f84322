"""Health: what systemd says, and checks of every ill behaviour (F44)."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from proa.agent.node.paths import Paths
from proa.agent.node.settings import HealthSettings
from proa.agent.testing.systemctl import Systemctl
from proa.agent.trial.health import MAX_FAILURES, OUTPUT_LIMIT, HealthReport, check_health, unit_failures

SETTINGS = HealthSettings(check_limit=300)
SHIPPED = Path(__file__).parents[2] / "proa/agent/health.d"


@pytest.fixture
def paths(tmp_path: Path, systemctl: Systemctl) -> Paths:
    return Paths(tmp_path / "root")


def add(paths: Paths, script: str, name: str = "check", *, own: bool = True, mode: int = 0o755) -> Path:
    check = paths.health[own] / name
    check.parent.mkdir(parents=True, exist_ok=True)
    check.write_text(f"#!/bin/sh\n{script}\n")
    check.chmod(mode)
    return check


def has_ended(process: int) -> bool:
    """Whether a process is gone, or goes; it is waited for."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 300)[0])
    finally:
        os.close(handle)


def failures(paths: Paths, settings: HealthSettings = SETTINGS) -> list[tuple[str, str]]:
    return [(failure.what, failure.why) for failure in check_health(paths, settings).failures]


def test_a_node_without_checks_is_healthy_when_systemd_is(paths: Paths) -> None:
    health = check_health(paths, SETTINGS)
    assert health.healthy
    assert health.summary == "healthy"


@pytest.mark.parametrize("state", ["initializing", "starting"])
def test_a_system_that_starts_is_waited_for(paths: Paths, systemctl: Systemctl, state: str) -> None:
    systemctl.answer("is-system-running", f"{state}\n", 1)
    (failure,) = unit_failures(SETTINGS)
    assert failure.waiting


@pytest.mark.parametrize("state", ["maintenance", "stopping", "offline", "unknown", ""])
def test_any_other_state_is_not_healthy(paths: Paths, systemctl: Systemctl, state: str) -> None:
    systemctl.answer("is-system-running", f"{state}\n", 1)
    assert failures(paths) == [("system", f"is in state '{state}'")]


def test_failed_units_by_name_and_result(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "a.service loaded failed failed A\nb.mount loaded failed failed B\n")
    systemctl.answer("show", "exit-code\n\ntimeout\n")
    assert failures(paths) == [("unit a.service", "failed (exit-code)"), ("unit b.mount", "failed (timeout)")]
    ignoring = HealthSettings(ignore=("a.service", "b.mount"))  # systemd calls it degraded all the same
    assert failures(paths, ignoring) == []


def test_degraded_without_a_failed_unit_is_not_healthy(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "degraded\n", 1)
    assert failures(paths) == [("system", "is degraded, but no failed unit is named")]


def test_a_list_of_failed_units_that_cannot_be_had_is_not_healthy(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("list-units", "", 1)
    ((what, why),) = failures(paths)
    assert what == "system"
    assert "exited with status 1" in why


def test_required_units(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-active", "active\nactivating\ninactive\n", 3)
    found = unit_failures(HealthSettings(units=("a", "b", "c")))
    assert [(failure.what, failure.waiting) for failure in found] == [("unit b", True), ("unit c", False)]
    assert HealthReport(tuple(found[:1])).waiting
    assert not HealthReport(tuple(found)).waiting
    assert not HealthReport(()).waiting


def test_systemctl_that_is_missing_is_not_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin")
    (failure,) = unit_failures(SETTINGS)
    assert "systemctl" in failure.why


def test_checks_of_the_release_and_of_the_owner_in_order(paths: Paths, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name, own in (("20-b", False), ("10-a", False), ("05-c", True)):
        add(paths, f"echo {name} >>{log}", name, own=own)
    add(paths, f"echo hidden >>{log}", ".hidden")
    assert failures(paths) == []
    assert log.read_text().split() == ["10-a", "20-b", "05-c"]


def test_checks_are_not_run_while_units_fail(paths: Paths, systemctl: Systemctl, tmp_path: Path) -> None:
    add(paths, f"touch {tmp_path}/ran")
    systemctl.answer("is-system-running", "starting\n", 1)
    check_health(paths, SETTINGS)
    assert not (tmp_path / "ran").exists()


def test_f44_exit_status_and_output(paths: Paths) -> None:
    add(paths, "echo broken; echo badly >&2; exit 3")
    (failure,) = check_health(paths, SETTINGS).failures
    assert (failure.what, failure.why, failure.output) == ("check check", "exited with status 3", "broken\nbadly")


@pytest.mark.parametrize(("status", "final"), [(1, False), (99, False), (100, True), (101, False)])
def test_a_check_says_by_its_status_that_no_later_look_is_better(paths: Paths, status: int, final: bool) -> None:
    add(paths, f"exit {status}", "10-first")
    add(paths, "exit 1", "20-second")
    report = check_health(paths, SETTINGS)
    assert (report.final, report.healthy, len(report.failures)) == (final, False, 2)


def test_f44_killed_by_a_signal(paths: Paths) -> None:
    add(paths, "kill -SEGV $$")
    assert failures(paths) == [("check check", "was killed by signal 11")]


def test_f44_a_check_that_hangs_is_ended_with_all_it_started(paths: Paths, tmp_path: Path) -> None:
    add(paths, f"sleep 600 & echo $! >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/child; wait")
    limit = 0.15
    while not (tmp_path / "child").exists():  # on a busy machine it takes a while to start one
        limit *= 2
        health = check_health(paths, HealthSettings(check_limit=limit))
        (failure,) = health.failures
        assert failure.what == "check check"
        assert f"did not finish within {limit:g} s" in failure.why
        assert health.waiting, "a limit that passed is no verdict: the machine may be slow"
    assert has_ended(int((tmp_path / "child").read_text()))


def test_f44_a_daemon_that_is_left_behind_is_not_waited_for(paths: Paths, tmp_path: Path) -> None:
    left = tmp_path / "left"
    add(paths, f"setsid sleep 600 & echo $! >{left}")
    assert failures(paths) == []
    daemon = int(left.read_text())
    os.kill(daemon, signal.SIGKILL)  # it is still there


def test_f44_much_output_of_any_bytes(paths: Paths) -> None:
    add(paths, "head -c 20000000 /dev/zero; printf 'end \\377'; exit 1")
    (failure,) = check_health(paths, SETTINGS).failures
    assert len(failure.output) <= OUTPUT_LIMIT
    assert failure.output.endswith("end \N{REPLACEMENT CHARACTER}")


def test_f44_a_check_that_deletes_itself(paths: Paths) -> None:
    check = add(paths, 'rm "$0"')
    assert failures(paths) == []
    assert not check.exists()


@pytest.mark.parametrize("content", ["no program", "#!/no/such/interpreter\n"])
def test_a_file_that_cannot_be_run_is_not_healthy(paths: Paths, content: str) -> None:
    add(paths, "").write_text(content)
    assert [what for what, _ in failures(paths)] == ["check check"]


def test_a_check_without_permission_to_run_is_not_healthy(paths: Paths) -> None:
    add(paths, "exit 0", mode=0o644)
    assert failures(paths) == [("check check", "is not an executable file")]


def test_reports_are_bounded(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("list-units", "".join(f"u{number}.service x\n" for number in range(MAX_FAILURES + 9)))
    assert len(check_health(paths, SETTINGS).failures) == MAX_FAILURES


def test_the_checks_that_are_shipped_can_be_run() -> None:
    assert all(path.stat().st_mode & 0o111 and path.read_text().startswith("#!") for path in SHIPPED.iterdir())


def test_n22_what_had_failed_before_the_upgrade_does_not_condemn_it(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "old.service loaded failed failed Old\n")
    health = check_health(paths, SETTINGS, ("old.service", "gone.service"))
    assert (health.failures, health.known) == ((), ("old.service",))


def test_n22_what_the_release_broke_still_does(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "old.service loaded failed failed Old\nnew.service loaded failed failed New\n")
    systemctl.answer("show", "exit-code\n")
    health = check_health(paths, SETTINGS, ("old.service",))
    assert [failure.what for failure in health.failures] == ["unit new.service"]
    assert health.known == ("old.service",)


def test_n22_a_required_unit_is_required_whatever_it_was_before(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "old.service loaded failed failed Old\n")
    systemctl.answer("is-active", "failed\n", 3)
    health = check_health(paths, HealthSettings(units=("old.service",)), ("old.service",))
    assert [failure.why for failure in health.failures] == ["is failed, but must be active"]


def test_n22_a_check_is_run_beside_a_unit_that_had_failed_before(paths: Paths, systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "old.service loaded failed failed Old\n")
    add(paths, "exit 3")
    assert [failure.what for failure in check_health(paths, SETTINGS, ("old.service",)).failures] == ["check check"]
