"""The growth of PERSIST: the initrd's script and ``proa-disk grow`` agree and survive power cuts."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proa.core.runtime.errors import ProaError
from proa.partition.disk import growing
from proa.partition.disk.layout import MIB, Layout, LayoutRequest, Sizes, plan, usable_end
from proa.partition.disk.readtable import read_layout
from proa.partition.disk.table import write_table

SCRIPT = Path(__file__).parents[3] / "builder/proa/builder/initrd/proa-grow.sh"
SMALL = Sizes(uki=MIB, root=MIB, persist=16 * MIB)
LARGE = 1 << 30
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
shells = pytest.mark.parametrize("shell", ["sh", "bash"])


def factory(sector_size: int = 512) -> Layout:
    return plan(LayoutRequest("factory", SMALL, sector_size=sector_size))


def run_script(disk: Path, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    program = shutil.which(shell, path=PATH) or shell
    return subprocess.run(
        [program, SCRIPT, disk],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": PATH},
        stdin=subprocess.DEVNULL,
    )


def program(name: str, *argv: object) -> str:
    words = [shutil.which(name, path=PATH) or name, *(str(word) for word in argv)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_script(disk: Path) -> None:
    done = run_script(disk)
    assert done.returncode == 0, done.stderr


def by_python(disk: Path) -> None:
    growing.write(disk, growing.plan(disk))


both_ways = pytest.mark.parametrize("grow", [by_script, by_python])


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk that came from the factory and is larger than its image."""
    return new_disk(tmp_path / "disk.raw")


def new_disk(path: Path, sector_size: int = 512, size: int = LARGE) -> Path:
    write_table(path, factory(sector_size))
    for partition in factory().partitions:
        with path.open("r+b") as file:
            for place in (partition.start, partition.end - 512):
                file.seek(place)
                file.write(partition.name.encode() * 8)
    os.truncate(path, max(size, factory().disk_size))
    return path


def check_grown(disk: Path, size: int, before: Layout) -> Layout:
    after = read_layout(disk)
    assert after.grown
    assert after["PERSIST"].end == (size - 20 * 1024) // MIB * MIB
    assert after["PERSIST"].attributes == 0
    assert after["BOOT"] == before["BOOT"]
    old = {before.disk_guid, *(partition.guid for partition in before.partitions)}
    new = {after.disk_guid, *(partition.guid for partition in after.partitions[1:])}
    assert len(new) == 7
    assert not old & new
    for one, other in zip(before.partitions, after.partitions, strict=True):
        assert (one.number, one.name, one.start, one.type_guid) == (
            other.number,
            other.name,
            other.start,
            other.type_guid,
        )
        assert one.name == "PERSIST" or one.size == other.size
    for partition in before.partitions:
        for place in (partition.start, partition.end - 512):
            assert piece(disk, place, 8 * len(partition.name)) == partition.name.encode() * 8
    return after


def piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


@both_ways
@pytest.mark.parametrize("size", [0, LARGE + MIB - 512, 5 << 40])
def test_persist_reaches_to_the_end_and_all_but_boot_have_new_guids(
    tmp_path: Path, grow: Callable[[Path], None], size: int
) -> None:
    disk = new_disk(tmp_path / "disk.raw", size=size)
    grow(disk)
    check_grown(disk, max(size, factory().disk_size), factory())


def test_image_files_of_large_sectors_grow_without_root(tmp_path: Path) -> None:
    disk = new_disk(tmp_path / "disk.raw", sector_size=4096)
    by_python(disk)
    assert check_grown(disk, LARGE, factory(4096)).sector_size == 4096


@shells
def test_the_script_runs_in_any_shell(disk: Path, shell: str) -> None:
    assert run_script(disk, shell).returncode == 0
    check_grown(disk, LARGE, factory())


def test_no_two_disks_become_alike(tmp_path: Path) -> None:
    guids: set[str] = set()
    for number in range(2):
        disk = new_disk(tmp_path / f"{number}.raw")
        by_script(disk)
        after = read_layout(disk)
        guids |= {after.disk_guid, *(partition.guid for partition in after.partitions[1:])}
    assert len(guids) == 2 * 7


@both_ways
def test_again_is_harmless(disk: Path, grow: Callable[[Path], None]) -> None:
    grow(disk)
    before = table_bytes(disk)
    by_script(disk)
    assert table_bytes(disk) == before
    assert growing.plan(disk) == read_layout(disk)


