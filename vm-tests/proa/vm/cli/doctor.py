"""``proa-vm doctor``: whether this machine can build and boot images, what is missing, and how long things will take.

It looks and changes nothing, except that it boots a guest of six instructions to see whether KVM works.
"""

from __future__ import annotations

import enum
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.builder.engine.namespace import add_ids, lacks_ids
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import human_bytes
from proa.core.schema.model import Part, Report
from proa.core.schema.model import field as described
from proa.vm.machine import accel
from proa.vm.machine.accel import AccelVerdict
from proa.vm.machine.firmware import find as find_firmware

GIB: Final = 1 << 30
PROGRAMS: Final[Mapping[str, str]] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.erofs": "erofs-utils",
    "mke2fs": "e2fsprogs",
    "mcopy": "mtools",
    "veritysetup": "cryptsetup-bin",
    "sbsign": "sbsigntool",
    "zstd": "zstd",
    "swtpm": "swtpm",
}
"""Programs that building and booting needs, and the Debian packages that they are in."""
MEMORY: Final = 3 * GIB
"""What the demo needs: a machine of 1 GiB, the build beside it, and the files that both read."""
SPACE: Final = 12 * GIB
"""What the demo and the tests may need with an empty cache."""
DEMO_MINUTES: Final = {"tcg": (8, 12)}
"""How long ``make demo`` takes on two cores, with packages still to be fetched; with KVM it was never measured."""


class Verdict(enum.Enum):
    """What a look came to."""

    OK = "ok"
    SLOW = "slow"
    """It works, and takes longer than it has to."""
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding(Part):
    """One look at the machine."""

    name: str = described("What was looked at.")
    verdict: Verdict = described("What it came to.")
    message: str = described("What was found.")
    hint: str = described("What to do about it; empty if there is nothing to do.")


@dataclass(frozen=True)
class Diagnosis(Report, schema="proa.doctor/v1"):
    """`proa-vm doctor`: whether this machine can build and boot images."""

    findings: tuple[Finding, ...] = described("Every look, in order.")
    accel: str = described("The acceleration that guests get; empty if none works.")
    demo_minutes: tuple[int, ...] = described("The least and the most minutes that `make demo` should take.")

    @property
    def is_well(self) -> bool:
        """Whether nothing is missing."""
        return all(one.verdict is not Verdict.PROBLEM for one in self.findings)


@dataclass(frozen=True)
class Host:
    """What is looked at; the defaults are this machine.

    Attributes:
        root: Where its files are.
        uid: The user's id.
        user: The user's name.
        which: Finds a program.
        space: Tells how many bytes are free in a folder.
        verdict: Finds out which acceleration works.
    """

    root: Path = Path("/")
    uid: int = field(default_factory=os.geteuid)
    user: str = field(default_factory=lambda: pwd.getpwuid(os.geteuid()).pw_name)
    which: Callable[[str], str | None] = shutil.which
    space: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free
    verdict: Callable[[], AccelVerdict] = accel.choose

    def path(self, name: str) -> Path:
        """A file of the machine."""
        return self.root / name


def diagnose(host: Host) -> Diagnosis:
    """Look at everything."""
    findings = [*_programs(host), *_firmware(host), *_user(host), *_memory(host), *_space(host)]
    works, found = _accel(host)
    return Diagnosis((*findings, found), works, DEMO_MINUTES.get(works, ()))


def _programs(host: Host) -> Iterator[Finding]:
    missing = [package for name, package in PROGRAMS.items() if host.which(name) is None]
    if missing:
        hint = f"Run make setup, or: apt-get install {' '.join(dict.fromkeys(missing))}"
        yield Finding("programs", Verdict.PROBLEM, f"not installed: {', '.join(dict.fromkeys(missing))}", hint)
    else:
        yield Finding("programs", Verdict.OK, "all are installed", "")


