"""The boot chain for real: firmware, shim, GRUB, kernel image, initrd and verity root under Secure Boot.

One machine boots a fresh disk; most tests look at that boot. Then the disk boots a second time, beside a twin of the
image it came from. Other machines meet something damaged or signed by somebody else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.builder.engine.keys import create
from proa.builder.formats import pe
from proa.core.release.document import BLOCK_SIZE
from proa.core.runtime import process
from proa.partition.boot import bootstate, envblock
from proa.partition.boot.bootstate import ROUNDS, ROUNDS_MAX, Slot, encode
from proa.partition.boot.grubscript import UKI_PATH
from proa.partition.boot.statefile import ENV_OFFSETS, StateFile
from proa.partition.disk import growing
from proa.partition.disk.layout import MIB, Layout
from proa.partition.disk.readtable import read_layout
from proa.vm.machine.fleet import Factory
from proa.vm.machine.machine import Machine
from proa.vm.node.images import Images

pytestmark = [pytest.mark.vm]

SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
BROKEN = ("kernel-panic", "panic-on-verity", "verity-error", "erofs-error", "failed-unit", "dependency-failed")
INTRUDER = "f+ /etc/intruder 0644 root root - mine"
REFUSED = ("signature-refused", "grub-error")


@pytest.fixture(scope="module")
def image(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.disk("1", tmp_path_factory.mktemp("image") / "disk.raw")


@pytest.fixture(scope="module")
def layout(image: Path) -> Layout:
    return read_layout(image)


@pytest.fixture(scope="module")
def provided(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk that is larger than the image, with what a provisioning service has put at its end."""
    disk = tmp_path_factory.mktemp("provided") / "disk.raw"
    process.run(["cp", "--reflink=auto", "--sparse=always", image, disk])
    with disk.open("r+b") as file:
        file.truncate(image.stat().st_size + 512 * MIB)
    process.run(["sgdisk", "--move-second-header", disk])
    process.run(["sgdisk", "--new=8:-64M:0", "--change-name=8:config-2", disk])
    return disk


@pytest.fixture(scope="module")
def node(provided: Path, keys: Path, shared_vm: Factory) -> Machine:
    """The first boot, with a credential that carries code."""
    machine = shared_vm(provided, keys=keys, name="first-boot", credentials={"tmpfiles.extra": INTRUDER})
    machine.wait_for_boot()
    return machine


@pytest.fixture(scope="module")
def boot(node: Machine) -> dict[str, Any]:
    return dict(json.loads(node.succeed("cat /run/proa/boot.json")))


def table(machine: Machine) -> dict[str, dict[str, Any]]:
    """The partition table as the guest's sfdisk reads it; the disk itself by the name ``disk``."""
    found = json.loads(machine.succeed("sfdisk --json /dev/vda"))["partitiontable"]
    return {"disk": found} | {partition["name"]: partition for partition in found["partitions"]}


def mounts(machine: Machine) -> dict[str, dict[str, str]]:
    found = json.loads(machine.succeed("findmnt --json --list --output TARGET,SOURCE,FSTYPE,OPTIONS"))
    return {entry["target"]: entry for entry in found["filesystems"]}


def test_secure_boot_is_enforced_and_the_kernel_locked_down(node: Machine) -> None:
    assert node.succeed(f"cat {SECURE_BOOT} | od -An -tu1 -j4 -N1").strip() == "1"
    assert "[integrity]" in node.succeed("cat /sys/kernel/security/lockdown")


def test_the_kernel_got_exactly_the_signed_command_line(node: Machine, image: Path, layout: Layout) -> None:
    uki = node.folder / "uki.efi"
    subprocess.run(["mcopy", "-i", f"{image}@@{layout['UKI-A'].start}", f"::{UKI_PATH}", uki], check=True)
    assert node.succeed("cat /proc/cmdline").strip() == pe.read_sections(uki)[".cmdline"].decode()


def test_the_initrd_tells_which_slot_runs(boot: dict[str, Any], images: Images) -> None:
    assert boot == {
        "schema": "proa.boot/v1",
        "slot": "a",
        "disk": "/dev/vda",
        "root": "/dev/vda5",
        "root_hash": images.report("1")["root_hash"],
        "trial": False,
        "left": 0,
        "first_boot": True,
        "persist_check": "clean",
        "identity_lost": False,
    }


