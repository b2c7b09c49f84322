"""``proa-vm``: boot a disk image, rehearse an update, or find out what boots here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import termios
import threading
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from proa.core.runtime.cli import dry_run_option, end_politely, json_option, progress_option, run_command
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.output import say
from proa.core.runtime.renderers import monitor
from proa.core.schema.output import tell
from proa.vm.cli import doctor
from proa.vm.cli.cluster import cluster_command
from proa.vm.machine import accel, calibration
from proa.vm.machine.accel import AccelReport
from proa.vm.machine.disks import DiskBus, DiskCache, DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.node.faults import Break
from proa.vm.node.rehearse import RehearsalPlan, RehearsalRequest, as_text, rehearse

_QUIT = b"\x1d"
"""Ctrl-] as in telnet."""


@click.group(epilog="Example: proa-vm run OUT/disk.raw --secure-boot --keys keys --ssh")
@click.version_option(package_name="proa")
def cli() -> None:
    """Boot node images in virtual machines."""


cli.add_command(cluster_command)


@cli.command("accel")
@json_option
@click.option("--fresh", is_flag=True, help="Try again, even if there is an earlier result.")
def accel_command(as_json: bool, fresh: bool) -> None:
    """Find out, by booting, which acceleration works here and how fast guests run."""
    verdict = accel.find() if fresh else accel.choose()
    tell(verdict.report(calibration.factor()), as_json, _accel_text)


@cli.command("doctor", epilog="Example: proa-vm doctor")
@json_option
@click.pass_context
def doctor_command(context: click.Context, as_json: bool) -> None:
    """Find out whether this machine can build and boot images, what is missing, and how long the demo should take."""
    found = doctor.diagnose(doctor.Host())
    tell(found, as_json, doctor.text)
    context.exit(Exit.DONE if found.is_well else Exit.FAILED)


def _accel_text(found: AccelReport) -> str:
    tried = [
        f"{probe.name:4} {'works' if probe.works else 'does not work: ' + probe.why} ({probe.seconds:.2f} s)"
        for probe in found.probes
    ]
    used = f"using {found.accel}; a guest takes {found.factor:.1f} times as long as on the reference machine"
    return "\n".join([*tried, used])


@dataclass(frozen=True)
class RunOptions:
    """What ``run`` was asked for."""

    disk: Path
    secure_boot: bool
    keys: Path | None
    ssh: bool
    keep: Path | None
    memory: int
    cpus: int | None
    sector_size: int
    cache: str
    more: tuple[Path, ...]
    tpm: bool
    bus: str
    cards: int
    clock: bool

    def hardware(self) -> Hardware:
        """The machine.

        Raises:
            ProaError: ``USAGE`` for Secure Boot with no keys, and for keys with no Secure Boot.
        """
        if self.keys is not None and not self.secure_boot:
            what = "--keys has no effect without --secure-boot"
            raise ProaError(Code.USAGE, what, hint="Add --secure-boot, or leave --keys out.")
        if self.secure_boot and self.keys is None:
            raise ProaError(
                Code.USAGE, "--secure-boot needs --keys", hint=("Create a folder of keys with: proa-build keys init")
            )
        cache = DiskCache[self.cache.upper()]
        bus = DiskBus[self.bus.upper()]
        disks = tuple(
            DiskImage(path, sector_size=self.sector_size, cache=cache, bus=bus) for path in (self.disk, *self.more)
        )
        keys = self.keys if self.secure_boot else None
        return Hardware(
            disks=disks,
            memory=self.memory,
            cpus=self.cpus or 0,
            keys=keys,
            tpm=self.tpm,
            spare_cards=self.cards,
            clock=self.clock,
        )


@cli.command(epilog="Example: proa-vm run OUT/disk.raw --ssh")
@click.argument("disk", type=click.Path(path_type=Path))
@click.option("--secure-boot", is_flag=True, help="Enforce Secure Boot, with the keys of --keys.")
@click.option("--keys", type=click.Path(path_type=Path), help="The folder of keys, from proa-build keys init.")
@click.option(
    "--ssh", is_flag=True, help=("Log in over SSH as root when the guest is up; the console then goes to a file.")
)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the machine's files in this new folder.")
@click.option("--memory", type=click.IntRange(64), default=1024, show_default=True, help="MiB.")
@click.option("--cpus", type=click.IntRange(1), help="Number of processors.  [default: 2, or 1 in emulation]")
@click.option("--sector-size", type=click.Choice(["512", "4096"]), default="512", show_default=True)
@click.option(
    "--cache",
    type=click.Choice([mode.name.lower() for mode in DiskCache]),
    default=DiskCache.UNSAFE.name.lower(),
    show_default=True,
    help="What survives a power cut of the guest's unflushed writes.",
)
@click.option(
    "--disk", "more", multiple=True, type=click.Path(path_type=Path), help=("A further disk; may be repeated.")
)
@click.option("--tpm", is_flag=True, help="Give the machine a TPM 2.0 (swtpm).")
@click.option(
    "--bus",
    type=click.Choice([bus.name.lower() for bus in DiskBus]),
    default=DiskBus.VIRTIO.name.lower(),
    show_default=True,
    help="What the disks are attached to.",
)
@click.option("--cards", type=click.IntRange(0, 8), default=0, help="Further network cards, without a cable.")
@click.option("--clock/--no-clock", default=True, help="Without a clock, each start is on 2000-01-01.")
@click.option("--dry-run", is_flag=True, help="Print the plan and start nothing.")
def run(dry_run: bool, sector_size: str, **given: object) -> int:
    """Boot an overlay of DISK, which itself is never written. The console is this terminal; Ctrl-] quits.

    With --ssh, it exits with the status of the remote shell.
    """
    options = RunOptions(sector_size=int(sector_size), **given)  # type: ignore[arg-type] # click gives the types
    hardware = options.hardware()
    if options.keep is not None and options.keep.exists():
        raise ProaError(Code.FILE_EXISTS, "the folder for the machine exists already", at=options.keep)
    if dry_run:
        say(plan(hardware))
        return 0
    with _folder(options.keep) as folder:
        with Machine(hardware, folder, echo=None if options.ssh else _write) as machine:
            status = _log_in(machine) if options.ssh else _show_console(machine)
        if options.keep:
            say(f"kept in {folder}", err=True)
        return status


def _breaks(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> list[Break]:
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    known = {fault.option: fault for fault in Break}
    if unknown := sorted(set(names) - set(known)):
        raise click.BadParameter(f"{unknown[0]!r} is not one of: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


@cli.command("rehearse", epilog="Example: proa-vm rehearse out/1.0.0 out/2.0.0 --keys keys --break panic,unhealthy")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), help="The folder of keys; enables Secure Boot with them.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("rehearsal"),
    show_default=True,
    help="The folder for report.json, report.html and the console.",
)
@click.option(
    "--break",
    "breaks",
    metavar="NAME,...",
    multiple=True,
    callback=_breaks,
    help=f"Then break NEW in these ways, and watch the node return: {', '.join(fault.option for fault in Break)}.",
)
@click.option("--memory", type=click.IntRange(64), default=1024, show_default=True, help="MiB.")
@dry_run_option
@json_option
@progress_option
def rehearse_command(as_json: bool, dry_run: bool, progress: str, **given: Any) -> None:
    """Boot the build OLD, let its agent upgrade it to the build NEW, and break NEW to see the node return.

    OLD and NEW are output folders of proa-build image. Exits with 0 only if everything went as promised.
    """
    request = RehearsalRequest(**given)
    if dry_run:
        request.check()
        breaks = tuple(fault.option for fault in request.breaks)
        tell(RehearsalPlan(str(request.old), str(request.new), breaks), as_json, _plan_text)
        return
    document = rehearse(request, monitor(progress))
    say(json.dumps(document, indent=2) if as_json else as_text(document))


def _plan_text(plan: RehearsalPlan) -> str:
    ways = ", ".join(plan.breaks) or "no way"
    return f"would boot {plan.old}, upgrade it to {plan.new}, then break that in {ways}"


def plan(hardware: Hardware) -> str:
    """What would be booted, as a person reads it."""
    disks = ", ".join(
        f"{disk.path} ({disk.bus.name.lower()}, {disk.sector_size}-byte sectors, {disk.cache.name.lower()})"
        for disk in hardware.disks
    )
    secure = f"Secure Boot with the keys of {hardware.keys}" if hardware.keys else "no Secure Boot"
    cpus = hardware.cpus or accel.choose().accel.cpus
    return f"would boot a machine of {cpus} processors, {hardware.memory} MiB, {secure}; overlays of {disks}"


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    folder = Path(tempfile.mkdtemp(prefix="proa-vm-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _log_in(machine: Machine) -> int:
    say(f"booting; the console goes to {machine.folder / 'console.log'}", err=True)
    machine.wait_for_boot()
    say(f"up. To log in from elsewhere: {machine.ssh.command}", err=True)
    return machine.ssh.interact()


def _show_console(machine: Machine) -> int:
    say("the machine's console; Ctrl-] cuts its power", err=True)
    quitting = threading.Event()
    with _raw_terminal():
        threading.Thread(target=_type, args=(machine, quitting), daemon=True).start()
        while machine.running and not quitting.wait(0.2):
            pass
    return 0


def _type(machine: Machine, quitting: threading.Event) -> None:
    """Pass what a person types to the console, until Ctrl-] or the end of input."""
    while data := os.read(sys.stdin.fileno(), 1024):
        if _QUIT in data:
            quitting.set()
            return
        with contextlib.suppress(ProaError, OSError):
            machine.console.send(data)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def main() -> None:
    """The entry point of ``proa-vm``."""
    end_politely()
    run_command(cli, "proa-vm")
