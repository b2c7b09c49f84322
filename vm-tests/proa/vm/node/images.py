"""Images for the end-to-end tests: real ones, built by ``proa-build``, small, and shared by all who test at once."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from inspect import getfile
from pathlib import Path
from typing import Any, Final

import proa.agent
import proa.core
import proa.partition
from proa.builder.engine.keys import Keys, open_keys
from proa.builder.formats import measured as pcr
from proa.builder.formats import pe
from proa.builder.formats.fat import make_fitting
from proa.builder.node.accounts import LOCK
from proa.builder.steps.uki import pcr_sections
from proa.core.runtime import files, process
from proa.core.runtime.lock import locked
from proa.core.signing import trust
from proa.core.signing.keys import load_public
from proa.partition.boot.bootstate import Slot
from proa.partition.boot.grubscript import UKI_PATH
from proa.partition.disk.slots import open_image
from proa.vm.machine import calibration
from proa.vm.machine.states import content
from proa.vm.support.copies import copy_sparse
from proa.vm.support.tools import cache_folder

_FIRST_SUITE: Final = "bookworm"
NAME: Final = "node"
"""The product line, and what its nodes are compatible with."""
TRIAL_SECONDS: Final = 240
"""The deadline of a trial on the reference machine, several of them running at once."""
UNUSED: Final = """\
  "kernel/arch/x86/kvm", "kernel/sound", "kernel/drivers/[!bcfmnvw]*", "kernel/drivers/bluetooth",
  "kernel/drivers/cpufreq", "kernel/drivers/media", "kernel/drivers/m[!de]*", "kernel/drivers/net/[!nv]*",
  "kernel/drivers/vhost", "kernel/drivers/video", "kernel/fs/[!befjnop]*", "kernel/fs/btrfs", "kernel/fs/f2fs",
  "kernel/fs/nfs*", "kernel/fs/ocfs2",
"""
"""Kernel modules that no virtual machine here needs, as lines of ``kernel.exclude``."""
ARGUMENTS: Final = '["console=ttyS0", "norandmaps"]'
"""``kernel.arguments``: every process has its libraries at the same addresses, so that emulation translates them once
and not at each start of a program, which saves a quarter of a boot."""
_CONFIG: Final = """\
[release]
name = "{name}"
version = "{version}"

[system]
suite = "{suite}"
packages = ["openssh-server", "systemd-resolved", "systemd-timesyncd"]

[[file]]
path = "/etc/systemd/network/80-wired.network"
content = '''
[Match]
Type=ether

[Network]
DHCP=yes
'''

[units]
enable = ["systemd-networkd.service"]
disable = ["systemd-resolved.service", "systemd-timesyncd.service"]
# Nobody needs root's own service manager, which each first login would start.
mask = ["getty@tty1.service", "serial-getty@ttyS0.service", "e2scrub_reap.service", "user@.service"]

[kernel]
arguments = {arguments}
exclude = [
{unused}  "kernel/net/[!cpv]*",
]

[disk]
sector_size = {sector_size}
uki = "32 MiB"
root = "512 MiB"
persist = "128 MiB"

[health]
deadline = "{deadline} s"
watchdog = "{watchdog} s"
seconds = "10 s"

[settings]
sysctl = ["vm.swappiness=0..60"]

