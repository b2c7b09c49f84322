"""s16: PERSIST encrypted and bound to the TPM, told in order on one disk under Secure Boot.

Boots that need not come further end where PERSIST is open, or where a person is asked for the recovery key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from proa.core.runtime import process
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot, encode
from proa.partition.boot.statefile import ENV_OFFSETS
from proa.partition.disk.layout import MIB, Layout
from proa.partition.disk.readtable import read_layout
from proa.vm.machine.disks import DiskCache, DiskImage
from proa.vm.machine.fleet import Factory
from proa.vm.machine.machine import Machine
from proa.vm.machine.tpm import FOLDER as TPM
from proa.vm.node.images import Images

pytestmark = [pytest.mark.vm, pytest.mark.story]

NAME: Final = "1-tpm2"
GROWTH: Final = 200 * MIB
OPENED: Final = r"proa: slot {} of"
ASKED: Final = r"PERSIST: type the recovery key of this node"
REFUSED: Final = r"the TPM of this machine does not give its key"


@dataclass
class Story:
    """The node's disk, and what one test leaves for the next."""

    images: Images
    machine: Machine
    layout: Layout
    folder: Path
    key: str = ""

    def put(self, partition: str, path: Path) -> None:
        self.machine.overlays[0].write(self.layout[partition].start, path.read_bytes())

    def boot(self, slot: Slot, until: str) -> str:
        """Boot a slot that is good, until the console says something; what it has said."""
        self.choose(slot)
        mark = self.machine.console.mark()
        self.machine.start()
        self.machine.wait_for_console(until)
        return "\n".join(line.text for line in self.machine.console.lines[mark:])

    def choose(self, slot: Slot) -> None:
        block = encode(bootstate.initial(slot))
        for offset in ENV_OFFSETS:
            self.machine.overlays[0].write(self.layout["STATE"].start + offset, block)

    def tries(self, key: str) -> bool:
        """Whether a recovery key opens it."""
        command = "cryptsetup open --test-passphrase --key-file - /dev/vda7"
        return self.machine.execute(command, stdin=key.encode()).status == 0

    def persist_bytes(self) -> int:
        """Of the file system."""
        return int(self.machine.succeed("stat --file-system --format=%b /persist")) * 4096


@pytest.fixture(scope="module")
def story(images: Images, keys: Path, shared_vm: Factory, tmp_path_factory: pytest.TempPathFactory) -> Story:
    image = images(NAME) / "disk.raw"
    size = image.stat().st_size + GROWTH
    disk = DiskImage(image, size=size, cache=DiskCache.KILLPROOF)
    machine = shared_vm(disk, keys=keys, name="encrypted", tpm=True, display=False, cpus=1, start=False)
    return Story(images, machine, read_layout(image), tmp_path_factory.mktemp("encrypted"))


def test_s16_the_first_boot_encrypts_persist_and_grows_it(story: Story) -> None:
    machine = story.machine
    machine.start()
    machine.wait_for_boot()
    mounted = json.loads(machine.succeed("findmnt --json --output SOURCE,FSTYPE /persist"))["filesystems"][0]
    assert mounted == {"source": "/dev/mapper/proa-persist", "fstype": "ext4"}
    header = json.loads(machine.succeed("cryptsetup luksDump --dump-json-metadata /dev/vda7"))
    assert [slot["area"]["encryption"] for slot in header["keyslots"].values()] == ["aes-xts-plain64"] * 2
    assert [segment["encryption"] for segment in header["segments"].values()] == ["aes-xts-plain64"]
    (token,) = (token for token in header["tokens"].values() if token["type"] == "systemd-tpm2")
    assert (token["tpm2-pcrs"], token["tpm2_pubkey_pcrs"]) == ([7], [11])
    assert story.persist_bytes() > 0.8 * (story.layout["PERSIST"].size + GROWTH)
    assert machine.succeed("systemctl --failed --no-legend") == ""
    assert json.loads(machine.succeed("proa-agent status --json"))["persist_encrypted"] is True


