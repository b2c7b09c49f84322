"""``make bench-delta``: bytes that an update fetches, by frames and by a delta, against casync and zstd --patch-from.

Each pair is two EROFS images of Debian 12: packages as the point release has them, and as the security archive has
them. The releases lie in a real registry, and ``proa-agent`` installs the older one and then the newer one on a disk
image. The rows go to ``build/bench/delta.json`` (``proa.bench/v1``). It needs apt with both archives; casync, Debian's
package, is installed where the user is root.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.agent.testing import synthetic
from proa.agent.testing.synthetic import Recipe
from proa.core.artifact.release_artifact import copy_release
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.release import frames
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.core.signing import trust
from proa.core.signing.keys import Algorithm
from proa.core.testing.erofs import make_root
from proa.partition.boot.bootstate import Slot, initial
from proa.partition.boot.statefile import StateFile, make_state_image
from proa.partition.disk.layout import Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.table import write_table
from proa.vm.support.figures import Figure, lines, write
from proa.vm.support.registry import LocalRegistry

OUT: Final = Path("build/bench/delta.json")
MIB: Final = 1 << 20
SUITES: Final = {"old": "bookworm", "new": "bookworm-security"}
SAME: Final = (
    *("bash", "coreutils", "libc6", "libc-bin", "systemd", "libsystemd-shared", "udev", "util-linux"),
    *("openssh-server", "iptables", "libgnutls30", "libstdc++6", "libicu72", "libxml2", "libdb5.3", "libmagic-mgc"),
)
"""Packages that both images have in one version."""
UPDATED: Final = {
    "library": ("openssl", "libssl3", "python3.11-minimal", "libpython3.11-stdlib", "libpython3.11-minimal"),
    "service": (
        *("perl-base", "libperl5.36", "perl-modules-5.36", "nginx", "nginx-common"),
        *("postgresql-15", "postgresql-client-15"),
    ),
    "kernel": ("linux-image-amd64",),
}
"""What each pair updates. Nothing was tuned on ``service``."""
PEAK: Final = 48
PER_100_MIB: Final = 2.5
BUILD: Final = 60
EXCLUDED: Final = ("doc", "man", "locale", "info")


@dataclass(frozen=True)
class Pair:
    """Two images.

    Attributes:
        name: What is updated.
        folder: Where they lie.
    """

    name: str
    folder: Path

    @property
    def old(self) -> Path:
        """The older image."""
        return self.folder / "old.erofs"

    @property
    def new(self) -> Path:
        """The newer image."""
        return self.folder / "new.erofs"

    def make(self, debs: Path) -> None:
        """Download and unpack the packages of both.

        Raises:
            ProaError: ``TOOL`` where the archives do not have them.
        """
        for side, suite in SUITES.items():
            tree = self.folder / side
            tree.mkdir(parents=True)
            wanted = [*download(debs / "same", SAME, "bookworm"), *download(debs / suite, UPDATED[self.name], suite)]
            for deb in wanted:
                process.run(["dpkg-deb", "-x", deb, tree])
            for name in EXCLUDED:
                shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)
            make_root(tree, self.folder / f"{side}.erofs")


def download(folder: Path, packages: Sequence[str], suite: str) -> list[Path]:
    """Packages of a suite, those included that a package without content depends on."""
    found = []
    for package in packages:
        place = folder / package
        if not place.exists():
            place.mkdir(parents=True)
            process.run(["apt-get", "-q", "download", f"{package}/{suite}"], cwd=place)
        deb = next(place.glob("*.deb"))
        found.append(deb)
        if package.startswith("linux-image-"):
            needed = process.run(["dpkg-deb", "-f", deb, "Depends"]).text.split()[0]
            found += download(folder, [needed], suite) if needed not in packages and needed != package else []
    return found


@dataclass
class Bench:
    """A registry, a node's disk, and keys."""

    work: Path
    level: int
    registry: LocalRegistry
    key: Any = dataclasses.field(default_factory=Algorithm.ECDSA_P256.generate)

    def prepare(self) -> None:
        """What all pairs share: keys, and the boot image."""
        (self.work / "keys").mkdir()
        (self.work / "keys/release.key").write_bytes(self.key.pem)
        (self.work / "keys/release.key").chmod(0o600)
        synthetic.make_noise(self.work / "uki", 24 * MIB, 1)
        synthetic.make_boot_image(self.work / "boot", self.work / "uki", 32 * MIB)
        make_state_image(self.work / "state", initial())

    def command(self, *words: str | Path) -> tuple[Any, float]:
        """The report of a command of Proa's, and its CPU seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program = Path(sys.executable).parent / words[0]
        done = process.run([program, *words[1:], "--json", "--progress", "none"])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return json.loads(done.stdout), cpu

    def push(self, pair: Pair, number: int, image: Path) -> str:
        """Make a release, and bring it into the registry."""
        work = self.work / "releases" / pair.name / str(number)
        work.mkdir(parents=True)
        boot, uki = self.work / "boot", self.work / "uki"
        recipe = Recipe(image, boot, uki, version=str(number), serial=number, level=frames.LEVEL)
        synthetic.make_release(recipe, work / "oci", [self.key], work)
        with open_source(parse(f"oci:{work / 'oci'}")) as source, self.registry.open(pair.name, str(number)) as target:
            copy_release(source, target, str(number))
        shutil.rmtree(work)
        return str(self.registry.reference(pair.name, str(number)))

    def node(self, pair: Pair) -> tuple[str | Path, ...]:
        """A node that runs nothing yet; the options that name it."""
        root, disk = self.work / "node", self.work / "disk.img"
        shutil.rmtree(root, ignore_errors=True)
        disk.unlink(missing_ok=True)
        write_table(disk, layout(pair))
        with disk.open("r+b") as file:
            file.seek(layout(pair)["STATE"].start)
            file.write((self.work / "state").read_bytes())
        trust.save(root / "usr/lib/proa/trust", trust.Trust((self.key.public,), compatible="test"))
        return "--root", root, "--disk", disk

    def measure(self, pair: Pair) -> Iterator[Figure]:
        """The figures of a pair."""
        old, new = self.push(pair, 1, pair.old), self.push(pair, 2, pair.new)
        where = self.node(pair)
        self.command("proa-agent", "install", old, *where)
        states = StateFile.within(self.work / "disk.img", layout(pair)["STATE"].start)
        states.write(dataclasses.replace(states.current(), good=Slot.B))
        planned, _ = self.command("proa-agent", "install", new, *where, "--dry-run")
        byframes = planned["bytes"]["fetch"] / 1e6
        yield Figure(f"{pair.name}: by frames", byframes, "MB", casync(pair, self.work / "casync"))
        keys, level = self.work / "keys", str(self.level)
        made, _ = self.command("proa-build", "delta", old, new, "--keys", keys, "--level", level)
        report, cpu = self.command("proa-agent", "install", new, *where)
        patch = patch_from(pair, self.level)
        most = round(patch / 2, 2)
        yield Figure(f"{pair.name}: by a delta, zstd {self.level}", made["bytes"] / 1e6, "MB", patch, most)
        yield Figure(f"{pair.name}: all that the node fetched", report["bytes"]["fetch"] / 1e6, "MB")
        yield Figure(f"{pair.name}: the node's peak memory", report["peak_memory"] / MIB, "MiB", most=PEAK)
        size = pair.new.stat().st_size / (100 * MIB)
        yield Figure(f"{pair.name}: the node's CPU, 100 MiB of image", cpu / size, "s", most=PER_100_MIB)
        yield Figure(f"{pair.name}: to make the delta", made["seconds"], "s", most=BUILD)


def layout(pair: Pair) -> Layout:
    """The disk, with slots for the larger image."""
    size = max(pair.old.stat().st_size, pair.new.stat().st_size)
    root = -(-size * 102 // 100 // MIB) * MIB
    return plan(LayoutRequest("bench", Sizes(uki=48 * MIB, root=root, persist=16 * MIB)))


def patch_from(pair: Pair, level: int) -> float:
    """MB of ``zstd --patch-from`` over the whole images."""
    out = pair.folder / "patch"
    process.run(["zstd", "-q", "-f", f"-{level}", "--long=31", "--patch-from", pair.old, pair.new, "-o", out])
    return out.stat().st_size / 1e6


def casync(pair: Pair, store: Path) -> float | None:
    """MB of the chunks of 16 KiB that only the newer image has, with the index; none where casync is not there."""
    if shutil.which("casync") is None:
        return None
    shutil.rmtree(store, ignore_errors=True)
    sizes = []
    for image in (pair.old, pair.new):
        index = image.with_suffix(".caibx")
        process.run(["casync", "make", f"--store={store}", "--chunk-size=16384", index, image])
        sizes.append(sum(path.stat().st_size for path in store.rglob("*.cacnk")))
    return (sizes[1] - sizes[0] + index.stat().st_size) / 1e6


def install_casync() -> None:
    """Get the peer, if that can be done here."""
    if shutil.which("casync") is None and os.geteuid() == 0:
        done = process.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "casync"], check=False)
        if done.status:
            print("casync cannot be installed here: its column is empty", file=sys.stderr)


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--level", type=int, default=12, help="zstd's, of deltas and of the peer (default: 12)")
    options.add_argument("--pair", choices=[*UPDATED], action="append", help="one pair of them; may be repeated")
    given = options.parse_args()
    install_casync()
    found, started = list[Figure](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proa-bench-", dir="/var/tmp") as name:
        work = Path(name)
        with LocalRegistry(work / "registry", tls=False) as registry:
            bench = Bench(work, given.level, registry)
            bench.prepare()
            for pair in (Pair(one, work / one) for one in given.pair or UPDATED):
                try:
                    pair.make(work / "debs")
                except ProaError as error:
                    print(f"{pair.name}: not measured: {error.message}", file=sys.stderr)
                    continue
                found += bench.measure(pair)
    print("\n".join(lines(found)))
    write(OUT, [one.row for one in found])
    print(f"written: {OUT}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