@both_ways
@pytest.mark.parametrize("size", [2 * LARGE, LARGE + 5 * MIB])
def test_n02_a_disk_that_was_enlarged_later_grows_again_and_keeps_its_guids(
    disk: Path, grow: Callable[[Path], None], size: int
) -> None:
    grow(disk)
    before = read_layout(disk)
    os.truncate(disk, size)
    grow(disk)
    after = read_layout(disk)
    assert after["PERSIST"].end == usable_end(size)
    assert after.disk_guid == before.disk_guid
    assert after.partitions[:-1] == before.partitions[:-1]
    assert after["PERSIST"].guid == before["PERSIST"].guid
    assert "No problems found" in program("sgdisk", "--verify", disk)
    table = table_bytes(disk)
    grow(disk)
    assert table_bytes(disk) == table


STRANGERS = {
    "a config drive at the end": ("config-2", LARGE - 65 * MIB, 64 * MIB),
    "one that begins within a MiB": ("data", LARGE - 65 * MIB + 4096, MIB),
    "one right behind PERSIST": ("data", factory()["PERSIST"].end, MIB),
    "one with an odd name": ('a", name="PERSIST', LARGE - 65 * MIB, 64 * MIB),
    "one that is called as a field": ("start= 5, size= 7", LARGE - 65 * MIB, 64 * MIB),
    "one with a name in other letters": ("größer", LARGE - 65 * MIB, 64 * MIB),
}


@both_ways
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("case", STRANGERS)
def test_n02_persist_grows_up_to_the_next_partition(
    disk: Path, grow: Callable[[Path], None], case: str, first: bool
) -> None:
    name, start, size = STRANGERS[case]
    if not first:  # a disk that was enlarged, and got the stranger then
        os.truncate(disk, factory().disk_size)
        grow(disk)
        os.truncate(disk, LARGE)
    add(disk, name, start, size)
    before = read_layout(disk)
    grow(disk)
    after = read_layout(disk)
    assert after["PERSIST"].end == start // MIB * MIB
    assert after["PERSIST"].size >= before["PERSIST"].size
    assert after.partitions[7:] == before.partitions[7:], "the stranger stays as it is, GUID and all"
    assert after.partitions[7].name == name
    changed = [one.guid == two.guid for one, two in zip(before.partitions[1:7], after.partitions[1:7], strict=True)]
    assert changed == [not first] * 6
    assert "No problems found" in program("sgdisk", "--verify", disk)


@pytest.mark.parametrize("case", STRANGERS)
def test_n02_the_script_and_proa_disk_make_the_same_of_a_table(tmp_path: Path, case: str) -> None:
    name, start, size = STRANGERS[case]
    tables = []
    for number, grow in enumerate((by_script, by_python)):
        disk = new_disk(tmp_path / f"{number}.raw")
        add(disk, name, start, size)
        grow(disk)
        tables.append([(one.name, one.start, one.size, one.attributes) for one in read_layout(disk).partitions])
    assert tables[0] == tables[1]


@both_ways
def test_n02_two_partitions_called_persist_are_refused(disk: Path, grow: Callable[[Path], None]) -> None:
    add(disk, "PERSIST", LARGE - 65 * MIB, 64 * MIB)
    before = table_bytes(disk)
    with pytest.raises((AssertionError, ProaError), match="PERSIST"):
        grow(disk)
    assert table_bytes(disk) == before


def add(disk: Path, name: str, start: int, size: int) -> None:
    """Add a stranger's partition behind PERSIST."""
    numbers = f"8:{start // 512}:{(start + size) // 512 - 1}"
    words = ("--move-second-header", "--set-alignment=1", f"--new={numbers}", f"--change-name=8:{name}")
    program("sgdisk", *words, disk)  # once: it sleeps for a second after it has written


@pytest.mark.parametrize("content", [b"", bytes(4 * MIB), None])
def test_what_is_no_disk_of_ours_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    disk = tmp_path / "disk.raw"
    if content is not None:
        disk.write_bytes(content)
    done = run_script(disk)
    assert done.returncode == 1
    assert "proa-grow" in done.stderr
    assert content is None or disk.read_bytes() == content


@pytest.mark.parametrize("missing", [MIB, 20 * MIB])
def test_a_disk_smaller_than_its_image_is_left_alone(disk: Path, missing: int) -> None:
    os.truncate(disk, factory().disk_size - missing)
    before = table_bytes(disk)
    done = run_script(disk)
    assert done.returncode == 1
    assert "smaller" in done.stderr
    assert table_bytes(disk) == before