def test_the_root_is_verified_and_a_wrong_block_is_a_panic(node: Machine, boot: dict[str, Any]) -> None:
    root = mounts(node)["/"]
    assert (root["source"], root["fstype"]) == ("/dev/mapper/proa-root", "erofs")
    assert "ro" in root["options"].split(",")
    found = node.succeed("dmsetup table proa-root")
    assert boot["root_hash"] in found
    assert "panic_on_corruption" in found


def test_n02_the_first_boot_grows_persist_up_to_the_next_partition_and_gives_new_guids(
    node: Machine, layout: Layout, provided: Path
) -> None:
    now, before = table(node), read_layout(provided)["config-2"]
    persist, stranger = now["PERSIST"], now["config-2"]
    assert (persist["start"] + persist["size"]) * 512 == before.start // MIB * MIB
    assert persist["size"] * 512 > layout["PERSIST"].size + 400 * MIB
    assert (stranger["start"] * 512, stranger["uuid"].lower()) == (before.start, before.guid)
    assert now["disk"]["id"].lower() != layout.disk_guid
    for partition in layout.partitions:
        same = now[partition.name]["uuid"].lower() == partition.guid
        assert same is (partition.name == "BOOT"), partition.name
    file_system = int(node.succeed("stat --file-system --format=%b /persist")) * 4096
    assert file_system > 0.9 * persist["size"] * 512
    node.succeed("sfdisk --verify /dev/vda")


def test_f49_a_committed_boot_does_not_write_the_boot_state(node: Machine, image: Path, layout: Layout) -> None:
    before = StateFile.within(image, layout["STATE"].start)
    now = node.succeed("sha256sum /dev/vda2").split()[0]
    with image.open("rb") as file:
        file.seek(layout["STATE"].start)
        state = file.read(layout["STATE"].size)
    assert before.current() == bootstate.initial()
    assert now == subprocess.run(["sha256sum"], input=state, capture_output=True, check=True).stdout.split()[0].decode()


def test_etc_is_the_slots_own_layer_over_the_releases(node: Machine) -> None:
    etc = mounts(node)["/etc"]
    assert etc["fstype"] == "overlay"
    assert "upperdir=/sysroot/persist/etc/a/upper" in etc["options"]
    options = set(etc["options"].split(","))
    # What is the kernel's own default is not shown; the others must not be there with another value.
    assert not options & {"index=on", "metacopy=on", "xino=on", "xino=auto", "redirect_dir=on", "redirect_dir=follow"}
    node.succeed("touch /etc/proof && test -e /persist/etc/a/upper/proof && rm /etc/proof")


def test_s15_a_credential_that_carries_code_is_thrown_away(node: Machine) -> None:
    assert node.succeed("ls /run/credentials/@system").split() == ["ssh.authorized_keys.root"]
    node.fail("test -e /etc/intruder")
    assert any("credential tmpfiles.extra is not taken" in line.text for line in node.console.lines)


def test_n10_an_error_makes_persist_read_only(node: Machine) -> None:
    assert "errors=remount-ro" in mounts(node)["/persist"]["options"].split(",")
    assert json.loads(node.succeed("proa-agent status --json"))["warnings"] == []


@pytest.mark.parametrize("path", ["/var", "/home", "/root", "/opt/cni"])
def test_what_outlives_a_release_lies_on_persist(node: Machine, path: str) -> None:
    assert mounts(node)[path]["source"] == f"/dev/vda7[{path}]"


def test_the_watchdog_is_armed(node: Machine) -> None:
    assert node.succeed("cat /sys/class/watchdog/watchdog0/state").strip() == "active"
    assert "iTCO" not in node.succeed("cat /sys/class/watchdog/watchdog0/identity")


def test_every_unit_is_well_and_the_boot_came_to_its_end(node: Machine) -> None:
    node.wait_until("systemctl is-system-running --wait || test $(systemctl is-system-running) = degraded")
    assert node.succeed("systemctl --failed --no-legend --plain") == ""
    node.wait_until("test ! -e /persist/.proa/booting")


def test_no_deadline_runs_on_a_committed_boot(node: Machine) -> None:
    assert node.execute("systemctl is-active proa-deadline.timer").text.strip() == "inactive"


