"""Machines that begin where another boot had come to, for real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import memory
from proa.vm.machine.disks import DiskBus, DiskImage
from proa.vm.machine.fleet import Factory
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.machine.states import States, identity
from proa.vm.node import minilinux

pytestmark = pytest.mark.vm

MIB = 2**20
READY = "test -e /run/saved || echo kept >/run/saved; yes first | head -c 65536 | dd of=/dev/vdb bs=64k oflag=direct"
"""Leaves something in memory and something on the second disk."""


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    return States(tmp_path_factory.mktemp("states"))


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> Hardware:
    blank = tmp_path_factory.mktemp("blank") / "blank.raw"
    blank.touch()
    os.truncate(blank, 8 * MIB)
    return Hardware(disks=(DiskImage(minilinux.build(minilinux.default_folder())), DiskImage(blank)))


class Began:
    """Machines begun by the states, each in a folder of its own."""

    def __init__(self, states: States, hardware: Hardware, folders: pytest.TempPathFactory, stack: ExitStack) -> None:
        self.states, self.hardware, self._folders, self._stack = states, hardware, folders, stack
        self.first = ""
        """The boot id in the first state."""

    @property
    def state(self) -> Path:
        return self.states.folder / identity(self.hardware, READY)

    def __call__(self, name: str) -> Machine:
        folder = self._folders.mktemp(name)

        def make() -> Machine:
            machine = Machine(self.hardware, folder, name=name)
            self._stack.callback(machine.crash)
            return machine

        return self.states.begin(self.hardware, folder, make, READY)


@pytest.fixture(scope="module")
def begin(states: States, hardware: Hardware, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Began]:
    with ExitStack() as stack:
        yield Began(states, hardware, tmp_path_factory, stack)


@pytest.fixture(scope="module")
def saved(begin: Began) -> Machine:
    """The machine that was booted and saved, and that has gone on since."""
    machine = begin("saved")
    begin.first = machine.boot_id
    return machine


@pytest.fixture(scope="module")
def restored(begin: Began, saved: Machine) -> Machine:
    assert saved.running
    return begin("restored")


def test_the_machine_that_was_saved_goes_on(saved: Machine, begin: Began) -> None:
    assert saved.succeed("cat /run/saved") == "kept\n"
    assert {path.name for path in begin.state.iterdir()} == {
        *("memory", "disk0.qcow2", "disk1.qcow2", "variables.fd", "ssh.key", "ssh.pub", "console.raw", "state.json")
    }


def test_a_restored_machine_is_the_one_that_was_saved(saved: Machine, restored: Machine) -> None:
    assert restored.boot_id == saved.boot_id
    assert restored.succeed("cat /run/saved") == "kept\n"
    assert restored.succeed("cat /root/.ssh/authorized_keys") == (restored.folder / "ssh.pub").read_text()
    assert restored.port(22) != saved.port(22)
    assert "minilinux: ready" in restored.console.text
    assert not any("TRANSFER" in event.name for event in restored.events)


def test_its_clock_is_right(restored: Machine) -> None:
    now = datetime.now(UTC).timestamp()
    assert abs(int(restored.succeed("date +%s")) - now) < 60


def test_it_hears_what_is_typed_on_its_console(restored: Machine) -> None:
    mark = restored.console.mark()
    restored.console.send(b"echo typed $((6 * 7))\n")
    assert restored.wait_for_console(r"^typed \d+", since=mark).group() == "typed 42"


def test_what_one_writes_the_other_does_not_read(saved: Machine, restored: Machine, begin: Began) -> None:
    for machine, word in ((saved, "saved"), (restored, "other")):
        machine.succeed(f"yes {word} | head -c 65536 | dd of=/dev/vdb bs=64k oflag=direct conv=fsync")
    third = begin("third")
    found = [one.succeed("dd if=/dev/vdb bs=512 count=1 | head -n 1") for one in (saved, restored, third)]
    assert found == ["saved\n", "other\n", "first\n"]
    third.crash()


def test_an_orderly_reboot_boots(restored: Machine) -> None:
    before, mark, ports = restored.boot_id, len(restored.events), restored.port(22)
    assert restored.reboot() != before
    assert restored.wait_for_event("RESET", since=mark).data["guest"] is True
    restored.fail("test -e /run/saved")
    assert restored.port(22) == ports
    assert restored.succeed("dd if=/dev/vdb bs=512 count=1 | head -n 1") == "other\n"


def test_after_a_power_cut_it_boots_and_has_what_was_written(begin: Began) -> None:
    machine = begin("cut")
    before = machine.boot_id
    machine.succeed("yes written | head -c 65536 | dd of=/dev/vdb bs=64k oflag=direct conv=fsync")
    machine.crash()
    assert not machine.running
    assert machine.overlays[1].read(0, 512).startswith(b"written\n")
    machine.start()
    assert machine.wait_for_boot() != before
    assert machine.succeed("dd if=/dev/vdb bs=512 count=1 | head -n 1") == "written\n"
    machine.crash()


def test_the_fixture_restores(vm: Factory, states: States, hardware: Hardware, saved: Machine) -> None:
    vm.states = states
    machine = vm(*hardware.disks, name="fixture", restored=True, ready=READY)
    assert machine.succeed("cat /run/saved") == "kept\n"
    assert machine.console.lines[-1].text == saved.console.lines[-1].text


def test_a_damaged_state_is_not_used_but_made_anew(begin: Began, saved: Machine) -> None:
    with (begin.state / "memory").open("r+b") as file:
        file.seek(file.seek(0, os.SEEK_END) // 2)
        file.write(b"\xff\x00damage")
    machine = begin("beside-damaged")
    first = machine.boot_id
    assert first != begin.first
    machine.crash()
    again = begin("again")
    assert again.boot_id == first
    again.crash()


def test_a_state_that_qemu_refuses_is_not_used_but_made_anew(begin: Began, states: States, tmp_path: Path) -> None:
    """Of a machine with other hardware, as if the hash had left something out."""
    larger = Hardware(disks=begin.hardware.disks, memory=begin.hardware.memory * 2)
    begin.state.rename(states.folder / identity(larger, READY))
    folder = tmp_path / "larger"
    machines: list[Machine] = []

    def make() -> Machine:
        machines.append(Machine(larger, folder, name="larger"))
        return machines[-1]

    machine = states.begin(larger, folder, make, READY)
    assert [one.running for one in machines] == [False, True]
    assert int(machine.succeed("awk '/MemTotal/ {print $2}' /proc/meminfo")) > begin.hardware.memory * 1024
    machine.crash()


def test_a_device_that_cannot_be_saved_is_told(tmp_path: Path, hardware: Hardware) -> None:
    disk = DiskImage(hardware.disks[1].path, bus=DiskBus.NVME)
    machine = Machine(Hardware(disks=(disk,), extra=("-S",)), tmp_path / "vm")
    with machine, pytest.raises(ProaError, match="nvme") as caught:
        memory.save(machine.monitor, tmp_path / "memory", Deadline("saving", 60))
    assert caught.value.code is Code.TOOL
