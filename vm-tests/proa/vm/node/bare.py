"""Machines without an operating system: firmware, a GRUB made for the occasion, and a console to read afterwards."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proa.core.runtime import process
from proa.core.runtime.clock import Deadline
from proa.core.runtime.files import os_errors
from proa.partition.boot import grubscript
from proa.vm.machine import firmware
from proa.vm.support.child import Child

MODULES = (*grubscript.MODULES, "halt", "serial", "terminal")
"""What a test's GRUB can do besides: stop the machine, and write to the serial port faster than firmware does."""

LIMIT = 600.0
"""Seconds that a machine may run, on a slow and busy host."""

_CONTROLS = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|\r")


@dataclass(frozen=True)
class Drive:
    """A disk of the machine, in the order of booting."""

    path: Path
    sector_size: int = 512
    """Bytes of a logical sector."""
    read_only: bool = False


def make_grub(path: Path, config: str, modules: Sequence[str] = MODULES) -> None:
    """Make an EFI program at ``path``: GRUB with these modules, and this configuration in its memory disk.

    There is nothing else in the memory disk, so that a missing module is missed, as it is under Secure Boot.

    Raises:
        ProaError: ``TOOL`` or ``TOOL_MISSING`` (grub-mkimage).
    """
    memory = path.with_name(f"{path.name}.tar")
    member = tarfile.TarInfo("boot/grub/grub.cfg")
    member.size = len(config.encode())
    with os_errors(memory), tarfile.open(memory, "w") as tar:
        tar.addfile(member, io.BytesIO(config.encode()))
    files = ("-o", path, "-m", memory, "-p", "(memdisk)/boot/grub")
    process.run(["grub-mkimage", "-O", "x86_64-efi", *files, *modules, "memdisk", "tar"])


def boot(
    folder: Path, drives: Sequence[Drive], *, resets: bool = False, until: str = "", seconds: float = LIMIT
) -> str:
    """Run a machine with these drives until it stops.

    Args:
        folder: For its variables and console.
        drives: Its disks; the first one that can be booted is.
        resets: Whether a reset boots it again; otherwise it ends the run.
        until: For a machine that does not stop: what its console is to say three times.
        seconds: How long it may run.

    Returns:
        Its console, without control sequences.

    Raises:
        ProaError: ``TIMEOUT``, ``TOOL``, ``TOOL_MISSING`` or ``NO_FIRMWARE``.
    """
    image = firmware.find(secure=False)
    with os_errors(folder):
        shutil.copyfile(image.variables, folder / "variables.fd")
    argv: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "256", "-nodefaults"]
    argv += ["-display", "none", "-net", "none", "-serial", f"file:{folder}/console.log"]
    argv += [] if resets else ["-no-reboot"]
    argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={image.code}"]
    argv += ["-drive", f"if=pflash,format=raw,file={folder}/variables.fd"]
    for number, drive in enumerate(drives):
        read_only = ",readonly=on" if drive.read_only else ""
        sectors = f"logical_block_size={drive.sector_size},physical_block_size={drive.sector_size}"
        argv += ["-drive", f"if=none,id=disk{number},format=raw,file={drive.path}{read_only}"]
        argv += ["-device", f"virtio-blk-pci,drive=disk{number},bootindex={number},{sectors}"]
    if until:
        _run_until(argv, folder / "console.log", until, seconds)
    else:
        process.run(argv, timeout=seconds)
    with os_errors(folder):
        return _CONTROLS.sub("", (folder / "console.log").read_text(errors="replace"))


def _run_until(argv: Sequence[str | Path], console: Path, text: str, seconds: float) -> None:
    machine = Child("QEMU", argv, console.with_name("qemu.log"))
    deadline = Deadline(f"a machine that says {text!r}", seconds)
    machine.start()
    try:
        while not console.exists() or console.read_text(errors="replace").count(text) < 3:
            machine.check()
            deadline.check(console)
            deadline.clock.sleep(0.2)
    finally:
        machine.kill()
