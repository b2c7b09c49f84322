"""Real GRUB as the oracle of the boot decision: it and the Python model agree on every case, damaged ones included.

One machine boots OVMF and a GRUB that holds the generated functions; a loop asks them about every case on one disk, and
about some on a disk that cannot be written and on one with sectors of 4096 bytes. Then the files are read back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.partition.boot import envblock, grubscript, statefile
from proa.partition.boot.bootstate import BootState, Slot, encode, pick
from proa.partition.boot.decisions import Decision, decide
from proa.partition.testing import statecases
from proa.partition.testing.statecases import Case
from proa.vm.node import bare
from proa.vm.node.bare import Drive

pytestmark = pytest.mark.vm

DEFAULT = Slot.B
LINE = re.compile(
    r"^CASE (?P<disk>\w+) (?P<number>\S+) slot=(?P<slot>\w*) trial=(?P<trial>\w*) left=(?P<left>\d*) "
    r"copy=(?P<copy>\d) rule=(?P<rule>\S*) fallback=(?P<fallback>\w*)$",
    re.MULTILINE,
)

READ_ONLY = [
    Case("read-only-trial", encode(BootState(5, Slot.A, Slot.B, 3, alt=False)), None),
    Case("read-only-trial-alt", None, encode(BootState(5, Slot.B, Slot.A, 1, alt=True))),
    Case("read-only-good", encode(BootState(5, Slot.B, None, 0, alt=True)), None),
    Case("read-only-none", None, None),
]

CONFIG = """
set pager=0
serial --unit=0 --speed=115200
terminal_output serial
{functions}
function ask {{
  proa_decide "$2/env1" "$2/env2" {default}
  echo "CASE $1 $3 slot=$proa_slot trial=$proa_trial left=$proa_left copy=$proa_copy rule=$proa_rule\
 fallback=$proa_fallback"
}}
for number in {numbers}; do ask all "(hd0)/cases/$number" "$number"; done
for disk in hd0 hd1 hd2 hd3; do
  if [ -e "($disk)/readonly" ]; then
    for number in {read_only}; do ask readonly "($disk)/cases/$number" "$number"; done
  fi
  if [ -e "($disk)/sectors" ]; then ask sectors "($disk)" 0; ask sectors "($disk)" 1; fi