def table_bytes(disk: Path) -> bytes:
    size = disk.stat().st_size
    return piece(disk, 0, MIB) + piece(disk, size - MIB, MIB)


def table_pieces(sector: int, size: int) -> list[tuple[int, int]]:
    """Where sfdisk writes, in its order, flushing after each: backup entries, header; primary ones; protective MBR."""
    entries = 128 * 128
    return [
        (size - sector - entries, entries),
        (size - sector, sector),
        (2 * sector, entries),
        (sector, sector),
        (0, sector),
    ]


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize("done", range(6))
def test_a_power_cut_at_any_write_is_mended_by_the_next_run(tmp_path: Path, size: int, done: int) -> None:
    disk = new_disk(tmp_path / "disk.raw", size=size)
    size = disk.stat().st_size
    pieces = table_pieces(512, size)
    old = [piece(disk, *where) for where in pieces]
    by_script(disk)
    new = [piece(disk, *where) for where in pieces]
    whole = read_layout(disk)
    with disk.open("r+b") as file:
        for number, (start, _) in enumerate(pieces):
            file.seek(start)
            file.write(new[number] if number < done else old[number])
    cut = read_layout(disk)
    assert cut.partitions in (factory().partitions, whole.partitions), "never a mixture, never none"
    by_script(disk)
    if cut.grown:
        assert read_layout(disk) == whole
        assert [piece(disk, *where) for where in pieces[:4]] == new[:4]
    check_grown(disk, size, factory())


@pytest.mark.contract
def test_sfdisk_writes_in_that_order_and_flushes(disk: Path, tmp_path: Path) -> None:
    """What the test above takes for granted, of the sfdisk that is installed."""
    trace = tmp_path / "trace"
    argv = ["strace", "-f", "-o", trace, "-e", "trace=lseek,write,pwrite64,fsync", "sh", SCRIPT, disk]
    program(*(str(word) for word in argv))
    events = []
    place = 0
    for line in trace.read_text().splitlines():
        words = line.split(maxsplit=1)[1]
        if words.startswith("lseek(") and "ESPIPE" not in words:  # of a shell that reads a pipe
            place = int(words.rsplit("=", 1)[1])
        elif words.startswith("write(") and ('"EFI PART' in words or words.endswith("= 16384")):
            events.append(place)
        elif words.startswith("fsync(") and events and events[-1] != -1:
            events.append(-1)
    wanted = [start for start, _ in table_pieces(512, LARGE)[:4]]
    assert events == list(itertools.chain.from_iterable((start, -1) for start in wanted))


@contextmanager
def loop(image: Path, sector_size: int) -> Iterator[Path]:
    node = Path(program("losetup", "--find", "--show", "--partscan", "--sector-size", sector_size, image).strip())
    try:
        yield node
    finally:
        subprocess.run(["/usr/bin/partx", "--delete", node], check=False, capture_output=True)
        program("losetup", "--detach", node)


@pytest.mark.contract
@both_ways
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_devices_grow_and_the_judges_are_content(
    tmp_path: Path, grow: Callable[[Path], None], sector_size: int
) -> None:
    disk = new_disk(tmp_path / "disk.raw", sector_size)
    with loop(disk, sector_size) as node:
        program("partx", "--update", node)
        grow(node)
        after = check_grown(node, LARGE, factory(sector_size))
        assert "No problems found" in program("sgdisk", "--verify", node)
        assert "No errors detected" in program("sfdisk", "--verify", node)
        program("partx", "--update", node)  # for kernels built without GPT; others have it from the script
        size = int((Path("/sys/block") / node.name / f"{node.name}p7" / "size").read_text())
        assert size * 512 == after["PERSIST"].size
    assert read_layout(disk) == after


@pytest.mark.contract
@both_ways
def test_images_that_grew_satisfy_sgdisk(disk: Path, grow: Callable[[Path], None]) -> None:
    grow(disk)
    assert "No problems found" in program("sgdisk", "--verify", disk)
    assert "No errors detected" in program("sfdisk", "--verify", disk)


@pytest.mark.contract
def test_shellcheck_finds_nothing() -> None:
    assert program("shellcheck", "--shell=sh", SCRIPT) == ""