[build]
compression = 1
"""


WATCHDOG_SECONDS: Final = 60
"""The time of the hardware watchdog on the reference machine."""
WATCHDOG_MAX: Final = 600
"""The longest that ``health.watchdog`` may be."""


def watchdog(factor: float | None = None) -> int:
    """The seconds of ``health.watchdog`` here: PID 1 of a guest that the host gives no time does not hang.

    Args:
        factor: How many times as slowly as the reference this machine runs guests; None for what was measured once.
    """
    by = calibration.factor() if factor is None else factor
    return min(calibration.stretched(WATCHDOG_SECONDS, by), WATCHDOG_MAX)


@dataclass(frozen=True)
class Recipe:
    """What is special about an image.

    Attributes:
        version: Of the release.
        suite: Of Debian.
        deadline: Of a trial, as a part of :data:`TRIAL_SECONDS`.
        sector_size: Of the disk, in bytes; the release is the same on every disk.
        encryption: Of PERSIST.
    """

    version: str
    suite: str = _FIRST_SUITE
    deadline: float = 1.0
    sector_size: int = 512
    encryption: str = "none"

    @property
    def seconds(self) -> int:
        """The deadline of a trial on this machine."""
        return calibration.stretched(TRIAL_SECONDS * self.deadline, calibration.factor())

    def config(self) -> str:
        """The text of its proa.toml."""
        words = {"version": self.version, "suite": self.suite, "deadline": self.seconds, "watchdog": watchdog()}
        words |= {"unused": UNUSED, "arguments": ARGUMENTS, "name": NAME, "sector_size": self.sector_size}
        more = "" if self.encryption == "none" else f'\n[persist]\nencryption = "{self.encryption}"\n'
        return _CONFIG.format(**words) + more


RECIPES: Final = {
    "1": Recipe("1.0.0"),
    "2": Recipe("2.0.0"),
    "3": Recipe("3.0.0", "trixie"),
    "1-tpm2": Recipe("1.0.0", encryption="tpm2"),
    "1-4096": Recipe("1.0.0", sector_size=4096),
    # The root of release 2: only the signed command line differs.
    "doomed": Recipe("2.0.0", deadline=0.6),
}
"""The images there are; 1 to 3 follow one another. Each is built when somebody asks for it."""


class Images:
    """Builds every image once in a test run, however many processes ask for it.

    Args:
        folder: Where they lie; kept from run to run, so that a later one finds most in the builder's cache.
        run: What names this test run.
        shared: Where that lies which all checkouts have in common, so that their images are the same to the byte: the
            keys, and disks with a staged release by the hash of what went into them.
    """

    def __init__(self, folder: Path, run: str, shared: Path | None = None) -> None:
        self.folder = folder
        self.shared = shared or cache_folder() / "test-images"
        self._run = run
        for path in (self.folder, self.shared):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def keys(self) -> Path:
        """The keys that all images are signed with."""
        path = self.shared / "keys"
        with locked(self.shared / "keys.lock"):
            if not path.exists():
                command("proa-build", "keys", "init", path)
            if not Keys(path).pcr.exists():  # of a folder that was made before there was one
                process.run(["openssl", "genrsa", "-out", Keys(path).pcr, "2048"])
        return path

    def __call__(self, name: str) -> Path:
        """The output folder of one of :data:`RECIPES`.

        Raises:
            ProaError: What the builder says.
        """
        keys, out, mark = self.keys, self.folder / name, self.folder / f"{name}.run"
        with locked(self.folder / f"{name}.lock"):
            if not out.exists() or not mark.exists() or mark.read_text() != self._run:
                config = self._configurations(RECIPES[name].suite) / f"{name}.toml"
                config.write_text(RECIPES[name].config())
                command("proa-build", "image", "-c", config, "-o", out, "--keys", keys)
                mark.write_text(self._run)
        return out

    def _configurations(self, suite: str) -> Path:
        """The folder of a suite's configurations, in which the numbers of users are kept.

        A later suite begins with those of the first, whose nodes it upgrades; what it adds is no input of the others,
        which would differ by who was built first.
        """
        folder = self.folder / suite
        folder.mkdir(exist_ok=True)
        if suite != _FIRST_SUITE and not (folder / LOCK).exists():
            self("1")
            shutil.copy(self.folder / _FIRST_SUITE / LOCK, folder)
        return folder

    def report(self, name: str) -> dict[str, Any]:
        """``build.json`` of an image that was built."""
        return dict(json.loads((self(name) / "build.json").read_bytes()))

    def disk(self, good: str, target: Path, *, standby: str = "") -> Path:
        """A copy of an image's disk; ``standby`` is staged in its slot b, as a factory does it.

        Raises:
            ProaError: What the builder or the agent says.
        """
        if not standby:
            copy_sparse(self(good) / "disk.raw", target)
            return target
        name = f"{good}-{standby}"
        with locked(self.shared / f"{name}.lock"):
            kept = self.shared / f"{name}-{self._staging(good, standby)}.raw"
            if not kept.exists():
                for old in self.shared.glob(f"{name}-*.raw"):
                    old.unlink()
                self._stage(good, standby, kept)
            copy_sparse(kept, target)
        return target

    def _signed_anew(self, name: str, contents: dict[str, bytes], work: Path) -> tuple[pe.Section, ...]:
        """The sections by which a TPM knows an image that has these."""
        for section, data in contents.items():
            (work / section).write_bytes(data)
        others = tuple(pe.Section(section, work / section) for section in contents)
        return pcr_sections(others, RECIPES[name].suite, Keys(self.keys).pcr_signer(), work)

    def _stage(self, good: str, standby: str, target: Path) -> None:
        """Install a release into slot b of a copy of an image's disk, which gets its name at the end."""
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            disk, root = Path(folder, "disk.raw"), Path(folder, "root")
            copy_sparse(self(good) / "disk.raw", disk)
            trust.save(root / trust.FOLDER.relative_to("/"), trust.Trust((load_public(self.keys / "release.pub"),)))
            where = ("--disk", disk, "--root", root)
            command("proa-agent", "install", f"oci:{self(standby) / 'release'}", *where, "--progress", "none")
            _put_into_persist(disk, root / "var/lib/proa/agent.json", "/var/lib/proa/agent.json")
            disk.rename(target)

    def _staging(self, good: str, standby: str) -> str:
        """The hash of what goes into a disk with a staged release: both images, and the code that installs."""
        packages = [Path(getfile(package)).parent for package in (proa.agent, proa.core, proa.partition)]
        code = [files.sha256(path) for package in packages for path in sorted(package.rglob("*.py"))]
        inputs = [content(self(good) / "disk.raw"), str(self.report(standby)["digest"]), *code]
        return hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]

    def kernel(self, name: str, target: Path, *arguments: str, measured: bool = True) -> Path:
        """The image of ``UKI-x`` of a release, as it is or with arguments that a configuration may not give.

        It is signed as the release's own is, but for what a TPM may have measured where ``measured`` is false.

        Raises:
            ProaError: What the builder says, ``SECURE_BOOT`` or ``TOOL``.
        """
        out, work = self(name), target.with_suffix(".work")
        extent = open_image(out / "disk.raw").partitions[Slot.A.uki_name]
        with (out / "disk.raw").open("rb") as disk:
            disk.seek(extent.offset)
            target.write_bytes(disk.read(self.report(name)["sizes"]["boot"]))
        if arguments:
            work.mkdir()
            process.run(["mcopy", "-i", target, f"::{UKI_PATH}", work / "uki.efi"])
            process.run(["sbattach", "--remove", work / "uki.efi"])
            found = pe.read_sections(work / "uki.efi")
            # The kernel stays the last one: it may need room behind it.
            contents = {".cmdline": _with_arguments(found[".cmdline"].decode(), arguments).encode()}
            contents |= {section: found[section] for section in (".initrd", ".linux")}
            for section, content in contents.items():
                (work / section).write_bytes(content)
            sections = tuple(pe.Section(section, work / section) for section in contents)
            if measured and pcr.SIGNATURE in found:
                sections = (*self._signed_anew(name, found | contents, work), *sections)
            pe.add_sections(work / "uki.efi", sections, work / "unsigned.efi", work)
            pe.sign(work / "unsigned.efi", work / "signed.efi", open_keys(self.keys))
            make_fitting(target, {UKI_PATH.lstrip("/"): work / "signed.efi"}, "UKI", 1)
            shutil.rmtree(work)
        return target


def _with_arguments(line: str, arguments: tuple[str, ...]) -> str:
    """A command line with other arguments; one of ours takes the place of the same one, since two are refused."""
    ours = {word.partition("=")[0] for word in arguments if word.startswith("proa.")}
    return " ".join([*(word for word in line.split() if word.partition("=")[0] not in ours), *arguments])


def _put_into_persist(disk: Path, source: Path, target: str) -> None:
    """Write a file into the file system of PERSIST (debugfs(8))."""
    place = open_image(disk).partitions["PERSIST"].offset
    folders = [str(folder) for folder in Path(target).parents][-2::-1]
    orders = [*(f"mkdir {folder}" for folder in folders), f"write {source} {target}"]
    process.run(["debugfs", "-w", "-f", "-", f"{disk}?offset={place}"], stdin="\n".join([*orders, ""]).encode())


def command(program: str, *words: str | Path) -> None:
    """Run one of our programs, as a user types it.

    Raises:
        ProaError: What it says.
    """
    process.run([Path(sys.executable).with_name(program), *words], timeout=3600)
