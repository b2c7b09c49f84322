"""The whole GRUB script on a whole disk: what it boots, and what it does when a kernel image cannot be loaded.

In place of kernels stand small GRUBs that say which slot they came from and stop the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.partition.boot import envblock, grubscript, statefile
from proa.partition.boot.bootstate import ROUNDS, ROUNDS_MAX, BootState, Slot, encode
from proa.partition.boot.statefile import StateFile
from proa.partition.disk import table
from proa.partition.disk.layout import MIB, Layout, LayoutRequest, Sizes, plan
from proa.vm.node import bare
from proa.vm.node.bare import Drive

pytestmark = pytest.mark.vm

DEFAULT = Slot.B
SAYS = 'echo "BOOTED {slot}"\nsleep 1\nhalt\n'
RETURNS = "exit\n"  # a kernel image that starts and comes back
LOADER = "EFI/BOOT/BOOTX64.EFI"
STOPPED = f"{grubscript.PREFIX} STOPPED: NOTHING CAN BE BOOTED FROM THIS DISK"


@dataclass(frozen=True)
class Programs:
    """The EFI programs that the disks are filled with."""

    loader: Path
    kernels: dict[Slot, Path]
    returns: Path


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    folder = tmp_path_factory.mktemp("programs")
    bare.make_grub(folder / "loader.efi", grubscript.script(DEFAULT, pause=1, repeat=1), grubscript.MODULES)
    for slot in Slot:
        bare.make_grub(folder / f"{slot.value}.efi", SAYS.format(slot=slot.value))
    bare.make_grub(folder / "returns.efi", RETURNS)
    kernels = {slot: folder / f"{slot.value}.efi" for slot in Slot}
    return Programs(folder / "loader.efi", kernels, folder / "returns.efi")


@dataclass
class Machine:
    """A disk with the layout, and what happened when it was booted."""

    folder: Path
    programs: Programs
    sector_size: int = 512
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        sizes = Sizes(uki=4 * MIB, root=MIB, persist=16 * MIB)
        self.layout = plan(LayoutRequest(seed="grub", sizes=sizes, sector_size=self.sector_size))
        table.write_table(self.disk, self.layout)
        self.fill("BOOT", LOADER, self.programs.loader)

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def state(self) -> StateFile:
        return StateFile.within(self.disk, self.layout["STATE"].start)

    def fill(self, name: str, path: str, program: Path) -> None:
        """Put one file into a new FAT in a partition.

        Only the firmware may want sectors of the disk's own size; a release's images are the same on every disk.
        """
        partition = self.layout[name]
        fat = f"{self.disk}@@{partition.start}"
        sector_size = self.sector_size if name == "BOOT" else 512
        code = {512: "2", 4096: "5"}[sector_size]
        kind = ["-F"] if name == "BOOT" else []
        count = str(partition.size // sector_size)
        process.run(["mformat", "-i", fat, "-S", code, *kind, "-T", count, "::"])
        parts = Path(path).parts[:-1]
        folders = ["::" + "/".join(parts[: depth + 1]) for depth in range(len(parts))]
        process.run(["mmd", "-i", fat, *folders])
        process.run(["mcopy", "-i", fat, program, f"::{path}"])

    def kernel(self, slot: Slot, program: Path | None = None) -> None:
        self.fill(slot.uki_name, grubscript.UKI_PATH.strip("/"), program or self.programs.kernels[slot])

    def set_state(self, state: BootState, rounds: int = 0) -> None:
        image = self.folder / "state.img"
        statefile.make_state_image(image, state)
        block = envblock.assign(encode(state), ROUNDS, str(rounds)) if rounds else None
        with self.disk.open("r+b") as disk:
            disk.seek(self.layout["STATE"].start)
            disk.write(image.read_bytes())
            if block:
                disk.seek(self.layout["STATE"].start + statefile.ENV_OFFSETS[0])
                disk.write(block)

    def boot(self, *, resets: bool = False, until: str = "") -> list[str]:
        """Boot until it stops, and give the lines that count."""
        console = bare.boot(self.folder, [Drive(self.disk, self.sector_size)], resets=resets, until=until)
        wanted = (f"{grubscript.PREFIX} boot", f"{grubscript.PREFIX} cannot", f"{grubscript.PREFIX} reboot", "BOOTED")
        loud = (f"{grubscript.PREFIX} NOTHING", STOPPED)
        return [line.strip() for line in console.splitlines() if line.strip().startswith((*wanted, *loud))]


def test_a_trial_that_cannot_be_loaded_uses_up_its_tries(tmp_path: Path, programs: Programs) -> None:
    machine = Machine(tmp_path, programs)
    machine.set_state(BootState(5, Slot.A, Slot.B, 2, alt=True))
    machine.kernel(Slot.A)
    assert machine.boot(resets=True) == [
        "proa-grub: boot slot=b trial=y left=1 copy=1 rule=trial fallback=",
        "proa-grub: cannot-load slot=b",
        "proa-grub: reboot: the try is used up",
        "proa-grub: boot slot=b trial=y left=0 copy=1 rule=trial fallback=",
        "proa-grub: cannot-load slot=b",
        "proa-grub: reboot: the try is used up",
        "proa-grub: boot slot=a trial=n left=0 copy=1 rule=tries-used-up fallback=b",
        "BOOTED a",
    ]
    assert machine.state.current() == BootState(5, Slot.A, Slot.B, 0, alt=True)
    assert machine.state.read().refused


def test_a_trial_on_a_disk_with_sectors_of_4096_bytes(tmp_path: Path, programs: Programs) -> None:
    machine = Machine(tmp_path, programs, sector_size=4096)
    machine.set_state(BootState(5, Slot.A, Slot.B, 3, alt=False))
    machine.kernel(Slot.A)
    machine.kernel(Slot.B)
    assert machine.boot() == ["proa-grub: boot slot=b trial=y left=2 copy=1 rule=trial fallback=", "BOOTED b"]
    assert machine.state.current() == BootState(5, Slot.A, Slot.B, 2, alt=False)
    assert not machine.state.read().refused


def test_a_good_slot_that_cannot_be_loaded_gives_way_to_the_other(tmp_path: Path, programs: Programs) -> None:
    machine = Machine(tmp_path, programs)
    machine.set_state(BootState(5, Slot.A, None, 0, alt=True))
    machine.kernel(Slot.A, programs.returns)
    machine.kernel(Slot.B)
    before = machine.state.read()
    assert machine.boot() == [
        "proa-grub: boot slot=a trial=n left=0 copy=1 rule=committed fallback=b",
        "proa-grub: cannot-load slot=a",
        "BOOTED b",
    ]
    assert machine.state.read() == before


def test_without_a_state_the_default_and_then_the_other(tmp_path: Path, programs: Programs) -> None:
    machine = Machine(tmp_path, programs)
    machine.kernel(Slot.A)
    assert machine.boot() == [
        "proa-grub: boot slot=b trial=n left= copy=0 rule=no-state fallback=a",
        "proa-grub: cannot-load slot=b",
        "BOOTED a",
    ]


def test_n21_f56_nothing_to_boot_ends_in_some_reboots_and_then_in_a_message_that_stays(
    tmp_path: Path, programs: Programs
) -> None:
    machine = Machine(tmp_path, programs)
    state = BootState(5, Slot.A, None, 0, alt=False)
    machine.set_state(state, ROUNDS_MAX - 1)
    machine.kernel(Slot.B)
    tried = [
        "proa-grub: boot slot=a trial=n left=0 copy=1 rule=committed fallback=",
        "proa-grub: cannot-load slot=a",
    ]
    reboot = "proa-grub: NOTHING CAN BE BOOTED FROM THIS DISK; reboot in 1 seconds"
    said = machine.boot(resets=True, until=STOPPED)
    assert said[:8] == [*tried, reboot, *tried, STOPPED, STOPPED, STOPPED]
    found = machine.state.read()
    assert (found.state, found.rounds) == (state, ROUNDS_MAX)
