"""QEMU's command line, and QEMU as a process."""

from __future__ import annotations

import base64
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import credentials, variants
from proa.vm.machine.accel import KVM, TCG
from proa.vm.machine.disks import DiskBus, DiskCache, DiskImage, Overlay
from proa.vm.machine.firmware import Firmware
from proa.vm.machine.qemu import Hardware, Network, Parts, Running, arguments, serial_line
from proa.vm.support.limits import FASTEST, TimeLimits

FIRMWARE = Firmware(Path("/fw/code.fd"), Path("/fw/vars.fd"), False)


def words(folder: Path, hardware: Hardware, *disks: DiskImage, secure: bool = False) -> list[str]:
    overlays = tuple(Overlay(folder / f"disk{number}.qcow2", disk) for number, disk in enumerate(disks))
    return arguments(hardware, Parts(folder, replace(FIRMWARE, secure=secure), TCG, overlays), 7, 8)


def after(argv: list[str], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(argv) if word == option]


def test_secure_boot_guards_the_variables_by_smm(tmp_path: Path) -> None:
    argv = words(tmp_path, Hardware(), secure=True)
    assert after(argv, "-machine") == ["q35,smm=on,sata=off,smbus=off,vmport=off"]
    assert after(argv, "-global") == ["driver=cfi.pflash01,property=secure,value=on"]


def test_without_secure_boot_there_is_no_smm(tmp_path: Path) -> None:
    argv = words(tmp_path, Hardware())
    assert after(argv, "-machine") == ["q35,smm=off,sata=off,smbus=off,vmport=off"]
    assert after(argv, "-global") == []


def test_only_a_machine_with_sata_disks_has_a_controller_for_them(tmp_path: Path) -> None:
    (argument,) = after(words(tmp_path, Hardware(), DiskImage(tmp_path / "base", bus=DiskBus.SATA)), "-machine")
    assert "sata=on" in argument.split(",")


def test_the_firmware_is_read_only_and_the_variables_are_the_machines_own(tmp_path: Path) -> None:
    code, variables = after(words(tmp_path, Hardware()), "-drive")
    assert "readonly=on,file=/fw/code.fd" in code
    assert variables.endswith(f"file={tmp_path}/variables.fd")


@pytest.mark.parametrize("cache", DiskCache)
def test_each_cache_mode_is_said_on_both_layers_and_to_the_guest(tmp_path: Path, cache: DiskCache) -> None:
    argv = words(tmp_path, Hardware(), DiskImage(tmp_path / "base", cache=cache))
    (node,), mode = after(argv, "-blockdev"), cache.value
    (device,) = (word for word in after(argv, "-device") if "drive=disk0" in word)
    for prefix in ("", "file."):
        assert f",{prefix}cache.direct={'on' if mode.direct else 'off'}" in node
        assert f",{prefix}cache.no-flush={'off' if mode.flush else 'on'}" in node
    assert f"write-cache={'on' if mode.volatile else 'off'}" in device


@pytest.mark.parametrize("bus", DiskBus)
@pytest.mark.parametrize("sector", [512, 4096])
def test_disks_boot_in_their_order_on_every_bus(tmp_path: Path, bus: DiskBus, sector: int) -> None:
    if bus is DiskBus.SATA and sector != 512:
        with pytest.raises(ProaError, match="only sectors of 512 bytes"):
            DiskImage(tmp_path / "base", bus=bus, sector_size=sector)
        return
    argv = words(tmp_path, Hardware(), *(DiskImage(tmp_path / "base", bus=bus, sector_size=sector) for _ in range(2)))
    devices = [word for word in after(argv, "-device") if "drive=disk" in word]
    assert [f"drive=disk{number},bootindex={number}" in device for number, device in enumerate(devices)] == [True] * 2
    assert all(device.startswith(bus.value) for device in devices)
    assert all(f"logical_block_size={sector},physical_block_size={sector}" in device for device in devices)


def test_the_image_below_an_overlay_is_read_only_and_commas_are_escaped(tmp_path: Path) -> None:
    (node,) = after(words(tmp_path, Hardware(), DiskImage(tmp_path / "a,b.raw")), "-blockdev")
    assert "backing.read-only=on" in node
    assert node.endswith("a,,b.raw")


def test_ssh_is_forwarded_from_a_free_port_of_the_loopback_address(tmp_path: Path) -> None:
    assert after(words(tmp_path, Hardware()), "-netdev") == [
        "user,id=net0,dhcpstart=10.0.2.15,restrict=off,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22"
    ]


