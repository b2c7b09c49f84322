"""What a saved machine is kept under, and which states are used and kept."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import sha256
from proa.vm.machine.disks import DiskCache, DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware, Network
from proa.vm.machine.qmp import QmpEvent
from proa.vm.machine.states import States, content, identity, is_first_boot, is_whole

MIB = 2**20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    path.write_bytes(b"x" * MIB + bytes(MIB) + b"y" * 100)
    return path


def machine(image: Path) -> Hardware:
    return Hardware(disks=(DiskImage(image),), credentials={"a.name": "value"})


def keys(folder: Path, text: str) -> Path:
    (folder / "secureboot").mkdir(parents=True)
    for name in ("PK", "KEK", "db"):
        (folder / f"secureboot/{name}.crt").write_text(f"{name} {text}")
    return folder


def test_the_hash_is_of_what_the_disk_holds_not_of_where_it_lies(image: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy.raw"
    copy.parent.mkdir()
    with copy.open("wb") as file:  # with a hole where the other has zeros
        file.write(b"x" * MIB)
        file.seek(MIB, os.SEEK_CUR)
        file.write(b"y" * 100)
    assert content(copy) == content(image)
    assert identity(machine(copy)) == identity(machine(image))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"z" + data[1:],
        lambda data: data[:-1] + b"z",
        lambda data: data + b"\0",
        lambda data: data[: MIB + 5] + b"z" + data[MIB + 6 :],
        lambda data: bytes(MIB) + data[:MIB] + data[2 * MIB :],
    ],
    ids=["first", "last", "longer", "in-the-zeros", "moved"],
)
def test_every_byte_of_a_disk_counts(image: Path, change: Callable[[bytes], bytes]) -> None:
    before = content(image)
    image.write_bytes(change(image.read_bytes()))
    assert content(image) != before


def test_an_empty_image_has_a_hash_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", MIB)
    assert content(tmp_path / "empty") != content(tmp_path / "hole")


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, memory=2048),
        lambda one: replace(one, cpus=2),
        lambda one: replace(one, display=False),
        lambda one: replace(one, watchdog=False),
        lambda one: replace(one, network=Network(restrict=True)),
        lambda one: replace(one, credentials={"a.name": "other"}),
        lambda one: replace(one, credentials={"b.name": "value"}),
        lambda one: replace(one, extra=("-S",)),
        lambda one: replace(one, disks=(replace(one.disks[0], cache=DiskCache.KILLPROOF),)),
        lambda one: replace(one, disks=(replace(one.disks[0], size=9 * MIB),)),
        lambda one: replace(one, disks=(replace(one.disks[0], serial="abc"),)),
        lambda one: replace(one, disks=one.disks * 2),
    ],
)
def test_all_that_a_machine_is_made_of_counts(image: Path, change: Callable[[Hardware], Hardware]) -> None:
    assert identity(change(machine(image))) != identity(machine(image))


def test_the_keys_of_the_firmware_count_and_what_was_waited_for(image: Path, tmp_path: Path) -> None:
    one = machine(image)
    with_keys = replace(one, keys=keys(tmp_path / "one", "x"))
    same = replace(one, keys=keys(tmp_path / "same", "x"))
    other = replace(one, keys=keys(tmp_path / "other", "y"))
    assert identity(with_keys) == identity(same)
    assert len({identity(with_keys), identity(other), identity(one), identity(one, "systemctl is-active x")}) == 4


def a_state(folder: Path, size: int = 4, used: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "memory").write_bytes(b"m" * size)
    (folder / "disk0.qcow2").write_bytes(b"d" * 4)
    index = {name: sha256(folder / name) for name in ("memory", "disk0.qcow2")}
    (folder / "state.json").write_text(json.dumps({"files": index}))
    if used:
        os.utime(folder, (used, used))
    return folder


@pytest.mark.parametrize("name", ["memory", "disk0.qcow2", "state.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_state_with_a_damaged_file_is_not_whole(tmp_path: Path, name: str, damage: str) -> None:
    state = a_state(tmp_path / "state")
    assert is_whole(state)
    if damage == "gone":
        (state / name).unlink()
    else:
        data = (state / name).read_bytes()
        (state / name).write_bytes(data[:-1] if damage == "cut" else b"?" + data[1:])
    assert not is_whole(state)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": []}', '{"files": {"memory": 1}}', '{"files": {"no": ""}}'])
def test_a_list_of_files_that_is_none_is_not_whole(tmp_path: Path, text: str) -> None:
    state = a_state(tmp_path / "state")
    (state / "state.json").write_text(text)
    assert not is_whole(state)


def test_a_boot_that_a_watchdog_began_is_not_kept() -> None:
    assert is_first_boot([QmpEvent("RESUME", {}), QmpEvent("RESET", {})])
    assert not is_first_boot([QmpEvent("WATCHDOG", {"action": "reset"}), QmpEvent("RESET", {})])


def test_what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays(tmp_path: Path) -> None:
    states = States(tmp_path, limit=5 * MIB // 2)
    for number, name in enumerate(("old", "held", "newer", "newest"), 1):
        a_state(tmp_path / name, MIB, used=1000.0 * number)
    with (tmp_path / "held.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        states.forget()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"held", "newer", "newest"}
    states.forget()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"newer", "newest"}


def test_a_machine_without_ssh_is_refused(tmp_path: Path, image: Path) -> None:
    def make() -> Machine:
        raise AssertionError("nothing is to be made")

    for one in (replace(machine(image), ssh=False), replace(machine(image), network=None)):
        with pytest.raises(ProaError) as caught:
            States(tmp_path / "states").begin(one, tmp_path / "vm", make)
        assert caught.value.code is Code.USAGE
