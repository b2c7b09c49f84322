"""One node's life, told in order on one machine: first boot, power cut, upgrades both ways, rollback, made new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime import process
from proa.partition.boot.bootstate import Slot
from proa.partition.boot.statefile import StateFile
from proa.partition.disk.slots import open_image
from proa.vm.machine import variants
from proa.vm.machine.disks import DiskCache, DiskImage
from proa.vm.machine.fleet import Factory
from proa.vm.machine.machine import Machine
from proa.vm.machine.variants import Variant
from proa.vm.node.images import Images
from proa.vm.node.node import WELL, Node
from proa.vm.node.rehearse import push
from proa.vm.support.registry import LocalRegistry

pytestmark = [pytest.mark.vm, pytest.mark.story]

MIB = 1 << 20
GROWTH = 200 * MIB
KEPT = "/var/lib/e2e /home/e2e /root/e2e /opt/cni/e2e"


@dataclass
class Story:
    """The node, and what one test leaves for the next."""

    images: Images
    node: Node
    references: dict[str, str]
    folder: Path
    image: Path
    kept: str = ""

    @property
    def machine(self) -> Machine:
        return self.node.machine

    def partition(self, number: int) -> str:
        """The kernel's name of a partition of the disk that the node runs from."""
        disk = json.loads(self.machine.succeed("cat /run/proa/boot.json"))["disk"].removeprefix("/dev/")
        return f"{disk}{'p' if disk[-1].isdigit() else ''}{number}"

    def sums(self) -> str:
        """What PERSIST holds of ours, by digest."""
        return self.machine.succeed(f"find {KEPT} -type f -exec sha256sum {{}} + | sort -k 2; cat /etc/e2e.conf")

    def install(self, name: str) -> None:
        done = self.node.install(self.references[name])
        assert done["bytes"]["write"] > 100 * MIB
        assert done["peak_memory"] < 80 * MIB

    def apply(self, parameters: dict[str, int], *words: str) -> dict[str, Any]:
        """Set kernel parameters by a document."""
        document, more = json.dumps({"sysctl": parameters}), " ".join(words)
        self.machine.succeed(f"echo '{document}' >/root/settings.json")
        told: dict[str, Any] = json.loads(
            self.machine.succeed(f"proa-agent settings apply /root/settings.json --json {more}")
        )
        return told

    def swappiness(self) -> str:
        return self.machine.succeed("cat /proc/sys/vm/swappiness").strip()

    def root_hash(self, name: str) -> str:
        return str(self.images.report(name)["root_hash"])


@pytest.fixture(scope="module")
def upgrade_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    with LocalRegistry(tmp_path_factory.mktemp("registry"), auth=("node", "rehearsal")) as registry:
        yield registry


@pytest.fixture(scope="module")
def variant(pytestconfig: pytest.Config) -> Variant:
    """The kind of machine: a server, unless another is asked for."""
    return variants.find(pytestconfig.getoption("--proa-machine") or "server")


