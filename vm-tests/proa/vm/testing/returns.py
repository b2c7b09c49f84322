"""A node whose trials fail: slot b holds a release that is broken in one way after another, and slot a comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.agent.node.cause import Cause
from proa.partition.boot.bootstate import Slot
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.fleet import Factory
from proa.vm.node.expectation import OTHER_REASON
from proa.vm.node.faults import Break, Broken, break_trial, clear
from proa.vm.node.images import RECIPES, Images
from proa.vm.node.node import WELL, Node

KERNEL_IMAGES: Final = "/persist/e2e"
"""Where other kernel images for slot b lie on the node."""
_ROOM: Final = 128 << 20
"""Bytes by which PERSIST grows for them."""
KERNELS: Final = {
    "doomed": (),
    "no-initrd": ("rdinit=/bin/false",),
    "no-init": ("init=/bin/false",),
    "no-time": ("proa.deadline=1",),
}
"""Kernel images for slot b: that of the release there, and others with more arguments."""


@dataclass
class ReturnStory:
    """The node: release 1 in slot a, release 2 in slot b, where every trial of it is going to fail.

    Attributes:
        images: Where the releases come from.
        node: What runs slot a.
        folder: For what is made on the way.
    """

    images: Images
    node: Node
    folder: Path

    @classmethod
    def begin(cls, images: Images, machines: Factory, folder: Path) -> ReturnStory:
        """A machine that has booted, with the release that is going to fail staged in slot b, as by the factory."""
        image = images.disk("1", folder / "disk.raw", standby="doomed")
        disk = DiskImage(image, size=image.stat().st_size + _ROOM)
        machine = machines(disk, name="return", keys=images.keys, display=False, cpus=1, restored=True, ready=WELL)
        return cls(images, Node(machine), folder)

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
        """Make the kernel images, and bring them to the node."""
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
        """``returned`` of the status."""
        return self.broken.returned

    @property
    def cause(self) -> Cause:
        """Why the trial came back, as the node says."""
        return Cause(self.told["cause"])

    def tries(self) -> list[str]:
        """How many tries were left at each boot of the trial, as GRUB said it."""
        found = (re.match("proa-grub: boot slot=b trial=y left=(\\d)", line) for line in self.broken.lines)
        return [match[1] for match in found if match]

    def shows(self, pattern: str) -> int:
        """How many lines of the console match a pattern."""
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
