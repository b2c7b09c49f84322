"""The machines of one test run: made, watched for bad signs, kept or cleared away."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.console import Console, Finding
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.machine.states import READY, States


class Watched(Protocol):
    """What a fleet needs of a machine; :class:`proa.vm.machine.machine.Machine` is one."""

    name: str
    folder: Path
    console: Console

    def crash(self) -> None:
        """Take its power away."""
        ...


@dataclass
class _Member:
    machine: Watched
    read: int = 0
    """Lines of its console that were read against the bad signs."""
    retired: bool = False


@dataclass
class Fleet:
    """All machines that tests have made and that may still say something."""

    _members: list[_Member] = field(default_factory=list)

    def add(self, machine: Watched) -> None:
        """Watch a machine from now on."""
        self._members.append(_Member(machine))

    def forget_retired(self) -> None:
        """Drop the machines whose test is over, and whose reports are written."""
        self._members = [member for member in self._members if not member.retired]

    def skip(self) -> None:
        """Take all that was said so far for read."""
        for member in self._members:
            member.read = member.machine.console.mark()

    def check(self, allowed: Iterable[str] = ()) -> None:
        """Read what was said since the last time.

        Raises:
            ProaError: ``CONSOLE`` with every bad sign that is not allowed, by machine.
        """
        names = tuple(allowed)
        found: list[tuple[Watched, Finding]] = []
        for member in self._members:
            start, member.read = member.read, member.machine.console.mark()
            found += [(member.machine, finding) for finding in member.machine.console.findings(names, start)]
        if found:
            raise bad_signs(found)

    def retire(self, machines: Iterable[Watched], allowed: Iterable[str] = (), keep: bool = False) -> None:
        """Switch machines off, read their last words, and take their disks away unless they are to be kept.

        Raises:
            ProaError: As :meth:`check`.
        """
        gone = list(machines)
        for machine in gone:
            machine.crash()
            if not keep:
                for file in (*machine.folder.glob("disk*.qcow2"), *machine.folder.glob("variables.fd")):
                    file.unlink(missing_ok=True)
        for member in self._members:
            member.retired |= any(member.machine is machine for machine in gone)
        self.check(allowed)

    def save(self, folder: Path) -> list[Path]:
        """Copy the logs of all machines to ``folder``; returns the consoles' new paths."""
        consoles = []
        for member in self._members:
            target = folder / member.machine.folder.name
            target.mkdir(parents=True, exist_ok=True)
            for log in sorted(member.machine.folder.glob("*.log")):
                shutil.copy(log, target)
            consoles.append(target / "console.log")
        return consoles

    def tails(self, count: int = 40) -> list[tuple[str, str]]:
        """The last lines of every console: name and text."""
        return [
            (member.machine.name, "\n".join(line.text for line in member.machine.console.lines[-count:]))
            for member in self._members
        ]


@dataclass
class Factory:
    """Makes machines for tests: the fixture ``vm``.

    Attributes:
        fleet: Watches them.
        new_folder: Gives an empty folder for a name.
        disk: What boots when a test names no disk.
        keys: The keys folder for Secure Boot when a test names none.
        make: Makes a machine.
        states: Where machines are restored from.
    """

    fleet: Fleet
    new_folder: Callable[[str], Path]
    disk: Path | None = None
    keys: Path | None = None
    make: Callable[..., Machine] = Machine
    machines: list[Machine] = field(default_factory=list)
    states: States = field(default_factory=States.shared)

    def __call__(
        self,
        *disks: DiskImage | Path,
        name: str = "vm",
        start: bool = True,
        restored: bool = False,
        ready: str = READY,
        **hardware: Any,
    ) -> Machine:
        """A new machine.

        Args:
            disks: What it has; the first boots. Those of the command line if none.
            name: As it stands in errors and artifacts.
            start: Whether it is switched on at once.
            restored: Whether it has booted already: it is restored from a saved state, and where there is none
                booted and saved. For tests of what comes after a boot; see :mod:`proa.vm.machine.states`.
            ready: A command in the guest that has succeeded where the state is taken.
            hardware: Fields of :class:`proa.vm.machine.qemu.Hardware`; ``keys`` are those of the command line by
                default.

        Raises:
            ProaError: ``USAGE`` when there is no disk at all, and what :class:`Machine` raises.
        """
        chosen = disks or ((self.disk,) if self.disk else ())
        if not chosen:
            raise ProaError(Code.USAGE, "there is no disk to boot", hint="Pass one to vm(), or --proa-disk to pytest.")
        attached = tuple(disk if isinstance(disk, DiskImage) else DiskImage(disk) for disk in chosen)
        parts, folder = Hardware(disks=attached, **({"keys": self.keys} | hardware)), self.new_folder(name)

        def make() -> Machine:
            made = self.make(parts, folder, name=name)
            self.machines.append(made)
            self.fleet.add(made)
            return made

        if restored:
            return self.states.begin(parts, folder, make, ready)
        made = make()
        if start:
            made.start()
        return made


def bad_signs(found: list[tuple[Watched, Finding]]) -> ProaError:
    """The error for bad signs."""
    lines = [
        f"{machine.name} [{finding.line.seconds:.1f} s] {finding.sign.name}: {finding.line.text.strip()}"
        for machine, finding in found
    ]
    names = ", ".join(sorted({finding.sign.name for _, finding in found}))
    what = f"{len(found)} bad sign{'s' if len(found) > 1 else ''} on the console:\n    " + "\n    ".join(lines)
    hint = f'If the test expects it, mark it with @pytest.mark.bad_signs("...") and {names}.'
    return ProaError(Code.CONSOLE, what, at=found[0][0].folder, hint=hint)


def file_name(text: str) -> str:
    """The text as one harmless file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:150] or "test"