@pytest.fixture(scope="module")
def story(
    images: Images,
    variant: Variant,
    shared_vm: Factory,
    upgrade_registry: LocalRegistry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    name = "1" if variant.sector_size == 512 else f"1-{variant.sector_size}"
    image, folder = images(name) / "disk.raw", tmp_path_factory.mktemp("upgrade")
    disk = DiskImage(
        image,
        sector_size=variant.sector_size,
        size=image.stat().st_size + GROWTH,
        cache=DiskCache.KILLPROOF,
        bus=variant.bus,
    )
    references = {"2": push(images("2"), upgrade_registry, "two")}
    machine = shared_vm(
        disk,
        *variant.spare_disks(folder),
        name="upgrade",
        restored=variant.can_be_saved,
        ready=WELL,
        **{"keys": images.keys, "display": False, "cpus": 1, **variant.hardware},
    )
    machine.wait_for_boot()
    return Story(images, Node(machine), references, folder, image)


def partitions(path: Path) -> dict[str, str]:
    """The GUID of every partition of an image by its name, and of the disk, as sfdisk sees them."""
    table = json.loads(process.run(["sfdisk", "--json", path]).stdout)["partitiontable"]
    return {part["name"]: part["uuid"] for part in table["partitions"]} | {"disk": table["id"]}


def slot_digest(disk: Path, slot: Slot) -> str:
    """Of all bytes of a slot."""
    found, digest = open_image(disk), hashlib.sha256()
    with disk.open("rb") as file:
        for name in (slot.root_name, slot.uki_name):
            extent = found.partitions[name]
            file.seek(extent.offset)
            for _ in range(extent.size // MIB):
                digest.update(file.read(MIB))
    return digest.hexdigest()


def test_a_new_node_is_well_and_its_agent_knows_where_it_runs(story: Story) -> None:
    machine = story.machine
    booted = story.node.booted()
    assert (booted.slot, booted.trial, booted.root_hash) == (Slot.A, False, story.root_hash("1"))
    # By device number: the root is a device-mapper device that lies on the fifth partition of the disk.
    assert machine.succeed("ls /sys/dev/block/$(mountpoint --fs-devno /)/slaves").split() == [story.partition(5)]
    machine.wait_until("systemctl is-system-running")
    assert machine.succeed("systemctl --failed --no-legend") == ""
    status = story.node.status()
    assert (status["booted"], status["good"], status["state"], status["problem"]) == ("a", "a", "good", None)
    assert status["slots"]["a"]["version"] == "1.0.0"
    assert status["slots"]["a"]["root_hash"] == story.root_hash("1")


def test_n22_the_node_has_the_hardware_that_it_is_told_on(story: Story, variant: Variant) -> None:
    """Nothing fails on it, above: not for a TPM that nobody asked for, nor for disks and cards beside its own."""
    machine = story.machine
    assert machine.succeed("ls /sys/class/tpm").split() == (["tpm0"] if variant.hardware.get("tpm") else [])
    disks = machine.succeed("lsblk --nodeps --noheadings --output NAME").split()
    assert len(disks) == 1 + len(variant.others)
    cards = machine.succeed("ls -d /sys/class/net/*/device").split()
    assert len(cards) == 1 + variant.hardware.get("spare_cards", 0)
    disk = story.partition(5).removesuffix("5").removesuffix("p")
    assert machine.succeed(f"cat /sys/block/{disk}/queue/logical_block_size").strip() == str(variant.sector_size)


def test_settings_take_effect_and_only_what_the_release_allows(story: Story) -> None:
    """The first document is committed; the second is being tried when the power is cut, by the next test."""
    story.apply({"vm.swappiness": 11}, "--commit")
    assert story.swappiness() == "11"
    tried = story.apply({"vm.swappiness": 22})
    assert (tried["phase"], story.swappiness()) == ("Trial", "22")
    for name, value in (("kernel.modprobe", "/x"), ("vm.swappiness", 61), ("vm.max_map_count", 70000)):
        document = json.dumps({"sysctl": {name: value}})
        done = story.machine.execute(
            f"echo '{document}' >/root/bad.json; proa-agent settings apply /root/bad.json 2>&1"
        )
        assert (done.status, "SETTINGS_REFUSED" in done.text) == (3, True)
    assert story.swappiness() == "22"


def test_a_power_cut_within_an_install_leaves_the_good_slot_alone(
    story: Story, upgrade_registry: LocalRegistry
) -> None:
    machine = story.machine
    files = " ".join(f"{folder}/data" for folder in KEPT.split())
    machine.succeed(f"mkdir -p {KEPT}; for file in {files}; do head -c 3000000 /dev/urandom >$file; done")
    machine.succeed("echo ours >/etc/e2e.conf; sync")
    story.kept = story.sums()
    story.node.trust_registry(upgrade_registry)
    machine.succeed(f"systemd-run --unit=e2e-install proa-agent install {story.references['2']} --activate --reboot")
    written = f"awk '{{print $7}}' /sys/class/block/{story.partition(6)}/stat"
    machine.wait_until(f"test $({written}) -gt 160000")
    machine.crash()

    disk = story.folder / "cut.raw"
    machine.overlays[0].export(disk)
    assert "No problems found" in process.run(["sgdisk", "--verify", disk]).text
    assert slot_digest(disk, Slot.A) == slot_digest(story.image, Slot.A)
    old, new = partitions(story.image), partitions(disk)
    assert {name for name in old if old[name] == new[name]} == {"BOOT"}
    extent = open_image(disk).partitions["STATE"]
    state = StateFile.within(disk, extent.offset).current()
    assert (state.good, state.trial, state.alt) == (Slot.A, None, False)
    disk.unlink()


def test_the_node_boots_as_before_and_the_second_install_succeeds(story: Story) -> None:
    machine = story.machine
    machine.start()
    machine.wait_for_boot()
    machine.wait_for_unit("proa-agent.service")
    assert story.sums() == story.kept
    machine.wait_until("test $(cat /proc/sys/vm/swappiness) = 11")
    status = story.node.status()
    assert (status["settings"]["phase"], status["settings"]["drift"]) == ("Reverted", [])
    assert (status["booted"], status["good"], status["slots"]["b"]["state"]) == ("a", "a", "partial")
    story.install("2")
    assert story.node.status()["slots"]["b"]["state"] == "staged"


def test_an_upgrade_from_a_to_b_is_tried_and_committed(story: Story) -> None:
    before = story.node.booted()
    mark = story.machine.console.mark()
    story.node.arm()
    story.machine.succeed("systemctl reboot --no-block")
    booted = story.node.wait_for_slot(Slot.B, after=before.boot_id)
    assert (booted.trial, booted.root_hash) == (True, story.root_hash("2"))
    said = [line.text for line in story.machine.console.lines[mark:] if "proa-grub: boot " in line.text]
    assert len(said) == 1
    assert "slot=b trial=y left=0" in said[0]
    status = story.node.status()
    assert (status["good"], status["trial"], status["other_good"], status["state"]) == ("b", None, True, "paired")
    assert status["slots"]["a"]["state"] == "fallback"
    assert story.sums() == story.kept
    assert (story.swappiness(), status["settings"]["drift"]) == ("11", [])


def test_n22_the_trial_was_committed_beside_a_tpm_that_measured_the_boot(story: Story, variant: Variant) -> None:
    """The kernel image's stub has used it, which is when Debian 12 starts the units that measure more."""
    machine, chip = story.machine, bool(variant.hardware.get("tpm"))
    assert machine.execute("cat /sys/class/tpm/tpm0/tpm_version_major").text.strip() == ("2" if chip else "")
    measured = machine.execute("ls -d /sys/firmware/efi/efivars/StubPcrKernelImage-*").status == 0
    assert measured is chip
    assert story.node.status()["good"] == "b"
    assert machine.succeed("systemctl --failed --no-legend") == ""


def test_an_upgrade_from_b_to_a_crosses_to_debian_13(
    story: Story, images: Images, upgrade_registry: LocalRegistry
) -> None:
    machine = story.machine
    story.references["3"] = push(images("3"), upgrade_registry, "three")
    assert 'VERSION_CODENAME="bookworm"' in machine.succeed("cat /etc/os-release")
    story.install("3")
    before = story.node.booted()
    story.node.arm()
    machine.succeed("systemctl reboot --no-block")
    booted = story.node.wait_for_slot(Slot.A, after=before.boot_id)
    assert booted.root_hash == story.root_hash("3")
    assert 'VERSION_CODENAME="trixie"' in machine.succeed("cat /etc/os-release")
    status = story.node.status()
    assert (status["good"], status["slots"]["a"]["version"]) == ("a", "3.0.0")
    assert story.sums() == story.kept


def test_a_committed_release_is_rolled_back_by_order(story: Story) -> None:
    before = story.node.booted()
    story.node.agent("rollback", "--reboot")
    booted = story.node.wait_for_slot(Slot.B, after=before.boot_id)
    assert (booted.trial, booted.root_hash) == (False, story.root_hash("2"))
    status = story.node.status()
    assert (status["good"], status["other_good"]) == ("b", True)
    assert story.sums() == story.kept


def test_a_node_is_made_new_by_its_own_order(story: Story) -> None:
    """PERSIST is emptied at the next boot: another identity, the same slots."""
    machine = story.machine
    identity = machine.succeed("cat /etc/machine-id")
    asked = json.loads(machine.succeed("proa-disk reset --yes --json"))
    assert (asked["reset"], asked["when"]) == ("PERSIST", "next-boot")
    assert story.sums() == story.kept
    machine.reboot()
    machine.fail(f"ls -d {KEPT}")
    machine.fail("test -e /etc/e2e.conf || test -e /persist/.proa/reset")
    assert machine.succeed("cat /etc/machine-id") != identity
    machine.wait_for_unit("proa-agent.service")
    booted, status = story.node.booted(), story.node.status()
    assert (booted.slot, booted.root_hash) == (Slot.B, story.root_hash("2"))
    assert (status["good"], status["state"]) == ("b", "paired")
