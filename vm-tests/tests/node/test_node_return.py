"""Trials that fail in every way there is, told in order on one machine: each comes back by itself, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proa.partition.boot.bootstate import Slot
from proa.vm.machine.disks import Disk
from proa.vm.machine.fleet import Factory
from proa.vm.node.faults import Break
from proa.vm.node.images import Images
from proa.vm.node.node import Node

pytestmark = [pytest.mark.vm, pytest.mark.story]

KERNEL_IMAGES = "/persist/e2e"
KERNELS = {"doomed": (), "no-initrd": ("rdinit=/bin/false",), "no-init": ("init=/bin/false",)}
"""Kernel images for slot b: that of the release there, and others with more arguments."""
CHANGE_ETC = """\
#!/bin/sh
grep -q '"trial": true' /run/proa/boot.json || exit 0
echo changed >/etc/e2e.conf
echo new >/etc/e2e.new
echo "not today" >&2
exit 3
"""


@dataclass
class Story:
    """The node: release 1 in slot a, release 2 in slot b, where every trial of it is going to fail."""

    images: Images
    node: Node
    folder: Path

    def try_it(self, *, tries: int = 1, spoil: Callable[[], object] = lambda: None) -> Returned:
        """Arm slot b, spoil it, reboot into it, and wait for slot a."""
        machine = self.node.machine
        before = self.node.booted()
        mark = machine.console.mark()
        self.node.arm(tries)
        spoil()
        machine.succeed("systemctl reboot --no-block")
        seconds = machine.limits.boot * (tries + 2)
        booted = self.node.wait_for_slot(Slot.A, after=before.boot_id, seconds=seconds)
        assert not booted.trial
        return Returned(self.node.status(), [line.text for line in machine.console.lines[mark:]])

    def fault(self, fault: Break) -> Callable[[], None]:
        return lambda: fault.value.apply(self.node, Slot.B)

    def put_kernel(self, name: str) -> None:
        """Put another kernel image into slot b: one signed command line for another."""
        self.node.machine.succeed(
            f"dd if={KERNEL_IMAGES}/{name} of=/dev/vda4 bs=1M oflag=direct conv=fsync status=none"
        )

    def upload_kernels(self) -> None:
        self.node.machine.succeed(f"mkdir -p {KERNEL_IMAGES}")
        for name, arguments in KERNELS.items():
            image = self.images.kernel("doomed", self.folder / name, *arguments)
            self.node.machine.copy_to(image, f"{KERNEL_IMAGES}/{name}")


@dataclass
class Returned:
    """What was seen of a trial that came back."""

    status: dict[str, Any]
    console: list[str]

    @property
    def told(self) -> dict[str, Any]:
        return dict(self.status["returned"])

    def tries(self) -> list[str]:
        """The tries left after each time that GRUB booted the trial."""
        found = (re.search(r"proa-grub: boot slot=b trial=y left=(\d)", line) for line in self.console)
        return [match[1] for match in found if match]

    def shows(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.console)

    def check(self, tries: int = 1) -> None:
        """The node is as before, and tells of the trial."""
        assert self.tries() == [str(left) for left in range(tries - 1, -1, -1)]
        assert (self.status["good"], self.status["trial"], self.status["state"]) == ("a", None, "returned")
        assert self.status["slots"]["b"]["state"] == "failed"
        assert self.status["last"]["code"] == "TRIAL_RETURNED"
        told = self.told
        assert (told["slot"], told["version"], told["tries"], told["used"]) == ("b", "2.0.0", tries, tries)
        assert f"{tries} of {tries} tries used" in told["reason"]


@pytest.fixture(scope="module")
def story(images: Images, shared_vm: Factory, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("return")
    disk = images.disk("1", folder / "disk.raw", standby="doomed")
    machine = shared_vm(Disk(disk), name="return", keys=images.keys, display=False, cpus=1)
    return Story(images, Node(machine), folder)


def test_a_release_with_another_deadline_differs_in_its_kernel_image_alone(images: Images) -> None:
    """So the builder makes only that anew."""
    keys = {name: {step["name"]: step["key"] for step in images.report(name)["steps"]} for name in ("2", "doomed")}
    assert images.report("doomed")["root_hash"] == images.report("2")["root_hash"]
    assert {step for step, key in keys["doomed"].items() if key != keys["2"][step]} == {"uki", "release", "disk"}


def test_a_release_that_the_factory_staged_is_known(story: Story) -> None:
    machine = story.node.machine
    machine.wait_for_boot()
    machine.wait_for_unit("proa-agent.service")
    machine.succeed("echo ours >/etc/e2e.conf")
    status = story.node.status()
    assert (status["slots"]["b"]["state"], status["slots"]["b"]["version"]) == ("staged", "2.0.0")
    story.upload_kernels()


@pytest.mark.bad_signs("kernel-panic", "init-died")
def test_a_kernel_that_panics_is_tried_three_times(story: Story) -> None:
    back = story.try_it(tries=3, spoil=lambda: story.put_kernel("no-initrd"))
    back.check(tries=3)
    assert back.shows("Kernel panic - not syncing") == 3
    assert "never came as far as its agent" in back.told["reason"]
    story.put_kernel("doomed")


@pytest.mark.bad_signs("kernel-panic", "init-died")
def test_a_broken_init_comes_back(story: Story) -> None:
    back = story.try_it(spoil=lambda: story.put_kernel("no-init"))
    back.check()
    assert back.shows("Attempted to kill init") == 1
    story.put_kernel("doomed")


@pytest.mark.bad_signs("rcu-stall", "soft-lockup")
def test_a_system_that_hangs_is_reset_by_the_watchdog(story: Story) -> None:
    since = len(story.node.machine.events)
    back = story.try_it(spoil=story.fault(Break.HANG))
    back.check()
    assert "WATCHDOG" in {event.name for event in story.node.machine.events[since:]}


def test_a_failing_health_check_comes_back_and_takes_its_etc_along(story: Story) -> None:
    def spoil() -> None:
        story.fault(Break.UNHEALTHY)()
        story.node.put_into_etc("proa/health.d/50-broken", CHANGE_ETC, "755")

    back = story.try_it(spoil=spoil)
    back.check()
    (failure,) = back.told["failures"]
    assert (failure["what"], failure["output"]) == ("check 50-broken", "not today")
    assert "check 50-broken: ended with status 3" in back.told["reason"]
    machine = story.node.machine
    assert machine.succeed("cat /etc/e2e.conf") == "ours\n"
    machine.fail("test -e /etc/e2e.new")
    kept = back.told["etc"]["kept"]
    assert {"e2e.conf", "e2e.new"} <= set(back.told["etc"]["files"])
    assert machine.succeed(f"cat {kept}/e2e.conf {kept}/e2e.new") == "changed\nnew\n"


@pytest.mark.bad_signs("emergency-mode", "failed-unit", "dependency-failed")
def test_an_emergency_shell_does_not_wait_for_a_person(story: Story) -> None:
    back = story.try_it(spoil=story.fault(Break.EMERGENCY))
    back.check()
    assert back.shows("the trial ended in an emergency shell; rebooting") == 1


def test_a_trial_without_its_agent_ends_at_the_deadline(story: Story) -> None:
    back = story.try_it(spoil=story.fault(Break.NO_AGENT))
    back.check()
    assert back.shows("the trial was not committed in time; rebooting") == 1
    assert "never came as far as its agent" in back.told["reason"]