def test_s16_the_recovery_key_is_roots_to_take_and_in_no_log(story: Story) -> None:
    machine = story.machine
    story.key = json.loads(machine.succeed("proa-disk recovery-key --json"))["key"]
    assert story.tries(story.key)
    assert not story.tries(story.key[:-1])
    assert story.key not in machine.console.text
    assert story.key not in machine.succeed("journalctl --boot --all --no-pager")
    machine.succeed("echo ours >/var/lib/e2e; proa-disk reset --yes; sync")
    machine.crash()


def test_s16_the_other_slot_opens_it_with_the_next_signed_release(story: Story) -> None:
    """Of a release, the TPM knows the kernel image alone: this one has another command line."""
    story.put("UKI-B", story.images.kernel(NAME, story.folder / "next.img", "e2e.next"))
    root = story.layout["ROOT-A"]
    with (story.images(NAME) / "disk.raw").open("rb") as image:
        image.seek(root.start)
        (story.folder / "root.img").write_bytes(image.read(root.size))
    story.put("ROOT-B", story.folder / "root.img")
    disk = story.machine.overlays[0]
    process.run(["qemu-img", "resize", "-q", disk.path, str(disk.disk.size + GROWTH)])
    # What was asked for is known once it is open.
    assert REFUSED not in story.boot(Slot.B, "PERSIST is made anew, as it was asked for")


def test_s16_a_reset_makes_it_anew_and_it_grows_with_its_disk(story: Story) -> None:
    machine, old = story.machine, story.key
    machine.wait_for_boot()
    machine.fail("ls /var/lib/e2e")
    story.key = json.loads(machine.succeed("proa-disk recovery-key --json"))["key"]
    assert story.tries(story.key)
    assert not story.tries(old)
    machine.succeed("proa-disk recovery-key --remove --yes && test ! -e /persist/.proa/recovery-key")
    assert story.persist_bytes() > 0.8 * (story.layout["PERSIST"].size + 2 * GROWTH)
    machine.succeed("sync")
    machine.crash()


@pytest.mark.bad_signs("failed-unit", "dependency-failed")
def test_s16_a_changed_kernel_image_does_not_open_it(story: Story) -> None:
    """Secure Boot takes it, but its measurement is signed by nobody."""
    story.put("UKI-A", story.images.kernel(NAME, story.folder / "changed.img", "e2e.changed", measured=False))
    assert REFUSED in story.boot(Slot.A, ASKED)
    story.machine.crash()


def test_s16_a_disk_without_its_machine_does_not_open(story: Story, keys: Path, vm: Factory) -> None:
    story.choose(Slot.B)
    story.machine.overlays[0].export(story.folder / "stolen.raw")
    thief = vm(story.folder / "stolen.raw", keys=keys, name="stolen", ssh=False, display=False, cpus=1)
    thief.wait_for_console(ASKED)
    assert REFUSED in thief.console.text
    thief.crash()
    (story.folder / "stolen.raw").unlink()


def test_s16_with_another_tpm_the_recovery_key_opens_it_and_binds_it_to_that_one(story: Story) -> None:
    machine = story.machine
    (machine.folder / TPM).rename(story.folder / "first-tpm")
    assert REFUSED in story.boot(Slot.B, ASKED)
    machine.console.send(b"not-the-key\r")
    machine.wait_for_console("this is not its recovery key")
    machine.console.send(story.key.encode() + b"\r")
    machine.wait_for_console("PERSIST: bound to the TPM of this machine")
    machine.wait_for_console(OPENED.format("b"))
    assert story.key not in machine.console.text
    machine.crash()


def test_s16_the_first_slot_opens_what_the_other_one_has_bound(story: Story) -> None:
    story.put("UKI-A", story.images.kernel(NAME, story.folder / "own.img"))
    assert REFUSED not in story.boot(Slot.A, OPENED.format("a"))
