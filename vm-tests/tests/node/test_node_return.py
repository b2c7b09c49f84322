"""Trials that fail in every way there is, told in order on one machine: each comes back by itself, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proa.agent.node.cause import Cause
from proa.partition.boot.bootstate import Slot
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.fleet import Factory
from proa.vm.node.expectation import OTHER_REASON
from proa.vm.node.faults import Break, Broken, break_trial, clear
from proa.vm.node.images import RECIPES, Images
from proa.vm.node.node import WELL, Node

pytestmark = [pytest.mark.vm, pytest.mark.story]

KERNEL_IMAGES = "/persist/e2e"
KERNELS = {
    "doomed": (),
    "no-initrd": ("rdinit=/bin/false",),
    "no-init": ("init=/bin/false",),
    "no-time": ("proa.deadline=1",),
}
"""Kernel images for slot b: that of the release there, and others with more arguments."""
CHANGE_ETC = """\
#!/bin/sh
grep -q '"trial": true' /run/proa/boot.json || exit 0
echo changed >/etc/e2e.conf
echo new >/etc/e2e.new
"""


@dataclass
class Story:
    """The node: release 1 in slot a, release 2 in slot b, where every trial of it is going to fail."""

    images: Images
    node: Node
    folder: Path

    def spoil(self, spoil: Callable[[Node, Slot], object], *, tries: int = 1) -> Return:
        """Arm slot b, spoil it, reboot into it, and wait for slot a."""
        return Return(break_trial(self.node, spoil, RECIPES["doomed"].seconds, tries=tries))

    def broken(self, fault: Break) -> Return:
        """Break the trial of slot b in one of the ways; the node must say that it was this one, and no other."""
        back = self.spoil(fault.value.apply)
        back.check(tries=1)
        problems = {one: one.value.cause.problem(back.told, back.broken.witness) for one in Break}
        assert problems.pop(fault) == "", back.told
        assert all(problem.startswith(OTHER_REASON) for problem in problems.values()), problems
        return back

    def kernel(self, name: str, *, tries: int = 1) -> Return:
        """Try another kernel image in slot b, and put the release's own back."""

        def spoil(node: Node, _: Slot) -> None:
            clear(node)
            self.put_kernel(name)

        back = self.spoil(spoil, tries=tries)
        self.put_kernel("doomed")
        back.check(tries)
        return back

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
class Return:
    """What was seen of a trial that came back."""

    broken: Broken

    @property
    def told(self) -> Mapping[str, Any]:
        return self.broken.returned

    @property
    def cause(self) -> Cause:
        return Cause(self.told["cause"])

    def tries(self) -> list[str]:
        """How many tries were left at each boot of the trial, as GRUB said it."""
        found = (re.match("proa-grub: boot slot=b trial=y left=(\\d)", line) for line in self.broken.lines)
        return [match[1] for match in found if match]

    def shows(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.broken.lines)

    def check(self, tries: int) -> None:
        """The node is as before, and tells of the trial."""
        status = self.broken.status
        assert self.tries() == [str(left) for left in range(tries - 1, -1, -1)]
        assert (status["good"], status["trial"], status["state"]) == ("a", None, "returned")
        assert status["slots"]["b"]["state"] == "failed"
        assert status["last"]["code"] == "TRIAL_RETURNED"
        told = self.told
        assert (told["slot"], told["version"], told["tries"], told["used"]) == ("b", "2.0.0", tries, tries)
        assert f"{tries} of {tries} attempts used" in told["reason"]


@pytest.fixture(scope="module")
def story(images: Images, shared_vm: Factory, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("return")
    disk = images.disk("1", folder / "disk.raw", standby="doomed")
    machine = shared_vm(
        DiskImage(disk), name="return", keys=images.keys, display=False, cpus=1, restored=True, ready=WELL
    )
    return Story(images, Node(machine), folder)


def test_a_release_with_another_deadline_differs_in_its_kernel_image_alone(images: Images) -> None:
    """So the builder makes only that anew."""
    keys = {name: {step["name"]: step["key"] for step in images.report(name)["steps"]} for name in ("2", "doomed")}
    assert images.report("doomed")["root_hash"] == images.report("2")["root_hash"]
    assert {step for step, key in keys["doomed"].items() if key != keys["2"][step]} == {"uki", "release", "disk"}


def test_a_release_that_the_factory_staged_is_known(story: Story) -> None:
    machine = story.node.machine
    machine.succeed("echo ours >/etc/e2e.conf")
    status = story.node.status()
    assert (status["slots"]["b"]["state"], status["slots"]["b"]["version"]) == ("staged", "2.0.0")
    story.upload_kernels()


@pytest.mark.bad_signs("kernel-panic")
def test_a_kernel_that_panics_says_why(story: Story) -> None:
    back = story.broken(Break.PANIC)
    assert "the kernel panicked: sysrq triggered crash; 1 of 1" in back.told["reason"]
    assert any("Kernel panic" in line for line in back.told["kernel"])


def test_a_deadline_that_is_too_short_is_a_cause_of_its_own(story: Story) -> None:
    """It fires before PERSIST is mounted: what the initrd said then is in the firmware's store."""
    back = story.kernel("no-time")
    assert back.cause is Cause.DEADLINE
    assert back.shows("the trial was not committed in time; rebooting") == 1
    for fault in Break:
        assert fault.value.cause.problem(back.told, back.broken.witness), fault


@pytest.mark.bad_signs("rcu-stall", "soft-lockup")
def test_a_system_that_hangs_is_reset_by_the_watchdog(story: Story) -> None:
    story.broken(Break.HANG)


def test_a_failing_health_check_comes_back_and_takes_its_etc_along(story: Story) -> None:
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


@pytest.mark.bad_signs("signature-refused", "grub-error")
def test_a_kernel_image_that_is_altered_is_refused(story: Story) -> None:
    back = story.broken(Break.CORRUPT_UKI)
    assert back.shows("proa-grub: cannot-load slot=b") == 1
    assert not back.told["kernel"]
    story.put_kernel("doomed")


@pytest.mark.bad_signs("kernel-panic", "panic-on-verity", "verity-error", "erofs-error")
def test_a_root_that_is_altered_is_never_used(story: Story) -> None:
    story.broken(Break.CORRUPT)
    Break.CORRUPT.value.apply(story.node, Slot.B)  # once more: as it was


@pytest.mark.bad_signs("emergency-mode", "failed-unit", "dependency-failed")
def test_an_emergency_shell_does_not_wait_for_a_person(story: Story) -> None:
    back = story.broken(Break.EMERGENCY)
    assert back.shows("the trial ended in an emergency shell; rebooting") == 1


def test_a_trial_without_its_agent_ends_at_the_deadline(story: Story) -> None:
    back = story.broken(Break.NO_AGENT)
    assert back.shows("the trial was not committed in time; rebooting") == 1


@pytest.mark.bad_signs("kernel-panic", "init-died")
def test_a_kernel_that_panics_is_tried_three_times(story: Story) -> None:
    """So early that nothing can be written down."""
    back = story.kernel("no-initrd", tries=3)
    assert back.shows("Kernel panic - not syncing") == 3
    assert back.cause is Cause.SILENT


@pytest.mark.bad_signs("kernel-panic", "init-died")
def test_a_broken_init_comes_back(story: Story) -> None:
    back = story.kernel("no-init")
    assert (back.cause, back.shows("Attempted to kill init")) == (Cause.PANIC, 1)
    assert "Attempted to kill init" in back.told["reason"]
