"""Which acceleration truly works here, found by booting: a /dev/kvm that opens may still run no guest."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proa.core.runtime import files, process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.lock import locked
from proa.core.schema.model import Part, Report, document, field, parse
from proa.core.schema.values import Seconds

QEMU = "qemu-system-x86_64"
PACKAGE = "qemu-system-x86"

ROM_SIZE = 64 * 1024
"""The smallest firmware that QEMU maps right below 4 GiB."""
EXIT_PORT = 0xF4
"""Where ``isa-debug-exit`` listens."""
PROOF = 0x2A
"""What the guest writes there; QEMU then ends with ``PROOF * 2 + 1``."""
PROBE_SECONDS = 8.0
"""A guest of six instructions that has not run by then never will."""


@dataclass(frozen=True)
class Accel:
    """A way to run guests, and what is known about it."""

    name: str
    """``kvm`` or ``tcg``."""
    argument: str
    """For QEMU's ``-accel``."""
    cpu: str
    """For QEMU's ``-cpu``."""
    cpus: int
    """How many processors a guest has best, if nobody says."""
    fresh_resets: bool = False
    """Whether a guest that resets goes on in a new QEMU (:mod:`proa.vm.machine.power`)."""


KVM = Accel("kvm", "kvm", "host", 2)
TCG = Accel("tcg", "tcg,thread=multi", "max,-erms,-fsrm", 1, fresh_resets=True)
"""Emulation runs REP MOVSB byte by byte: a kernel that is told of ERMS copies at a fifth of the speed. Two emulated
processors wait for each other: with one, starting a process costs half as much, a boot two thirds."""


@dataclass(frozen=True)
class Probe(Part):
    """One kind of acceleration."""

    name: str = field("Its name.", enum=["kvm", "tcg"])
    works: bool = field("Whether a guest ran.")
    seconds: Seconds = field("Duration of the attempt.")
    why: str = field("Why it does not work; empty if it does.")


@dataclass(frozen=True)
class AccelReport(Report, schema="proa.accel/v1"):
    """`proa-vm accel`: what truly runs guests on this machine."""

    accel: str = field("The acceleration in use.", enum=["kvm", "tcg"])
    factor: Seconds = field("How many times as long a guest takes as on the reference machine.")
    probes: tuple[Probe, ...] = field("What was tried, in order.")


@dataclass(frozen=True)
class AccelVerdict:
    """What was found on this machine."""

    accel: Accel
    probes: tuple[Probe, ...]

    def report(self, factor: float) -> AccelReport:
        """What is told of it."""
        return AccelReport(self.accel.name, round(factor, 2), self.probes)


def rom() -> bytes:
    """A firmware whose reset vector (16-bit real mode, 16 bytes below 4 GiB) reports and halts."""
    code = bytes([0xB0, PROOF, 0xE6, EXIT_PORT, 0xF4, 0xEB, 0xFD])  # mov al,PROOF; out EXIT_PORT,al; hlt; jmp hlt
    return b"\xf4" * (ROM_SIZE - 16) + code.ljust(16, b"\xf4")


def probe(accel: Accel, seconds: float = PROBE_SECONDS) -> Probe:
    """Boot the tiny guest under ``accel`` and see whether it reports."""
    with tempfile.TemporaryDirectory(prefix="proa-accel-") as folder:
        image = Path(folder, "rom")
        image.write_bytes(rom())
        argv = [QEMU, "-accel", accel.argument, "-cpu", accel.cpu, "-machine", "q35", "-m", "32", "-bios", str(image)]
        argv += ["-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"]
        try:
            result = process.run(argv, check=False, timeout=seconds)
        except ProaError as error:
            if error.code is not Code.TIMEOUT:
                raise
            return Probe(accel.name, False, seconds, f"the guest did not run within {seconds:.0f} s")
    works = result.status == PROOF * 2 + 1
    said = result.stderr.decode(errors="replace").strip().splitlines()
    why = "" if works else (said[-1] if said else f"QEMU exited with status {result.status}")
    return Probe(accel.name, works, round(result.seconds, 3), why)


def find(device: Path = Path("/dev/kvm")) -> AccelVerdict:
    """Try KVM where its device can be opened, else emulate; without looking at what was found before.

    Raises:
        ProaError: ``NO_FIRMWARE`` when QEMU is not installed, ``TOOL`` when not even emulation works.
    """
    require_qemu()
    probes = []
    if os.access(device, os.R_OK | os.W_OK):
        probes.append(probe(KVM))
        if probes[0].works:
            return AccelVerdict(KVM, tuple(probes))
    else:
        probes.append(Probe(KVM.name, False, 0.0, f"{device} cannot be opened"))
    probes.append(probe(TCG, PROBE_SECONDS * 4))
    if not probes[-1].works:
        raise ProaError(Code.TOOL, f"QEMU cannot run a guest at all: {probes[-1].why}", at=QEMU)
    return AccelVerdict(TCG, tuple(probes))


@functools.cache
def choose() -> AccelVerdict:
    """What :func:`find` finds, kept for this boot of the host and this QEMU."""

    def found() -> dict[str, Any]:
        verdict = find()
        return {"accel": verdict.accel.name, "probes": [document(one) for one in verdict.probes]}

    kept = AccelCache("accel").once(found)
    accel = {KVM.name: KVM, TCG.name: TCG}[kept["accel"]]
    return AccelVerdict(accel, tuple(parse(Probe, item) for item in kept["probes"]))


def require_qemu() -> Path:
    """The path of QEMU.

    Raises:
        ProaError: ``NO_FIRMWARE``.
    """
    try:
        return Path(process.find(QEMU, PACKAGE))
    except ProaError as error:
        raise ProaError(Code.NO_FIRMWARE, error.message) from error


class AccelCache:
    """A measurement that holds as long as the host is not rebooted and QEMU not replaced.

    Args:
        name: Of the measurement.
        folder: Where it is kept; ``$XDG_CACHE_HOME/proa`` if None.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._file = (folder or home / "proa") / f"vm-{name}.json"

    def key(self) -> str:
        """What the measurement holds for."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        binary = require_qemu().resolve()
        found = binary.stat()
        kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
        return f"{boot} {binary} {found.st_size} {found.st_mtime_ns} kvm={kvm}"

    def load(self) -> dict[str, Any] | None:
        """What was kept, if it still holds."""
        try:
            document = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or document.get("key") != self.key():
            return None
        value = document.get("value")
        return value if isinstance(value, dict) else None

    def once(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was kept, else what is measured now: once, however many processes ask, so that all have the same."""
        kept = self.load()
        if kept is not None:
            return kept
        with ExitStack() as held:
            with suppress(ProaError):  # a folder that cannot be written to
                held.enter_context(locked(self._file.with_suffix(".lock")))
            kept = self.load()
            if kept is None:
                kept = measure()
                self.save(kept)
        return kept

    def save(self, value: dict[str, object]) -> None:
        """Keep it. A folder that cannot be written to only costs the next measurement."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            files.replace(self._file, json.dumps({"key": self.key(), "value": value}).encode())
        except (OSError, ProaError):
            return
