"""Power cuts in a first boot, on one disk: each boot comes further than the one before, and the last one to its end.

The disk has a volatile cache: what a boot wrote and did not flush may be lost with the power. Long before a cut the
disk's writes are slowed down, so that it falls between two of them however busy this host is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pytest

from proa.core.runtime import process
from proa.partition.boot import bootstate
from proa.partition.boot.statefile import StateFile
from proa.partition.disk.layout import MIB
from proa.partition.disk.readtable import read_layout
from proa.vm.machine.disks import DiskCache, DiskImage
from proa.vm.machine.fleet import Factory
from proa.vm.machine.machine import Machine
from proa.vm.node.images import Images
from proa.vm.node.node import WELL, Node

pytestmark = [pytest.mark.vm, pytest.mark.story]

GROWTH: Final = 512 * MIB
NAME: Final = "cut-short"
WRITES_A_SECOND: Final = 1


@dataclass(frozen=True)
class Cut:
    """A power cut.

    Attributes:
        slow: The line of the console at which writes are slowed down.
        begins: The line at which the work begins that is cut short.
        writes: How many there are after that before the power is cut.
        ends: What the console says when the work has been done.
    """

    slow: str
    begins: str
    writes: int
    ends: str


KERNEL: Final = r"Run /init as init"
TABLE: Final = Cut(KERNEL, r"giving /dev/vda its own GUIDs", 2, r"EXT4-fs \(vda7\): mounted")
LATER: Final = {
    "growth-of-the-file-system": Cut(KERNEL, r"EXT4-fs \(vda7\): resizing", 1, r"EXT4-fs \(vda7\): resized"),
    "folders-of-the-node": Cut(r"EXT4-fs \(vda7\): resized", r"Starting proa-persist", 8, r"Finished proa-persist"),
    "files-of-the-node": Cut(r"Welcome to", r"Starting proa-provision", 8, r"Finished proa-provision"),
}


@dataclass
class Story:
    """The machine, and the image that its disk began as."""

    machine: Machine
    image: Path

    def ask(self, command: str) -> dict[str, Any]:
        """What QEMU says of the machine's disk; it also knows the firmware's flash."""
        found = cast("list[dict[str, Any]]", self.machine.monitor.execute(command))
        (disk,) = [one for one in found if "disk0" in (one.get("node-name"), one.get("inserted", {}).get("node-name"))]
        return disk

    def writes(self) -> int:
        """How many writes the disk has done since the machine was switched on."""
        return int(self.ask("query-blockstats")["stats"]["wr_operations"])

    def slow_down(self) -> None:
        """Let the disk do only some writes a second from now on."""
        limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd"), 0) | {"iops_wr": WRITES_A_SECOND}
        self.machine.monitor.execute("block_set_io_throttle", id=self.ask("query-block")["qdev"], **limits)

    def cut(self, cut: Cut) -> str:
        """Boot, and take the power away in the middle of the work; what the console said until then."""
        machine, mark = self.machine, self.machine.console.mark()
        machine.start()
        machine.wait_for_console(cut.slow)
        self.slow_down()
        machine.wait_for_console(cut.begins)
        before = self.writes()
        machine.wait_until(lambda: self.writes() >= before + cut.writes)
        machine.crash()
        return "\n".join(line.text for line in machine.console.lines[mark:])

    def export(self, name: str) -> Path:
        """The disk as the power cut left it."""
        path = self.machine.folder / name
        self.machine.overlays[0].export(path)
        return path


def in_the_middle(cut: Cut, said: str) -> bool:
    """Whether the power was cut after the work had begun and before it was done."""
    return bool(re.search(cut.begins, said)) and not re.search(cut.ends, said)


@pytest.fixture(scope="module")
def story(images: Images, keys: Path, shared_vm: Factory, tmp_path_factory: pytest.TempPathFactory) -> Story:
    image = images.disk("1", tmp_path_factory.mktemp("cut") / "disk.raw")
    disk = DiskImage(image, size=image.stat().st_size + GROWTH, cache=DiskCache.UNSAFE)
    given = {"system.hostname": NAME}
    return Story(
        shared_vm(disk, keys=keys, name="first-boot-cut", start=False, display=False, credentials=given), image
    )


def test_n01_the_power_is_cut_while_the_partition_table_is_written(story: Story) -> None:
    assert in_the_middle(TABLE, story.cut(TABLE))
    disk = story.export("cut.raw")
    found = process.run(["sgdisk", "--verify", disk], check=False)
    disk.unlink()
    assert "No problems found" not in found.text, "it was not in the middle of the table"


@pytest.mark.parametrize("cut", LATER.values(), ids=LATER)
def test_n01_the_next_boot_goes_on_and_is_cut_in_turn(story: Story, cut: Cut) -> None:
    assert in_the_middle(cut, story.cut(cut))


def test_n01_the_boot_after_them_makes_the_node_what_it_was_to_be(story: Story) -> None:
    machine = story.machine
    machine.start()
    machine.wait_for_boot()  # by the key that was given to the boots that were cut
    machine.wait_until(WELL)
    assert machine.succeed("hostname; cat /etc/hostname").split() == [NAME, NAME]
    assert re.fullmatch(r"[0-9a-f]{32}\n", machine.succeed("cat /etc/machine-id"))
    machine.succeed("for key in /etc/ssh/ssh_host_*_key; do ssh-keygen -y -f $key >/dev/null || exit 1; done")
    assert machine.succeed("find /persist -xdev -name '*.new' -o -name '*.part'") == ""
    boot = json.loads(machine.succeed("cat /run/proa/boot.json"))
    assert (boot["slot"], boot["trial"], boot["identity_lost"]) == ("a", False, False)
    assert Node(machine).status()["warnings"] == []


def test_n01_nothing_is_left_of_the_cuts_on_the_disk(story: Story) -> None:
    story.machine.shutdown()
    disk = story.export("whole.raw")
    old, new = read_layout(story.image), read_layout(disk)
    assert "No problems found" in process.run(["sgdisk", "--verify", disk]).text
    assert {one.name for one in old.partitions if new[one.name].guid == one.guid} == {"BOOT"}
    persist = new["PERSIST"]
    assert persist.size == old["PERSIST"].size + GROWTH
    checked = process.run(["e2fsck", "-f", "-n", f"{disk}?offset={persist.start}"])
    blocks = re.search(r"(\d+)/(\d+) blocks", checked.text)
    assert blocks
    assert int(blocks[2]) * 4096 == persist.size
    assert StateFile.within(disk, new["STATE"].start).current() == bootstate.initial()
    disk.unlink()