def _firmware(host: Host) -> Iterator[Finding]:
    folders = (host.path("usr/share/OVMF"),)
    try:
        find_firmware(secure=True, folders=folders)
    except ProaError as error:
        yield Finding("firmware", Verdict.PROBLEM, error.message, "Install ovmf.")
    else:
        yield Finding("firmware", Verdict.OK, "UEFI with Secure Boot", "")


def _user(host: Host) -> Iterator[Finding]:
    """Who is not root builds in a user namespace, for which ids are needed."""
    if host.uid == 0:
        yield Finding("user", Verdict.OK, "root", "")
        return
    if lacks_ids({host.user, str(host.uid)}, host.path("etc")):
        add = f"As root: {add_ids(host.user)}"
        yield Finding("user", Verdict.PROBLEM, f"{host.user} has too few subordinate ids", add)
        return
    for switch, closed in (
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        if _text(host.path(f"proc/sys/{switch}")).strip() == closed:
            name = switch.replace("/", ".")
            hint = f"As root: sysctl -w {name}={1 - int(closed)}, or build as root."
            yield Finding("user", Verdict.PROBLEM, f"{name} keeps {host.user} from making user namespaces", hint)
            return
    yield Finding("user", Verdict.OK, f"{host.user}, with subordinate ids", "")


def _memory(host: Host) -> Iterator[Finding]:
    lines = (line.split() for line in _text(host.path("proc/meminfo")).splitlines())
    free = next((int(words[1]) << 10 for words in lines if words[:1] == ["MemAvailable:"]), 0)
    said = f"{human_bytes(free)} available"
    if free < MEMORY:
        yield Finding("memory", Verdict.PROBLEM, said, f"Free some: builds and machines need {human_bytes(MEMORY)}.")
    else:
        yield Finding("memory", Verdict.OK, said, "")


def _space(host: Host) -> Iterator[Finding]:
    for place in (Path(tempfile.gettempdir()), Path.home()):
        free = host.space(place)
        said = f"{human_bytes(free)} free in {place}"
        if free < SPACE:
            hint = f"Free some, or let TMPDIR and XDG_CACHE_HOME name another disk: {human_bytes(SPACE)} are needed."
            yield Finding("space", Verdict.PROBLEM, said, hint)
        else:
            yield Finding("space", Verdict.OK, said, "")


def _accel(host: Host) -> tuple[str, Finding]:
    """Whether guests run on the processor itself, and what keeps them from it."""
    try:
        verdict = host.verdict()
    except ProaError as error:
        return "", Finding("acceleration", Verdict.PROBLEM, error.message, "Install qemu-system-x86.")
    if verdict.accel is accel.KVM:
        return "kvm", Finding("acceleration", Verdict.OK, "KVM", "")
    why = next((one.why for one in verdict.probes if one.name == "kvm"), "")
    device = host.path("dev/kvm")
    if not device.exists():
        hint = "Switch virtualization on in the firmware, or use a host that passes it on to its guests."
    elif why.endswith("cannot be opened"):
        hint = f"As root: usermod --append --groups kvm {host.user}; then log in again."
    else:
        hint = "This host has /dev/kvm, and it runs no guest: ask who runs the host for nested virtualization."
    return "tcg", Finding("acceleration", Verdict.SLOW, f"emulation, without KVM: {why}", hint)


def text(found: Diagnosis) -> str:
    """It for people."""
    lines = [f"{one.verdict.value:8} {one.name}: {one.message}" for one in found.findings]
    hints = [f"{one.name}: {one.hint}" for one in found.findings if one.hint]
    low, high = found.demo_minutes or (0, 0)
    slower = f"make demo should take {low} to {high} minutes on two cores."
    faster = "make demo should take a few minutes: without KVM it is about ten on two cores."
    times = [slower] if high else [faster] if found.accel else []
    end = "This machine can build and boot images." if found.is_well else "Something is missing."
    return "\n".join([*lines, "", *hints, *([""] if hints else []), *times, end])


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