def test_the_stages_of_a_boot_come_in_order(node: Machine, record_property: Callable[[str, object], None]) -> None:
    """When each came goes into the report; how long that may take depends on the machine."""
    marks = {
        "grub": r"proa-grub: state",
        "kernel": r"Linux version",
        "initrd": r"Run /init as init",
        "slot": r"proa: slot a of",
        "root": r"Welcome to (?!GRUB)",
    }
    seen = {}
    for name, pattern in marks.items():
        seen[name] = next(line.seconds for line in node.console.lines if re.search(pattern, line.text))
        record_property(name, round(seen[name], 1))
    assert list(seen) == sorted(seen, key=seen.__getitem__), seen


def test_f39_a_second_boot_beside_a_twin_of_the_image_changes_nothing(
    node: Machine, image: Path, keys: Path, vm: Factory, tmp_path: Path
) -> None:
    guids = {name: entry.get("uuid", entry.get("id")) for name, entry in table(node).items()}
    machine_id = node.succeed("cat /etc/machine-id")
    node.shutdown()
    node.overlays[0].export(tmp_path / "grown.raw")
    again = vm(tmp_path / "grown.raw", image, keys=keys, name="twins", start=False)
    shutil.copy(node.folder / "ssh.key", again.folder)  # the one that the node knows from its first boot
    again.start()
    again.wait_for_boot()
    boot = json.loads(again.succeed("cat /run/proa/boot.json"))
    assert (boot["slot"], boot["disk"], boot["first_boot"], boot["trial"]) == ("a", "/dev/vda", False, False)
    assert {name: entry.get("uuid", entry.get("id")) for name, entry in table(again).items()} == guids
    assert again.succeed("cat /etc/machine-id") == machine_id
    again.crash()
    twin = tmp_path / "twin.raw"
    again.overlays[1].export(twin)
    assert subprocess.run(["cmp", twin, image], check=False).returncode == 0


@pytest.mark.bad_signs("failed-unit", "dependency-failed")
def test_f39_of_two_new_twins_neither_is_touched(image: Path, keys: Path, vm: Factory, tmp_path: Path) -> None:
    machine = vm(image, image, keys=keys, name="new-twins", ssh=False, memory=768)
    machine.wait_for_console(r"several disks have it: /dev/vda /dev/vdb")
    machine.wait_for_console(r"STOPPED: no slot comes up")
    machine.crash()
    for number, overlay in enumerate(machine.overlays):
        overlay.export(tmp_path / f"{number}.raw")
        assert subprocess.run(["cmp", tmp_path / f"{number}.raw", image], check=False).returncode == 0


@pytest.mark.bad_signs(*BROKEN)
def test_n10_f57_a_good_slot_with_a_damaged_block_heals_to_the_other_one_and_damage_is_told(
    images: Images, keys: Path, vm: Factory, tmp_path: Path
) -> None:
    """The block is the root's first: the kernel panics when it mounts it. The next boot reads all of the slot."""
    disk = images.disk("1", tmp_path / "disk.raw", standby="2")
    places = read_layout(disk)
    state = StateFile.within(disk, places["STATE"].start)
    state.write(bootstate.commit(bootstate.arm(bootstate.initial(Slot.B), Slot.A)))
    with disk.open("r+b") as file:
        file.seek(places["ROOT-A"].start + 1024)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    # A node that was grown, and whose PERSIST has lost its identity.
    growing.write(disk, growing.plan(disk))
    persist = f"{disk}?offset={places['PERSIST'].start}"
    process.run(["debugfs", "-w", "-R", "rm .proa/new", persist])
    machine = vm(disk, keys=keys, name="damaged")
    machine.wait_for_console(r"dm-verity device corrupted")
    machine.wait_for_console(r"reading the whole root")
    machine.wait_for_console(r"the other slot is known to be good: trying it once")
    machine.wait_for_boot()
    boot = json.loads(machine.succeed("cat /run/proa/boot.json"))
    assert (boot["slot"], boot["trial"]) == ("b", True)
    # n10: told on the console, in the report of the boot and by the agent.
    assert boot["identity_lost"]
    assert "PERSIST HAS LOST THE IDENTITY OF THIS NODE" in machine.console.text
    machine.wait_for_unit("proa-agent.service")
    warnings = " ".join(json.loads(machine.succeed("proa-agent status --json"))["warnings"])
    assert "lost the identity of this node" in warnings


