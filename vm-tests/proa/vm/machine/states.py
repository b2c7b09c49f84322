"""Saved machines: one that has booted before begins where that boot had come to, in seconds.

A state is kept under the hash of all that went into it: the disks' contents, the firmware and its keys, QEMU and its
command line, and the code of this folder. It is a folder that holds

- ``memory``: QEMU's migration stream;
- ``disk0.qcow2`` and so on: the overlays;
- ``variables.fd``, ``ssh.key``, ``ssh.pub``, ``tpm.tar``: what else belongs to the machine;
- ``console.raw``: what it has said;
- ``state.json``: the SHA-256 of each, checked before they are used.

Machines restored from one state are the same machine: host keys, machine id and boot id, and the random numbers of the
guest's kernel until it takes in fresh ones, which it does within a minute. Tests can live with that; nothing else
should.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proa.core.runtime import files, process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.lock import locked
from proa.vm.machine import accel, firmware, qemu
from proa.vm.machine.disks import Overlay
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware, Parts
from proa.vm.machine.qmp import QmpEvent
from proa.vm.support.tools import cache_folder

LIMIT: Final = 6 << 30
"""Bytes of all states together; beyond, those go that were not used for longest."""
READY: Final = "true"
"""The command that has succeeded where a state was taken, if no other is named: SSH answers."""
_INDEX: Final = "state.json"
_KEY: Final = ("ssh.key", "ssh.pub")
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class States:
    """The states kept on this host, for all who test at once.

    Attributes:
        folder: Where they lie.
        limit: Bytes of all of them together.
    """

    folder: Path
    limit: int = LIMIT

    @classmethod
    def shared(cls) -> States:
        """Those below the cache that all tests share."""
        return cls(cache_folder() / "machines")

    def begin(self, hardware: Hardware, folder: Path, make: Callable[[], Machine], ready: str = READY) -> Machine:
        """A machine that has booted: restored, or booted and saved where there is no state that is whole.

        Args:
            hardware: What it is made of, with SSH.
            folder: The machine's, in which nothing is yet.
            make: Makes it, of this hardware in this folder.
            ready: A command in the guest. The state is taken once it has succeeded.

        Raises:
            ProaError: ``USAGE`` without SSH; what booting raises.
        """
        if not hardware.ssh or hardware.network is None:
            raise ProaError(Code.USAGE, "a machine without SSH cannot be restored: its clock could not be set")
        name = identity(hardware, ready)
        for exclusive in (False, True):
            with self._locked(name, exclusive):
                restored = self._restore(self.folder / name, folder, make)
                if restored is not None:
                    return restored
                if exclusive:
                    booted = self._boot(self.folder / name, make, ready)
        self.forget(keep=name)
        return booted

    def _restore(self, state: Path, folder: Path, make: Callable[[], Machine]) -> Machine | None:
        if not is_whole(state):
            return None
        with files.os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in _KEY:
                shutil.copy(state / name, folder)
            os.utime(state)
        machine = make()
        try:
            machine.restore(state)
        except ProaError:  # of another making after all: to boot is always possible
            machine.crash()
            (state / _INDEX).unlink(missing_ok=True)
            return None
        return machine

    def _boot(self, state: Path, make: Callable[[], Machine], ready: str) -> Machine:
        machine = make()
        machine.start()
        machine.wait_for_boot()
        machine.wait_until(ready, machine.limits.boot)
        if not machine.findings() and is_first_boot(machine.events):  # what began badly is no place to begin from
            with files.new_folder(state) as work:
                machine.save(work)
                names = sorted(path.name for path in work.iterdir())
                index = {"ready": ready, "files": {name: files.sha256(work / name) for name in names}}
                (work / _INDEX).write_text(json.dumps(index, indent=2))
        return machine

    def forget(self, keep: str = "") -> None:
        """Take away what was not used for longest and is over the limit, but for ``keep`` and what is being used."""
        states = [path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        total = 0
        for state in sorted(states, key=lambda path: path.stat().st_mtime, reverse=True):
            total += sum(file.stat().st_blocks * 512 for file in state.iterdir())
            if total > self.limit and state.name != keep:
                with self._locked(state.name, exclusive=True, wait=False) as free:
                    if free:
                        shutil.rmtree(state, ignore_errors=True)

    @contextmanager
    def _locked(self, name: str, exclusive: bool, *, wait: bool = True) -> Iterator[bool]:
        with ExitStack() as stack:
            try:
                path, busy = self.folder / f"{name}.lock", "" if wait else "in use"
                stack.enter_context(locked(path, busy=busy, shared=not exclusive))
            except ProaError as error:
                if error.code is not Code.BUSY:
                    raise
                yield False
            else:
                yield True


def is_first_boot(events: Iterable[QmpEvent]) -> bool:
    """Whether no watchdog has come in between, as it does on a host that is far too busy: the next boot is another."""
    return all(event.name != "WATCHDOG" for event in events)


def is_whole(state: Path) -> bool:
    """Whether a state is there, and each of its files as it was written."""
    try:
        index = json.loads((state / _INDEX).read_bytes())
        return all(files.sha256(state / name) == digest for name, digest in index["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ProaError):
        return False


def identity(hardware: Hardware, ready: str = READY) -> str:
    """What a state is kept under: a hash of all that goes into it.

    Raises:
        ProaError: ``NO_FIRMWARE``, ``FILE_MISSING`` or ``KEY``.
    """
    found = firmware.find(hardware.keys is not None)
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as name:
        for text in (ready, _code(), _host(), *_words(hardware, found, Path(name))):
            digest.update(text.encode() + b"\0")
        for credential in sorted(Path(name, "credentials").iterdir()):
            digest.update(f"{credential.name}={files.sha256(credential)}\0".encode())
    for path in (found.code, found.variables, *_certificates(hardware.keys)):
        digest.update(files.sha256(path).encode())
    for disk in hardware.disks:
        digest.update(repr(replace(disk, path=Path())).encode() + content(disk.path).encode())
    return digest.hexdigest()[:32]


def content(image: Path) -> str:
    """The hash of an image's bytes and size; where the image has holes makes no difference.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    digest, zeros = hashlib.sha256(), bytes(_BLOCK)
    with files.os_errors(image), image.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "big"))
        for place in _blocks(file.fileno(), size):
            block = os.pread(file.fileno(), _BLOCK, place)
            if block != zeros[: len(block)]:
                digest.update(place.to_bytes(8, "big") + block)
    return digest.hexdigest()