def test_a_port_that_was_given_once_stays(tmp_path: Path) -> None:
    parts = Parts(tmp_path, FIRMWARE, TCG, ())
    argv = arguments(Hardware(network=Network(forward={0: 80})), parts, 3, 4, {22: 40022, 80: 40080})
    (netdev,) = after(argv, "-netdev")
    assert netdev.endswith("hostfwd=tcp:127.0.0.1:40080-:80,hostfwd=tcp:127.0.0.1:40022-:22")


def test_with_virtualisation_a_reset_is_one(tmp_path: Path) -> None:
    argv = arguments(Hardware(), Parts(tmp_path, FIRMWARE, KVM, ()), 3, 4)
    assert after(argv, "-action") == ["watchdog=reset"]


def test_a_restricted_network_and_more_ports(tmp_path: Path) -> None:
    network = Network(restrict=True, forward={8080: 80})
    (netdev,) = after(words(tmp_path, Hardware(network=network, ssh=False)), "-netdev")
    assert netdev == "user,id=net0,dhcpstart=10.0.2.15,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:8080-:80"


def test_an_address_of_the_guests_network_leads_to_a_port_of_the_host(tmp_path: Path) -> None:
    network = Network(services={"10.0.2.129:443": 6443}, source="127.0.0.21", address="10.0.2.21")
    (netdev,) = after(words(tmp_path, Hardware(network=network, ssh=False)), "-netdev")
    assert netdev.startswith("user,id=net0,dhcpstart=10.0.2.21,")
    assert netdev.endswith(f",guestfwd=tcp:10.0.2.129:443-cmd:{sys.executable} -m proa.vm.machine.pipe 6443 127.0.0.21")


def test_what_is_not_wanted_is_not_there(tmp_path: Path) -> None:
    bare = words(tmp_path, Hardware(network=None, watchdog=False, display=False, extra=("-S",)))
    assert not {"-netdev", "-smbios"} & set(bare)
    assert after(bare, "-action") == ["reboot=shutdown"]
    assert after(bare, "-device") == ["virtio-rng-pci"]
    assert bare[-1] == "-S"


def test_processors_are_as_many_as_said_else_what_the_acceleration_does_best_with(tmp_path: Path) -> None:
    assert after(words(tmp_path, Hardware(cpus=3)), "-smp") == ["3"]
    assert after(words(tmp_path, Hardware()), "-smp") == [str(TCG.cpus)]


def test_the_watchdog_resets(tmp_path: Path) -> None:
    argv = words(tmp_path, Hardware())
    assert after(argv, "-action") == ["reboot=shutdown", "watchdog=reset"]
    assert "i6300esb" in after(argv, "-device")


def test_credentials_go_through_files_that_only_the_owner_reads(tmp_path: Path) -> None:
    argv = words(tmp_path, Hardware(credentials={"a.secret": b"\x00,=\n"}))
    (value,) = after(argv, "-smbios")
    file = tmp_path / "credentials" / "a.secret"
    assert value == f"type=11,path={file}"
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0
    name, data = file.read_text().split("=", 1)
    assert (name, base64.b64decode(data)) == ("io.systemd.credential.binary:a.secret", b"\x00,=\n")


def test_what_smbios_has_no_room_for_goes_by_fw_cfg(tmp_path: Path) -> None:
    """The smallest ones first, as many as fit into what systemd 252 reads of the table: a page with its head."""
    given: dict[str, str | bytes] = {
        "small": "s" * 100,
        "large": b"\x00" * 9000,
        "middle": "m" * 2700,
        "more": "x" * 2800,
    }
    argv = words(tmp_path, Hardware(credentials=given, ssh=False))
    strings = [Path(value.partition("path=")[2]) for value in after(argv, "-smbios")]
    assert [path.name for path in strings] == ["small", "middle"]
    assert 5 + sum(len(path.read_text()) + 1 for path in strings) + 1 <= 4096
    others = [value for value in after(argv, "-fw_cfg") if "systemd" in value]
    assert [value.partition(",")[0] for value in others] == [
        f"name=opt/io.systemd.credentials/{name}" for name in ("more", "large")
    ]
    assert (tmp_path / "credentials/large").read_bytes() == given["large"]
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "credentials").iterdir()} == {0}


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "..", "a=b", "x" * 256])
def test_names_that_systemd_would_not_take_are_refused(name: str) -> None:
    with pytest.raises(ProaError) as caught:
        credentials.encode(name, "x")
    assert caught.value.code is Code.USAGE


