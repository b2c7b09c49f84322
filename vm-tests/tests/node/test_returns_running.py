"""Trials whose system starts and then fails, told in order on one machine: each comes back by itself, and says why."""

from __future__ import annotations

import pytest

from proa.agent.node.cause import Cause
from proa.vm.machine.fleet import Factory
from proa.vm.node.faults import Break
from proa.vm.node.images import Images
from proa.vm.testing.returns import ReturnStory

pytestmark = [pytest.mark.vm, pytest.mark.story]
CHANGE_ETC = """\
#!/bin/sh
grep -q '"trial": true' /run/proa/boot.json || exit 0
echo changed >/etc/e2e.conf
echo new >/etc/e2e.new
"""


@pytest.fixture(scope="module")
def story(images: Images, shared_vm: Factory, tmp_path_factory: pytest.TempPathFactory) -> ReturnStory:
    return ReturnStory.begin(images, shared_vm, tmp_path_factory.mktemp("return"))


def test_a_release_that_the_factory_staged_is_known(story: ReturnStory) -> None:
    machine = story.node.machine
    machine.succeed("echo ours >/etc/e2e.conf")
    status = story.node.status()
    assert (status["slots"]["b"]["state"], status["slots"]["b"]["version"]) == ("staged", "2.0.0")


@pytest.mark.bad_signs("kernel-panic")
def test_f55_a_kernel_that_panics_says_why(story: ReturnStory) -> None:
    back = story.broken(Break.PANIC)
    assert "the kernel panicked: sysrq triggered crash; 1 of 1" in back.told["reason"]
    assert any("Kernel panic" in line for line in back.told["kernel"])


@pytest.mark.bad_signs("rcu-stall", "soft-lockup")
def test_f55_a_system_that_hangs_is_reset_by_the_watchdog(story: ReturnStory) -> None:
    back = story.broken(Break.HANG)
    assert back.cause in (Cause.WATCHDOG, Cause.CUT_OFF)  # in emulation, the watchdog of the next QEMU knows nothing


def test_f55_a_failing_health_check_comes_back_and_takes_its_etc_along(story: ReturnStory) -> None:
    story.node.put_into_etc("proa/health.d/20-changes", CHANGE_ETC, "755")
    back = story.broken(Break.UNHEALTHY)
    (failure,) = back.told["failures"]
    assert (failure["what"], failure["output"]) == ("check 50-broken", "this release was broken on purpose")
    machine = story.node.machine
    assert machine.succeed("cat /etc/e2e.conf") == "ours\n"
    machine.fail("test -e /etc/e2e.new")
    kept = back.told["etc"]["kept"]
    assert {"e2e.conf", "e2e.new"} <= set(back.told["etc"]["files"])
    assert machine.succeed(f"cat {kept}/e2e.conf {kept}/e2e.new") == "changed\nnew\n"


@pytest.mark.bad_signs("emergency-mode", "failed-unit", "dependency-failed")
def test_f55_an_emergency_shell_does_not_wait_for_a_person(story: ReturnStory) -> None:
    back = story.broken(Break.EMERGENCY)
    assert back.shows("the trial ended in an emergency shell; rebooting") == 1


def test_a_trial_without_its_agent_ends_at_the_deadline(story: ReturnStory) -> None:
    back = story.broken(Break.NO_AGENT)
    assert back.shows("the trial was not committed in time; rebooting") == 1