def _blocks(handle: int, size: int) -> Iterator[int]:
    """The places of all blocks that hold data (lseek(2), SEEK_DATA)."""
    place = 0
    while place < size:
        try:
            data = os.lseek(handle, place, os.SEEK_DATA)
        except OSError:  # ENXIO: there is no more
            return
        place = max(place, data // _BLOCK * _BLOCK)
        yield place
        place += _BLOCK


def _words(hardware: Hardware, found: firmware.Firmware, folder: Path) -> list[str]:
    """QEMU's command line, wherever the machine's own files lie."""
    disks = tuple(replace(disk, path=Path(f"/{number}")) for number, disk in enumerate(hardware.disks))
    overlays = tuple(Overlay(folder / f"disk{number}.qcow2", disk) for number, disk in enumerate(disks))
    parts = Parts(folder, found, accel.choose().accel, overlays)
    return [word.replace(str(folder), "") for word in qemu.arguments(hardware, parts, 0, 0)]


def _certificates(keys: Path | None) -> list[Path]:
    return [] if keys is None else sorted([*keys.glob("secureboot/*.crt"), *keys.glob("secureboot/guid.txt")])


@functools.cache
def _code() -> str:
    """The code that makes, starts and saves machines."""
    return "".join(files.sha256(path) for path in sorted(Path(__file__).parent.glob("*.py")))


@functools.cache
def _host() -> str:
    """QEMU, and the processor where guests see it."""
    version = process.run([accel.QEMU, "--version"]).text
    if accel.choose().accel != accel.KVM:
        return version
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return "\n".join([version, *sorted({line for line in lines if line.startswith(("model name", "flags", "micro"))})])
