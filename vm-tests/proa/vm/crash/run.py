"""``make crash-replay``: record what the agent writes, cut it off everywhere, and say what is lost: nothing may be.

The report is ``build/crash-replay/report.json`` (``proa.crash-replay/v1``).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from proa.core.runtime import files, output
from proa.core.runtime.cli import run_command
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document
from proa.partition.boot.bootstate import Slot
from proa.vm.crash.crashreplay import WANTED, CrashPlan, CrashReport, CrashRow, replayed
from proa.vm.crash.operations import record
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.node.images import Images
from proa.vm.node.node import WELL, Node

FOLDER: Final = Path("build/crash-replay")
_HEADINGS: Final = f"{'operation':<32} {'writes':>6} {'flushes':>7} {'points':>6} {'good':>6} {'trial':>6}"
_MORE: Final = f" {'again':>6} {'booted':>6} {'lost':>5}"


def table(rows: Iterable[CrashRow]) -> Iterator[str]:
    """The rows as lines for a person; what was lost is below."""
    yield _HEADINGS + _MORE
    for row in rows:
        counts = f"{row.requests:>6} {row.flushes:>7} {row.points:>6} {row.good:>6} {row.trial:>6}"
        yield f"{row.operation:<32} {counts} {row.again:>6} {row.booted:>6} {len(row.lost):>5}"
        yield from (f"    {one}" for one in row.lost)


@click.command()
@click.option("--points", default=WANTED, show_default=True, help="Crash points of each operation, at least.")
@click.option("--again", default=20, show_default=True, help="At how many of them the order is given again.")
@click.option("--boots", default=5, show_default=True, help="From how many a virtual machine boots.")
@click.option("--seed", default=1, show_default=True, help="Seed of the samples.")
def cli(points: int, again: int, boots: int, seed: int) -> None:
    """Cut every operation of the agent off at each of its writes, and judge what is left."""
    folder = FOLDER.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    images = Images(folder.parent / "test/images", f"crash-replay {time.time()}")
    _say("building three releases, or taking those that are there")
    before, releases, keys = images("1") / "disk.raw", (images("2"), images("3")), images.keys
    _say("recording six operations of the agent")
    recording = record(before, releases, keys / "release.pub", folder)

    def boot(disk: Path, slot: Slot, name: str) -> None:
        _boot(disk, slot, folder / "machines" / name.replace(" ", "-").replace(",", ""), keys)

    plan, rows = CrashPlan(points, again, boots, seed, boot), []
    for row in replayed(recording, plan, folder):
        rows.append(row)
        _say(f"{row.operation}: {row.points} points, {len(row.lost)} lost")
    report = document(CrashReport(seed, tuple(rows)))
    files.replace(folder / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    for path in (*folder.glob("*.raw"), recording.log):
        path.unlink()
    output.say("\n".join(table(rows)))
    if lost := [one for row in rows for one in row.lost]:
        raise ProaError(Code.REHEARSAL, f"{len(lost)} crash points lose something", at=folder / "report.json")


def _boot(disk: Path, slot: Slot, folder: Path, keys: Path) -> None:
    """Boot a disk; the node must come up, in the slot that the boot state says.

    Raises:
        ProaError: ``REHEARSAL``, and what a machine raises.
    """
    folder.mkdir(parents=True)
    with Machine(Hardware(disks=(DiskImage(disk),), keys=keys), folder) as machine:
        machine.wait_for_boot()
        machine.wait_until(WELL)
        booted = Node(machine).booted()
    if booted.slot is not slot:
        raise ProaError(Code.REHEARSAL, f"slot {booted.slot.value} runs, not slot {slot.value}", at=folder)


def _say(text: str) -> None:
    output.say(text, err=True)


if __name__ == "__main__":
    run_command(cli, "crash-replay")
