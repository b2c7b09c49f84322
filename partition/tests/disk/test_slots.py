"""Which disk, which slot: told by device numbers and the root hash, whatever else is attached."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot
from proa.partition.disk import layout
from proa.partition.disk.kernel import KernelSystem
from proa.partition.disk.layout import MIB, Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.slots import Extent, discover, open_image
from proa.partition.disk.system import Block
from proa.partition.disk.table import write_table

ROOT_HASH = "ab" * 32
TABLE = f"0 4096 verity 1 254:5 254:5 4096 4096 512 513 sha256 {ROOT_HASH} cd 1 panic_on_corruption\n"
SMALL = Sizes(uki=4 * MIB, root=8 * MIB, persist=16 * MIB)


@dataclass
class Machine:
    """A machine that answers as the kernel does: disks are image files, everything else is a table."""

    folder: Path
    words: str = f"ro proa.root_hash={ROOT_HASH} proa.salt=cd"
    table: str = TABLE
    loader: str = ""
    blocks: dict[str, Block] = field(default_factory=dict)
    mappings: dict[str, str] = field(default_factory=dict)
    below: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def attach(self, name: str, major: int, planned: Layout) -> list[Block]:
        """Attach a disk with that layout; its partitions are ``MAJOR:NUMBER``."""
        node = self.folder / name
        write_table(node, planned)
        disk = Block(f"{major}:0", node, size=planned.disk_size)
        joint = "p" if name[-1].isdigit() else ""
        partitions = [
            Block(
                number=f"{major}:{partition.number}",
                node=self.folder / f"{name}{joint}{partition.number}",
                index=partition.number,
                start=partition.start,
                size=partition.size,
                disk=disk.number,
            )
            for partition in planned.partitions
        ]
        self.blocks |= {block.number: block for block in [disk, *partitions]}
        return partitions

    def open_root(self, *partitions: Block) -> None:
        """Open the verified root over partitions, as the initrd does over one."""
        self.mappings["proa-root"] = "253:0"
        self.blocks["253:0"] = Block("253:0", self.folder / "dm-0")
        self.below["253:0"] = tuple(partition.number for partition in partitions)

    def cmdline(self) -> str:
        return self.words

    def mapping(self, name: str) -> str | None:
        return self.mappings.get(name)

    def mapping_table(self, name: str) -> str:
        return self.table if name in self.mappings else ""

    def slaves(self, number: str) -> tuple[str, ...]:
        return self.below.get(number, ())

    def block(self, number: str) -> Block:
        if number not in self.blocks:
            raise ProaError(Code.NO_DISK, f"there is no block device {number}")
        return self.blocks[number]

    def partitions(self, disk: str) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks.values() if block.disk == disk)

    def loader_partition(self) -> str:
        return self.loader


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def slots_disk(seed: str = "slots") -> Layout:
    return plan(LayoutRequest(seed, SMALL))


def refused(machine: Machine) -> ProaError:
    with pytest.raises(ProaError) as failed:
        discover(machine)
    return failed.value


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("name", ["sda", "vda", "nvme0n1", "mmcblk0", "sdaa", "loop7"])
def test_the_slot_below_the_root_is_the_booted_one(machine: Machine, name: str, slot: Slot) -> None:
    partitions = machine.attach(name, 8, slots_disk())
    root = partitions[slots_disk()[slot.root_name].number - 1]
    machine.open_root(root)
    node = discover(machine)
    assert node.booted is slot
    assert node.root_hash == ROOT_HASH
    assert node.evidence is not None
    assert (node.evidence.root_device, node.evidence.root_number) == (root.node, root.number)
    assert node.evidence.table_hash == ROOT_HASH
    assert node.evidence.loader_agrees is None
    assert node.disk.path == machine.folder / name
    for partition, block in zip(slots_disk().partitions, partitions, strict=True):
        extent = node.disk.partitions[partition.name]
        assert extent == Extent(block.node, 0, partition.size, block.number)


@pytest.mark.parametrize("twin_first", [True, False])
@pytest.mark.parametrize("slot", Slot)
def test_f39_a_second_disk_with_the_same_image_changes_nothing(machine: Machine, slot: Slot, twin_first: bool) -> None:
    majors = (9, 8) if twin_first else (8, 9)
    own, _twin = (machine.attach(name, major, slots_disk()) for name, major in zip(("sdb", "sda"), majors, strict=True))
    machine.open_root(own[slots_disk()[slot.root_name].number - 1])
    node = discover(machine)
    assert node.booted is slot
    assert node.disk.path.name == "sdb"
    assert all(extent.path.name.startswith("sdb") for extent in node.disk.partitions.values())


def test_a_twin_that_keeps_the_factory_guids_is_not_taken_by_the_loader_variable(machine: Machine) -> None:
    """After the first boot the variable still names a GUID that only the twin has."""
    factory = slots_disk()
    fresh = iter(f"00000000-0000-4000-8000-{number:012x}" for number in range(20))
    own = machine.attach("sda", 8, layout.grow(factory, factory.disk_size, lambda: next(fresh)))
    machine.attach("sdb", 9, factory)
    machine.open_root(own[4])
    machine.loader = factory["UKI-A"].guid
    node = discover(machine)
    assert node.disk.path.name == "sda"
    assert node.evidence is not None
    assert node.evidence.loader_agrees is None


@pytest.mark.parametrize(("name", "agrees"), [("UKI-A", True), ("UKI-B", False), ("BOOT", False), (None, None)])
def test_the_loader_variable_is_a_cross_check_only(machine: Machine, name: str | None, agrees: bool | None) -> None:
    machine.open_root(machine.attach("sda", 8, slots_disk())[4])
    machine.loader = slots_disk()[name].guid if name else "11111111-1111-4111-8111-111111111111"
    node = discover(machine)
    assert node.booted is Slot.A
    assert node.evidence is not None
    assert node.evidence.loader_agrees is agrees


def test_without_dmsetup_the_signed_command_line_names_the_root(machine: Machine) -> None:
    machine.open_root(machine.attach("sda", 8, slots_disk())[5])
    machine.table = ""
    node = discover(machine)
    assert (node.booted, node.root_hash) == (Slot.B, ROOT_HASH)
    assert node.evidence is not None
    assert node.evidence.table_hash == ""


def test_a_root_of_another_hash_is_refused(machine: Machine) -> None:
    machine.open_root(machine.attach("sda", 8, slots_disk())[4])
    machine.words = f"proa.root_hash={'ef' * 32}"
    error = refused(machine)
    assert error.code is Code.AMBIGUOUS
    assert ROOT_HASH in error.message
    assert "ef" * 32 in error.message


@pytest.mark.parametrize("table", ["0 4096 linear 254:5 0", "0 4096 crypt aes x 0 254:5 0 1 2 3 4 5 6 7"])
def test_a_root_that_is_not_verified_is_refused(machine: Machine, table: str) -> None:
    machine.open_root(machine.attach("sda", 8, slots_disk())[4])
    machine.table = table
    assert refused(machine).code is Code.NO_DISK


@pytest.mark.parametrize(
    ("words", "code"),
    [("ro quiet", Code.NO_DISK), (f"proa.root_hash={ROOT_HASH} proa.root_hash={'ef' * 32}", Code.AMBIGUOUS)],
)
def test_the_command_line_must_name_one_root(machine: Machine, words: str, code: Code) -> None:
    machine.open_root(machine.attach("sda", 8, slots_disk())[4])
    machine.words, machine.table = words, ""  # without dmsetup, so that no running root settles it
    assert refused(machine).code is code


def test_no_verified_root_is_no_node(machine: Machine) -> None:
    machine.attach("sda", 8, slots_disk())
    error = refused(machine)
    assert error.code is Code.NO_DISK
    assert "proa-root" in error.at


def test_a_root_over_several_devices_is_refused(machine: Machine) -> None:
    partitions = machine.attach("sda", 8, slots_disk())
    machine.open_root(partitions[4], partitions[5])
    assert refused(machine).code is Code.AMBIGUOUS
    machine.open_root()
    assert refused(machine).code is Code.NO_DISK


def test_a_root_over_a_whole_disk_or_another_mapping_is_refused(machine: Machine) -> None:
    """Multipath or LVM below the root: no partition, so no disk of which it could be one."""
    machine.attach("sda", 8, slots_disk())
    for below in (machine.block("8:0"), Block("253:1", machine.folder / "dm-1")):
        machine.blocks[below.number] = below
        machine.open_root(below)
        error = refused(machine)
        assert error.code is Code.NO_DISK
        assert str(below.node) in error.message


def test_a_root_on_another_partition_is_no_slot(machine: Machine) -> None:
    machine.open_root(machine.attach("sda", 8, slots_disk())[6])
    assert "not a slot" in refused(machine).message


def test_a_table_that_the_kernel_has_not_read_yet_is_refused(machine: Machine) -> None:
    partitions = machine.attach("sda", 8, slots_disk())
    machine.open_root(partitions[4])
    machine.blocks[partitions[6].number] = dataclasses.replace(partitions[6], size=partitions[6].size + MIB)
    error = refused(machine)
    assert error.code is Code.NO_DISK
    assert "PERSIST" in error.message
    del machine.blocks[partitions[6].number]
    assert refused(machine).code is Code.NO_DISK


def test_a_name_twice_on_the_own_disk_is_ambiguous(machine: Machine) -> None:
    planned = slots_disk()
    partitions = list(planned.partitions)
    partitions[5] = dataclasses.replace(partitions[5], name="ROOT-A")
    machine.open_root(machine.attach("sda", 8, dataclasses.replace(planned, partitions=tuple(partitions)))[4])
    assert refused(machine).code is Code.AMBIGUOUS


def test_a_disk_that_is_not_ours_is_refused(machine: Machine) -> None:
    partitions = machine.attach("sda", 8, slots_disk())
    machine.open_root(partitions[4])
    with (machine.folder / "sda").open("r+b") as file:
        file.write(bytes(MIB))
        file.truncate(MIB)
    assert refused(machine).code is Code.NO_DISK


@pytest.mark.parametrize("sector_size", layout.SECTOR_SIZES)
def test_an_image_has_its_partitions_at_offsets(tmp_path: Path, sector_size: int) -> None:
    planned = plan(LayoutRequest("slots", SMALL, sector_size=sector_size))
    write_table(tmp_path / "disk.raw", planned)
    disk = open_image(tmp_path / "disk.raw")
    assert (disk.path, disk.sector_size, disk.layout) == (tmp_path / "disk.raw", sector_size, planned)
    for partition in planned.partitions:
        extent = disk.partitions[partition.name]
        assert extent == Extent(disk.path, partition.start, partition.size)


def test_a_missing_image_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as failed:
        open_image(tmp_path / "none.raw")
    assert failed.value.code is Code.FILE_MISSING


def test_a_node_needs_neither_libparted_nor_an_image_a_udev_library() -> None:
    program = (
        "import sys; sys.modules['parted'] = sys.modules['_ped'] = sys.modules['pyudev'] = None;"
        "import proa.partition.disk.slots, proa.partition.cli.main, proa.partition.disk.persist;"
        "import proa.partition.cli.showing"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_this_machine_is_asked_when_none_is_given() -> None:
    """Where the tests run, no root of ours is open; the answer is an error and no guess."""
    if Path("/dev/mapper/proa-root").exists():
        assert discover().booted is not None
        return
    with pytest.raises(ProaError) as failed:
        discover()
    assert failed.value.code is Code.NO_DISK


def test_the_loader_variable_is_read_past_its_attributes(tmp_path: Path) -> None:
    folder = tmp_path / "sys/firmware/efi/efivars"
    folder.mkdir(parents=True)
    assert KernelSystem(tmp_path).loader_partition() == ""
    value = bytes([6, 0, 0, 0]) + "D730ED71-5D81-56E4-A8C0-BBC3A343019A\0".encode("utf-16-le")
    (folder / "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f").write_bytes(value)
    assert KernelSystem(tmp_path).loader_partition() == "d730ed71-5d81-56e4-a8c0-bbc3a343019a"


@pytest.mark.parametrize("number", ["", "x:y", "4095:1048575"])
def test_a_device_that_is_not_there_is_told(number: str) -> None:
    with pytest.raises(ProaError) as failed:
        KernelSystem().block(number)
    assert failed.value.code is Code.NO_DISK


class Opened(KernelSystem):
    """The running kernel, but for the device mapper and the command line, which a test cannot have."""

    def __init__(self, below: str) -> None:
        super().__init__()
        self._below = below

    def cmdline(self) -> str:
        return f"proa.root_hash={ROOT_HASH}"

    def mapping(self, name: str) -> str | None:
        return "253:0"

    def mapping_table(self, name: str) -> str:
        return TABLE

    def slaves(self, number: str) -> tuple[str, ...]:
        return (self._below,)


@contextmanager
def loop_device(image: Path, sector_size: int) -> Iterator[Path]:
    losetup, partx = (shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") or name for name in ("losetup", "partx"))
    done = subprocess.run(
        [losetup, "--find", "--show", "--partscan", "--sector-size", str(sector_size), image],
        check=True,
        capture_output=True,
        text=True,
    )
    node = Path(done.stdout.strip())
    try:
        subprocess.run([partx, "--update", node], check=True)
        yield node
    finally:
        subprocess.run([partx, "--delete", node], check=False)
        subprocess.run([losetup, "--detach", node], check=True)


@pytest.mark.contract
@pytest.mark.parametrize("sector_size", layout.SECTOR_SIZES)
def test_the_real_kernel_tells_two_equal_disks_apart(tmp_path: Path, sector_size: int) -> None:
    planned = plan(LayoutRequest("slots", SMALL, sector_size=sector_size))
    with ExitStack() as stack:
        nodes = []
        for name in ("one.raw", "two.raw"):
            write_table(tmp_path / name, planned)
            nodes.append(stack.enter_context(loop_device(tmp_path / name, sector_size)))
        for node in nodes:
            for slot in Slot:
                number = planned[slot.root_name].number
                below = (Path("/sys/class/block") / f"{node.name}p{number}" / "dev").read_text().strip()
                found = discover(Opened(below))
                assert (found.disk.path, found.booted) == (node, slot)
                assert found.disk.partitions["PERSIST"].path == Path(f"{node}p7")
                assert found.disk.sector_size == sector_size


@pytest.mark.contract
def test_the_kernel_is_believed_for_devices(tmp_path: Path) -> None:
    write_table(tmp_path / "one.raw", slots_disk())
    with loop_device(tmp_path / "one.raw", 512) as node:
        system = KernelSystem()
        device = node.stat().st_rdev
        disk = f"{os.major(device)}:{os.minor(device)}"
        assert system.block(disk) == Block(disk, node, size=slots_disk().disk_size)
        assert {extent.number for extent in open_image(node).partitions.values()} == {disk}
        assert system.slaves(disk) == ()
        found = system.partitions(disk)
        assert [(block.start, block.size) for block in found] == [(p.start, p.size) for p in slots_disk().partitions]
        assert [block.index for block in found] == list(range(1, 8))
        assert {block.disk for block in found} == {disk}