done
echo "ALL ASKED"
halt
"""


@dataclass(frozen=True)
class Answer:
    """What GRUB said about one case."""

    disk: str
    number: str
    said: dict[str, str]


@dataclass(frozen=True)
class Oracle:
    """What one boot left."""

    console: str
    answers: list[Answer]
    cases: list[Case]
    disk: Path
    read_only: Path
    sectors: Path

    def of(self, disk: str) -> list[Answer]:
        return [answer for answer in self.answers if answer.disk == disk]


def case_number(index: int) -> str:
    return f"{index // 64:02x}/{index % 64:02x}"


def make_disk(path: Path, files: Sequence[Path]) -> None:
    """A disk that is one FAT with these files and folders in it."""
    with path.open("wb") as disk:
        disk.truncate(64 << 20)
    process.run(["mformat", "-i", path, "-F", "-c", "1", "::"])
    process.run(["mcopy", "-i", path, "-s", "-Q", *files, "::"])


def make_cases(folder: Path, cases: Sequence[Case]) -> None:
    for index, case in enumerate(cases):
        place = folder / "cases" / case_number(index)
        place.mkdir(parents=True)
        for name, copy in (("env1", case.copy1), ("env2", case.copy2)):
            if copy is not None:
                (place / name).write_bytes(copy)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    folder = tmp_path_factory.mktemp("oracle")
    cases = statecases.all_cases()
    config = CONFIG.format(
        functions=grubscript.decision_script(),
        default=DEFAULT.value,
        numbers=" ".join(case_number(index) for index in range(len(cases))),
        read_only=" ".join(case_number(index) for index in range(len(READ_ONLY))),
    )
    (folder / "EFI/BOOT").mkdir(parents=True)
    bare.make_grub(folder / "EFI/BOOT/BOOTX64.EFI", config)
    make_cases(folder, cases)
    make_disk(folder / "all.img", [folder / "EFI", folder / "cases"])
    (folder / "ro").mkdir()
    (folder / "ro/readonly").touch()
    make_cases(folder / "ro", READ_ONLY)
    make_disk(folder / "ro.img", [folder / "ro/readonly", folder / "ro/cases"])
    statefile.make_state_image(folder / "sectors.img", BootState(8, Slot.A, Slot.B, 2, alt=False))
    process.run(["mcopy", "-i", folder / "sectors.img", folder / "ro/readonly", "::sectors"])
    disk, read_only, sectors = (folder / f"{name}.img" for name in ("all", "ro", "sectors"))
    console = bare.boot(folder, [Drive(disk), Drive(read_only, read_only=True), Drive(sectors, sector_size=4096)])
    answers = [
        Answer(said.pop("disk"), said.pop("number"), said)
        for said in (match.groupdict() for match in LINE.finditer(console))
    ]
    return Oracle(console, answers, cases, disk, read_only, sectors)


def expected(decision: Decision, left: int | None) -> dict[str, str]:
    """What GRUB must say."""
    if decision.write:
        left = decision.write[1].left
    return {
        "slot": decision.slot.value,
        "trial": "y" if decision.trial else "n",
        "left": "" if left is None else str(left),
        "copy": str(decision.copy or 0),
        "rule": decision.rule,
        "fallback": decision.fallback.value if decision.fallback else "",
    }


def model(case: Case, *, writable: bool = True) -> dict[str, str]:
    copies = (case.copy1 or b"", case.copy2 or b"")
    decision = decide(*copies, DEFAULT)
    state = pick(*copies)[1]
    if not writable and decision.unwritten:
        decision = decision.unwritten
    return expected(decision, state.left if state else None)


def test_all_asked(oracle: Oracle) -> None:
    assert "ALL ASKED" in oracle.console
    assert len(oracle.of("all")) == len(oracle.cases)
    assert len(statecases.DAMAGES) >= 60


def test_f51_agrees_on_every_case(oracle: Oracle) -> None:
    wrong = [
        (case.name, answer.said, model(case))
        for case, answer in zip(oracle.cases, oracle.of("all"), strict=True)
        if answer.said != model(case)
    ]
    assert not wrong


def test_writes_what_the_model_writes(oracle: Oracle, tmp_path: Path) -> None:
    process.run(["mcopy", "-i", oracle.disk, "-s", "-Q", "-n", "::cases", tmp_path])
    wrong = []
    for index, case in enumerate(oracle.cases):
        place = tmp_path / "cases" / case_number(index)
        found = tuple(path.read_bytes() if path.exists() else None for path in (place / "env1", place / "env2"))
        if found != after(case):
            wrong.append((case.name, found, after(case)))
    assert not wrong


def after(case: Case) -> tuple[bytes | None, bytes | None]:
    """The two files after GRUB has run: a try is written where one may be spent, and nothing else ever."""
    copies = [case.copy1, case.copy2]
    copy, state = pick(case.copy1 or b"", case.copy2 or b"")
    if copy and state and state.on_trial and state.left:
        copies[copy - 1] = envblock.assign(copies[copy - 1] or b"", "LEFT", str(state.left - 1)) or copies[copy - 1]
    return copies[0], copies[1]


def test_boots_good_when_the_disk_cannot_be_written(oracle: Oracle) -> None:
    answers = oracle.of("readonly")
    assert [answer.said for answer in answers] == [model(case, writable=False) for case in READ_ONLY]
    assert {answer.said["trial"] for answer in answers} == {"n"}
    assert oracle.console.count("write-failed copy=1") >= 1


def test_state_image_on_sectors_of_4096_bytes(oracle: Oracle) -> None:
    assert [(answer.said["rule"], answer.said["left"]) for answer in oracle.of("sectors")] == [
        ("trial", "1"),
        ("trial", "0"),
    ]
    pair = statefile.StateFile(oracle.sectors).read()
    assert pair.copy1 == encode(BootState(8, Slot.A, Slot.B, 0, alt=False))
    assert pair.copy2 == encode(BootState(8, Slot.A, Slot.B, 2, alt=False))
