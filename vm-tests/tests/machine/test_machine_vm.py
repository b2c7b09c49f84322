"""Machines for real: a small Linux is commanded, cut off and reset; firmware refuses strangers' signatures."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proa.builder.engine import keys
from proa.builder.formats import pe
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.disks import DiskBus, DiskCache, DiskImage, Overlay
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.node import bare, minilinux

pytestmark = pytest.mark.vm

MIB = 2**20
CACHES = tuple(DiskCache)
GRUB = 'echo "grub: {name} runs"\nhalt\n'


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blank") / "blank.raw"
    path.touch()
    os.truncate(path, 8 * MIB)
    return path


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, blank: Path) -> Iterator[Machine]:
    """A small Linux; behind the disk that it boots from, one blank disk for each cache mode: vdb, vdc, ..."""
    boot = DiskImage(minilinux.build(minilinux.default_folder()))
    disks = (boot, *(DiskImage(blank, cache=cache, serial=cache.name) for cache in CACHES))
    with Machine(Hardware(disks=disks), tmp_path_factory.mktemp("node")) as machine:
        machine.wait_for_boot()
        yield machine


def test_commands_succeed_fail_and_give_their_output(node: Machine) -> None:
    assert node.succeed("echo $((6 * 7))") == "42\n"
    assert node.succeed("cat", stdin=b"\x00\xff typed") == "\x00\ufffd typed"
    assert "No such file" in node.fail("cat /nothing")
    assert node.execute("exit 3").status == 3
    with pytest.raises(ProaError, match="status 7") as caught:
        node.succeed("echo reason >&2; exit 7")
    assert "reason" in caught.value.message
    with pytest.raises(ProaError, match="should have failed"):
        node.fail("true")


def test_a_command_that_takes_too_long_is_a_timeout_and_the_next_one_works(node: Machine) -> None:
    with pytest.raises(ProaError) as caught:
        node.succeed("sleep 60", seconds=1)
    assert caught.value.code is Code.TIMEOUT
    assert node.succeed("echo on") == "on\n"


def test_units_and_conditions_are_waited_for(node: Machine) -> None:
    node.succeed("mkdir -p /run/units; (sleep 1; echo active > /run/units/good) >/dev/null 2>&1 &")
    node.wait_for_unit("good")
    assert node.wait_until("cat /run/units/good") == "active\n"
    assert node.wait_until(lambda: node.running) == ""
    node.succeed("echo failed > /run/units/bad; echo the reason > /run/units/bad.log")
    with pytest.raises(ProaError, match="the reason"):
        node.wait_for_unit("bad")
    with pytest.raises(ProaError) as caught:
        node.wait_until("false", seconds=0.5)
    assert caught.value.code is Code.TIMEOUT


def test_files_and_folders_go_in_and_come_out(node: Machine, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "bytes").write_bytes(bytes(range(256)) * 4096)
    node.copy_to(tmp_path / "in", "/root/here/it")
    node.copy_to(tmp_path / "in" / "sub" / "bytes", "/root/here/one")
    assert node.succeed("stat -c %u:%g /root/here/it/sub/bytes") == "0:0\n"
    node.copy_from("/root/here", tmp_path / "out")
    for name in ("it/sub/bytes", "one"):
        assert (tmp_path / "out" / name).read_bytes() == bytes(range(256)) * 4096
    with pytest.raises(ProaError) as caught:
        node.copy_from("/root/here", tmp_path / "out")
    assert caught.value.code is Code.FILE_EXISTS


def test_credentials_arrive(node: Machine) -> None:
    assert node.succeed("cat /run/credentials/ssh.authorized_keys.root") == (node.folder / "ssh.pub").read_text()


def test_the_console_is_typed_on_and_read(node: Machine) -> None:
    mark = node.console.mark()
    node.console.send(b"echo typed $((6 * 7))\n")
    assert node.wait_for_console(r"^typed \d+", since=mark).group() == "typed 42"


def test_the_screen_is_a_picture(node: Machine, tmp_path: Path) -> None:
    node.screenshot(tmp_path / "screen.png")
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_bad_signs_come_from_the_guest_itself(node: Machine) -> None:
    before = node.findings()
    with node.allowing("python-traceback"):
        mark = node.console.mark()
        node.succeed("echo 'Traceback (most recent call last):' > /dev/console; echo 'segfault at 0' > /dev/console")
        node.wait_for_console("segfault", since=mark)
        node.wait_until(lambda: len(node.findings()) > len(before))
    assert [finding.sign.name for finding in node.findings()] == ["segfault"]


def test_an_orderly_reboot_is_another_boot(node: Machine) -> None:
    before, mark = node.boot_id, len(node.events)
    assert node.reboot() != before
    assert node.wait_for_event("RESET", since=mark).data["guest"] is True


def test_the_reset_button_starts_it_anew_and_loses_nothing_of_the_disks(node: Machine) -> None:
    before, mark, port = node.wait_for_boot(), len(node.events), node.ssh.port
    node.succeed("yes written | head -c 65536 | dd of=/dev/vdb bs=64k oflag=direct seek=64")
    node.reset()
    assert node.wait_for_reboot(before) != before
    names = {event.name for event in node.events[mark:]}
    assert "RESET" in names
    assert "SHUTDOWN" not in names
    assert node.ssh.port == port
    assert "running" in str(node.monitor.execute("query-status"))
    assert node.succeed("dd if=/dev/vdb bs=64k skip=64 count=1 | head -c 8") == "written\n"


def test_a_power_cut_leaves_what_each_cache_mode_promises(node: Machine) -> None:
    """Flushed writes survive in every mode; those that were only acknowledged, where no cache is volatile."""
    node.wait_for_boot()
    for letter in "bcdefg"[: len(CACHES)]:
        node.succeed(f"yes flushed | head -c 65536 | dd of=/dev/vd{letter} bs=64k oflag=direct conv=fsync")
        node.succeed(f"yes written | head -c 65536 | dd of=/dev/vd{letter} bs=64k oflag=direct seek=64")
    node.crash()
    assert not node.running
    for cache, overlay in zip(CACHES, node.overlays[1:], strict=True):
        assert overlay.read(0, 65536) == b"flushed\n" * 8192, cache
        if not cache.value.volatile:
            assert overlay.read(64 * 65536, 65536) == b"written\n" * 8192, cache
    assert not any(node.hardware.disks[1].path.read_bytes())
    damaged = node.overlays[1]
    damaged.write(512, b"damage")
    node.start()
    node.wait_for_boot()
    assert node.succeed("dd if=/dev/vdb bs=512 skip=1 count=1 | head -c 8") == "damaged\n"


def test_a_guest_that_hangs_is_reset_by_the_watchdog(node: Machine) -> None:
    """The cloud kernel lacks the driver: the i6300esb is armed by hand (Intel 6300ESB datasheet, 16.4 and 16.5)."""
    before, mark = node.wait_for_boot(), len(node.events)
    node.succeed(
        """
        for device in /sys/bus/pci/devices/*; do
          [ "$(cat $device/vendor):$(cat $device/device)" = 0x8086:0x25ab ] && found=$device
        done
        echo 1 > $found/enable
        base=$(head -n 1 $found/resource | cut -d' ' -f1)
        unlock() { devmem $((base + 12)) 16 0x80; devmem $((base + 12)) 16 0x86; }
        unlock; devmem $((base + 0)) 32 0x200
        unlock; devmem $((base + 4)) 32 0x200
        printf '\\2' | dd of=$found/config bs=1 seek=$((0x68)) conv=notrunc
        """
    )
    assert node.wait_for_event("WATCHDOG", since=mark).data["action"] == "reset"
    assert node.wait_for_reboot(before) != before


def test_a_panic_reboots_by_itself(node: Machine) -> None:
    before = node.wait_for_boot()
    with node.allowing("kernel-panic", "kernel-oops", "kernel-bug"):
        node.console.send(b"echo c > /proc/sysrq-trigger\n")
        assert node.wait_for_reboot(before) != before
    assert "Kernel panic - not syncing: sysrq triggered crash" in node.console.text


def test_powering_off_ends_it_and_it_can_be_switched_on_again(node: Machine) -> None:
    node.wait_for_boot()
    node.shutdown()
    assert not node.running
    assert node.events[-1].name == "SHUTDOWN"
    for verb in (node.shutdown, node.reset, node.wait_for_boot):
        with pytest.raises(ProaError, match="the machine is off"):
            verb()


def test_a_machine_that_is_killed_from_outside_is_noticed(node: Machine) -> None:
    node.start()
    os.kill(node.pid, signal.SIGKILL)
    with pytest.raises(ProaError) as caught:
        node.wait_for_console("never")
    assert caught.value.code is Code.CONSOLE
    node.crash()


def test_secure_boot_refuses_strangers_and_boots_the_owners_grub(tmp_path: Path) -> None:
    """One machine, three disks: unsigned, signed by a stranger, signed by the owner (with 4096-byte sectors)."""
    owner, stranger = (keys.create(tmp_path / name, name=name) for name in ("owner", "stranger"))
    disks = []
    for name, signer, sector in (("unsigned", None, 512), ("stranger", stranger, 512), ("owner", owner, 4096)):
        bare.make_grub(tmp_path / f"{name}.efi", GRUB.format(name=name))
        pe.sign(tmp_path / f"{name}.efi", tmp_path / f"{name}.signed", signer)
        minilinux.superfloppy(tmp_path / f"{name}.raw", {"EFI/BOOT/BOOTX64.EFI": tmp_path / f"{name}.signed"}, sector)
        disks.append(DiskImage(tmp_path / f"{name}.raw", sector_size=sector))
    hardware = Hardware(disks=tuple(disks), keys=owner.folder, ssh=False, network=None)
    with Machine(hardware, tmp_path / "vm") as machine:
        machine.wait_for_console("grub: owner runs")
        machine.wait_for_end()
    assert "unsigned runs" not in machine.console.text
    assert "stranger runs" not in machine.console.text
    assert [finding.sign.name for finding in machine.findings()] == ["signature-refused"] * 2


@pytest.mark.parametrize("bus", DiskBus)
def test_every_bus_takes_a_disk_of_either_sector_size(tmp_path: Path, blank: Path, bus: DiskBus) -> None:
    sectors = (512, 512) if bus is DiskBus.SATA else (512, 4096)
    disks = tuple(DiskImage(blank, bus=bus, sector_size=size, size=16 * MIB) for size in sectors)
    with Machine(Hardware(disks=disks, extra=("-S",)), tmp_path / "vm") as machine:
        found = machine.monitor.execute("query-block")
    assert isinstance(found, list)
    sizes = [item["inserted"]["image"]["virtual-size"] for item in found if "qcow2" in str(item.get("inserted"))]
    assert sizes == [16 * MIB] * 2


def test_a_qemu_that_refuses_its_arguments_says_so(tmp_path: Path) -> None:
    machine = Machine(replace(Hardware(), extra=("-device", "no-such-device")), tmp_path / "vm")
    with pytest.raises(ProaError, match="no-such-device") as caught:
        machine.start()
    assert caught.value.code is Code.TOOL
    assert not machine.running


def test_disks_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        Machine(Hardware(disks=(DiskImage(tmp_path / "nothing.raw"),)), tmp_path / "vm")
    assert caught.value.code is Code.FILE_MISSING


def test_an_overlay_is_read_damaged_and_exported(tmp_path: Path, blank: Path) -> None:
    overlay = Overlay.create(DiskImage(blank, size=16 * MIB), tmp_path / "disk.qcow2")
    overlay.write(3 * MIB + 100, b"x" * 1000)
    assert overlay.read(3 * MIB, 2048) == (b"\0" * 100 + b"x" * 1000).ljust(2048, b"\0")
    overlay.export(tmp_path / "out.raw")
    assert (tmp_path / "out.raw").stat().st_size == 16 * MIB
    assert not any(blank.read_bytes())