@pytest.mark.bad_signs(*BROKEN)
def test_n21_a_good_slot_whose_tree_is_damaged_is_never_opened_and_does_not_go_round_for_ever(
    image: Path, layout: Layout, images: Images, keys: Path, vm: Factory
) -> None:
    machine = vm(image, keys=keys, name="top", ssh=False, start=False, memory=768)
    tree = images.report("1")["sizes"]["root"]
    machine.overlays[0].write(layout["ROOT-A"].start + tree, b"\xff" * BLOCK_SIZE)
    block = envblock.assign(encode(bootstate.initial()), ROUNDS, str(ROUNDS_MAX))
    assert block is not None
    for offset in ENV_OFFSETS:
        machine.overlays[0].write(layout["STATE"].start + offset, block)
    machine.start()
    machine.wait_for_console(r"slot a: /dev/vda5 does not hold the root")
    machine.wait_for_console(r"STOPPED: no slot comes up \(slot a: /dev/vda5 does not hold the root")
    assert "rebooting in 10 seconds" not in machine.console.text


def replace_file(disk: Path, partition: str, name: str, source: Path) -> None:
    where = f"{disk}@@{read_layout(disk)[partition].start}"
    subprocess.run(["mcopy", "-o", "-i", where, source, f"::{name}"], check=True)


def take_file(disk: Path, partition: str, name: str, target: Path) -> None:
    where = f"{disk}@@{read_layout(disk)[partition].start}"
    subprocess.run(["mcopy", "-n", "-i", where, f"::{name}", target], check=True)


def unsigned_uki(disk: Path, work: Path) -> None:
    take_file(disk, "UKI-A", UKI_PATH, work / "uki.efi")
    subprocess.run(["sbattach", "--remove", work / "uki.efi"], check=True)
    replace_file(disk, "UKI-A", UKI_PATH, work / "uki.efi")


def altered_uki(disk: Path, work: Path) -> None:
    take_file(disk, "UKI-A", UKI_PATH, work / "uki.efi")
    data = bytearray((work / "uki.efi").read_bytes())
    data[pe.locate(work / "uki.efi", ".cmdline")[0]] ^= 1
    (work / "uki.efi").write_bytes(data)
    replace_file(disk, "UKI-A", UKI_PATH, work / "uki.efi")


def strangers_grub(disk: Path, work: Path) -> None:
    take_file(disk, "BOOT", "/EFI/BOOT/grubx64.efi", work / "grub.efi")
    subprocess.run(["sbattach", "--remove", work / "grub.efi"], check=True)
    pe.sign(work / "grub.efi", work / "signed.efi", create(work / "keys"))
    replace_file(disk, "BOOT", "/EFI/BOOT/grubx64.efi", work / "signed.efi")


def distributions_grub(disk: Path, work: Path) -> None:
    """Debian's own, signed by the certificate that Debian's shim has built in."""
    signed = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
    replace_file(disk, "BOOT", "/EFI/BOOT/grubx64.efi", signed)


def altered_shim(disk: Path, work: Path) -> None:
    take_file(disk, "BOOT", "/EFI/BOOT/BOOTX64.EFI", work / "shim.efi")
    data = bytearray((work / "shim.efi").read_bytes())
    data[pe.locate(work / "shim.efi", ".data")[0]] ^= 1
    (work / "shim.efi").write_bytes(data)
    replace_file(disk, "BOOT", "/EFI/BOOT/BOOTX64.EFI", work / "shim.efi")


@pytest.mark.bad_signs(*REFUSED)
@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (unsigned_uki, r"proa-grub: cannot-load slot=a"),
        (altered_uki, r"proa-grub: cannot-load slot=a"),
        (strangers_grub, r"Security Violation"),
        (distributions_grub, r"Security Violation"),
        (altered_shim, r"Access Denied|Security Violation"),
    ],
)
def test_what_is_not_the_owners_is_refused(
    image: Path, keys: Path, vm: Factory, tmp_path: Path, change: Callable[[Path, Path], None], refusal: str
) -> None:
    disk = tmp_path / "disk.raw"
    shutil.copyfile(image, disk)
    change(disk, tmp_path)
    machine = vm(disk, keys=keys, name=change.__name__, ssh=False, memory=512, cpus=1)
    machine.wait_for_console(refusal)
    assert not re.search(r"Linux version", machine.console.text)