def test_a_credential_that_is_too_large_is_refused() -> None:
    credentials.encode("x", bytes(credentials.LARGEST))
    with pytest.raises(ProaError, match="at most 32768"):
        credentials.encode("x", bytes(credentials.LARGEST + 1))


def test_limits_scale_but_never_below_the_fastest() -> None:
    assert TimeLimits().scaled(2.0).boot == 2 * TimeLimits().boot
    assert TimeLimits().scaled(0.01).boot == FASTEST * TimeLimits().boot
    assert TimeLimits().deadline("boot", "x").seconds == TimeLimits().boot
    assert TimeLimits().deadline("boot", "x", 3.0).seconds == 3.0


def fake_qemu(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path, FIRMWARE, TCG, ())


def test_a_qemu_that_ends_at_once_says_why(tmp_path: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_qemu(tmp_path, "echo no such machine >&2; exit 1", monkeypatch)
    running = Running(Hardware(), parts)
    assert running.wait(300)
    assert not running.alive
    failure = running.failure("it did not start")
    assert failure.code is Code.TOOL
    assert "no such machine" in failure.message
    running.serial.close()
    running.monitor.close()


def test_a_killed_qemu_is_gone_and_killing_it_again_is_harmless(
    tmp_path: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu(tmp_path, "exec sleep 100", monkeypatch)
    running = Running(Hardware(), parts)
    states = [running.alive]
    running.kill()
    states.append(running.alive)
    running.kill()
    assert states == [True, False]
    running.serial.close()
    running.monitor.close()


def test_qemu_inherits_the_two_sockets(tmp_path: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    words = 'for w in "$@"; do case $w in socket,id=console,fd=*) n=${w##*=};; esac; done'
    script = f"exec bash -c '{words}; echo boo >&$n' fake \"$@\""
    fake_qemu(tmp_path, script, monkeypatch)
    running = Running(Hardware(), parts)
    assert running.serial.recv(10) == b"boo\n"
    assert running.wait(300)
    running.serial.close()
    running.monitor.close()


def test_n22_a_machine_may_have_what_servers_have(tmp_path: Path) -> None:
    """A TPM by a socket that QEMU inherits, cards without a cable before the one that works, a clock that stops."""
    hardware = Hardware(tpm=True, spare_cards=2, clock=False)
    argv = arguments(hardware, Parts(tmp_path, FIRMWARE, TCG, ()), 7, 8, chip=9)
    assert "socket,id=tpm,fd=9" in after(argv, "-chardev")
    assert "tpm-crb,tpmdev=tpm0" in after(argv, "-device")
    cards = [word for word in after(argv, "-device") if "netdev=" in word]
    assert [word.split(",")[1] for word in cards] == ["netdev=spare0", "netdev=spare1", "netdev=net0"]
    hubs = [word.rpartition("=")[2] for word in after(argv, "-netdev") if word.startswith("hubport,")]
    assert sorted(hubs) == ["1", "1", "2", "2"], "a hub of one port never takes what its card sends"
    assert after(argv, "-rtc") == ["base=2000-01-01T00:00:00"]


def test_n22_a_machine_has_none_of_it_by_default(tmp_path: Path) -> None:
    argv = words(tmp_path, Hardware())
    assert after(argv, "-tpmdev") == []
    assert after(argv, "-rtc") == ["base=utc"]
    assert [word for word in after(argv, "-device") if "spare" in word] == []


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_n22_every_kind_of_machine_can_be_made(tmp_path: Path, name: str) -> None:
    variant = variants.find(name)
    disk = DiskImage(tmp_path / "system", sector_size=variant.sector_size, bus=variant.bus)
    spare = variant.spare_disks(tmp_path)
    argv = words(tmp_path, Hardware(**variant.hardware), disk, *spare)
    drives = [word for word in after(argv, "-device") if "drive=disk" in word]
    assert [word.split(",")[0] for word in drives] == [bus.value for bus in (variant.bus, *variant.others)]
    assert all(one.path.stat().st_size == 64 << 20 for one in spare)


def test_n22_an_unknown_kind_of_machine_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ProaError) as caught:
        variants.find("mainframe")
    assert caught.value.code is Code.USAGE
    assert all(name in caught.value.message for name in variants.VARIANTS)


def test_a_serial_line_has_room_for_what_nobody_has_read_yet() -> None:
    """QEMU sends each character alone, and drops those that find no room: a message of the firmware had a gap."""
    ours, theirs = serial_line()
    with ours, theirs:
        theirs.setblocking(False)
        assert sum(theirs.send(b"x") for _ in range(500)) == 500
