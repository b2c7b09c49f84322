"""``make bench-install``: seconds and memory of an install from a registry, against ``zstd -dc | dd conv=fsync``.

All take the same image, write the same bytes of the same disk image, and take turns in one run; the rows go to
``build/bench/install.json`` (``proa.bench/v1``). The floor verifies nothing, writes no verity tree and no kernel image.
RAUC is Debian's package, in its plain format; it needs root, for loop devices.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.agent.testing import synthetic
from proa.agent.testing.synthetic import Recipe
from proa.core.artifact.release_artifact import copy_release
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.release.verity import tree_size
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing import trust
from proa.core.signing.keys import Algorithm
from proa.partition.boot.bootstate import initial
from proa.partition.boot.statefile import make_state_image
from proa.partition.disk.layout import Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.table import write_table
from proa.vm.support.figures import Figure, lines, write
from proa.vm.support.registry import LocalRegistry

OUT: Final = Path("build/bench/install.json")
MIB: Final = 1 << 20
FOLDERS: Final = tuple(map(Path, ("/usr/lib", "/usr/bin", "/usr/share", "/usr/sbin", "/opt")))
"""Whose files make up the image: a Debian root compresses as this machine's own does."""
RATIO: Final = 1.0
"""Of the time of ``zstd | dd``, which it may take."""
PEER_RATIO: Final = 0.5
"""Of RAUC's time."""
PEAK: Final = 80
"""MiB of memory, whatever the size."""
GROWTH: Final = 1.1
"""How much more memory four times the image may take: what the kernel happens to count, and the map of the frames."""


Row = dict[str, Any]


@dataclass
class Bench:
    """The disk image, the releases, and what was measured."""

    work: Path
    megabytes: int
    rounds: int
    key: Any = field(default_factory=Algorithm.ECDSA_P256.generate)

    @property
    def disk(self) -> Path:
        """The disk image."""
        return self.work / "disk.img"

    @property
    def root(self) -> Path:
        """What stands before the agent's paths."""
        return self.work / "node"

    @property
    def image(self) -> Path:
        """The root image."""
        return self.work / "image"

    def layout(self) -> Layout:
        """The disk, with slots for four times the image."""
        size = 4 * self.megabytes * MIB
        return plan(LayoutRequest("bench", Sizes(uki=48 * MIB, root=size + tree_size(size), persist=16 * MIB)))

    def prepare(self) -> None:
        """The image and four times the image, a disk whose standby was written before, a node that trusts our key."""
        synthetic.make_sample(self.image, FOLDERS, self.megabytes * MIB)
        with (self.work / "image4").open("wb") as four:
            for _ in range(4):
                with self.image.open("rb") as one:
                    shutil.copyfileobj(one, four, MIB)
        synthetic.make_sample(self.work / "uki", FOLDERS[1:], 24 * MIB)
        synthetic.make_boot_image(self.work / "boot", self.work / "uki", 32 * MIB)
        write_table(self.disk, self.layout())
        make_state_image(self.work / "state", initial())
        state, standby = self.layout()["STATE"], self.layout()["ROOT-B"]
        with self.disk.open("r+b") as disk:
            disk.seek(state.start)
            disk.write((self.work / "state").read_bytes())
            disk.seek(standby.start)
            for _ in range(0, standby.size, MIB):
                disk.write(b"\1" * MIB)
        trust.save(self.root / "usr/lib/proa/trust", trust.Trust((self.key.public,), compatible="test"))

    def release(self, name: str, image: Path) -> Path:
        """An OCI layout with a release of this image."""
        work = self.work / name
        work.mkdir()
        recipe = Recipe(image, self.work / "boot", self.work / "uki", version=name)
        synthetic.make_release(recipe, work / "oci", [self.key], work)
        return work / "oci"

    def floor(self) -> float:
        """Seconds of ``zstd -dc | dd conv=fsync`` to where the agent writes."""
        start = self.layout()["ROOT-B"].start // MIB
        words = f"set -o pipefail; zstd -dc 1/1.root | dd of={self.disk} seek={start}"
        return timed(["bash", "-c", f"{words} bs=1M iflag=fullblock conv=notrunc,fsync status=none"], self.work)

    def install(self, reference: str) -> dict[str, Any]:
        """An install by the command, as ``proa.install/v1`` with ``wall``, the seconds of the whole command."""
        shutil.rmtree(self.root / "var", ignore_errors=True)  # else the standby would be known to hold it already
        command = Path(sys.executable).parent / "proa-agent"
        where = ("--root", self.root, "--disk", self.disk)
        settle()
        started = time.monotonic()
        done = process.run([command, "install", reference, *where, "--json", "--progress", "none"])
        report: dict[str, Any] = json.loads(done.stdout)
        return {"wall": time.monotonic() - started} | report


def settle() -> None:
    """Let nothing of one measurement be written in the next."""
    os.sync()


def timed(words: list[str | Path], folder: Path) -> float:
    """Seconds of a command."""
    settle()
    started = time.monotonic()
    process.run(words, cwd=folder)
    return time.monotonic() - started


RAUC_CONFIG: Final = """[system]
compatible=bench
bootloader=noop
statusfile={work}/rauc.status
mountprefix={work}/rauc.mount
[keyring]
path={work}/cert.pem
[slot.rootfs.0]
device={one}
type=raw
bootname=A
[slot.rootfs.1]
device={two}
type=raw
bootname=B
"""
RAUC_MANIFEST: Final = (
    "[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=root.img\n"
)
RAUC_RUN: Final = """export DBUS_STARTER_BUS_TYPE=session
rauc --conf={work}/rauc.conf --override-boot-slot=A service >{work}/rauc.log 2>&1 &
trap "kill $!" EXIT
until rauc status >/dev/null 2>&1; do sleep 0.1; kill -0 $!; done
sync
start=$(date +%s.%N)
rauc install {work}/bundle.raucb >/dev/null
end=$(date +%s.%N)
echo "$start $end $(sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$!/status)"
"""


@contextmanager
def rauc(bench: Bench) -> Iterator[Callable[[], tuple[float, float]] | None]:
    """A function that installs the same image with RAUC: seconds, and MiB of its peak. None where it cannot run."""
    devices: list[str] = []
    try:
        if os.geteuid() != 0:
            raise ProaError(Code.TOOL_MISSING, "RAUC needs root, for loop devices")
        if shutil.which("rauc") is None:
            names = ("rauc", "squashfs-tools", "dbus-daemon", "openssl")
            process.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *names])
        _prepare_rauc(bench, devices)
        run = RAUC_RUN.format(work=bench.work)

        def install() -> tuple[float, float]:
            done = process.run(["dbus-run-session", "--", "bash", "-euc", run], timeout=600)
            start, end, peak = map(float, done.text.split())
            return end - start, peak / 1024

        yield install
    except ProaError as error:
        print(f"RAUC does not run here: {error.message}", file=sys.stderr)
        yield None
    finally:
        for device in devices:
            process.run(["losetup", "--detach", device], check=False)


def _prepare_rauc(bench: Bench, devices: list[str]) -> None:
    work = bench.work
    (work / "bundle").mkdir()
    shutil.copyfile(bench.image, work / "bundle/root.img")
    (work / "bundle/manifest.raucm").write_text(RAUC_MANIFEST)
    for name in ("one", "two"):
        with (work / f"rauc.{name}").open("wb") as file:
            for _ in range(bench.megabytes + 8):
                file.write(b"\1" * MIB)
        devices.append(process.run(["losetup", "--find", "--show", work / f"rauc.{name}"]).text.strip())
    request = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=bench"
    process.run(request.split(), cwd=work)
    squash = "--mksquashfs-args=-comp zstd -Xcompression-level 3"
    process.run(["rauc", "bundle", "--cert=cert.pem", "--key=key.pem", squash, "bundle", "bundle.raucb"], cwd=work)
    (work / "rauc.conf").write_text(RAUC_CONFIG.format(work=work, one=devices[0], two=devices[1]))


def measure(bench: Bench) -> list[Figure]:
    """All of it."""
    bench.prepare()
    floors, installs, peers = [], [], []
    with LocalRegistry(bench.work / "registry", tls=False) as registry, rauc(bench) as peer:
        for name, image in (("1", bench.image), ("4", bench.work / "image4")):
            with open_source(parse(f"oci:{bench.release(name, image)}")) as source, registry.open("os", name) as target:
                copy_release(source, target, name)
        for _ in range(bench.rounds):
            floors.append(bench.floor())
            installs.append(bench.install(str(registry.reference("os", "1"))))
            if peer:
                peers.append(peer())
        four = bench.install(str(registry.reference("os", "4")))
    return figures_of(bench, floors, installs, peers, four)


def figures_of(
    bench: Bench, floors: list[float], installs: list[Row], peers: list[tuple[float, float]], four: Row
) -> list[Figure]:
    """The table: medians of all rounds, with the least and the most of the install."""
    floor = statistics.median(floors)
    walls = [one["wall"] for one in installs]
    wall = statistics.median(walls)
    inner = statistics.median(one["seconds"] for one in installs)
    peak = max(one["peak_memory"] for one in installs) / MIB
    peak4 = four["peak_memory"] / MIB
    return [
        Figure(f"install {bench.megabytes} MiB from a registry", wall, "s", floor, RATIO * floor),
        Figure("  the quickest", min(walls), "s", floor),
        Figure("  the slowest", max(walls), "s", floor),
        Figure("  without the command's start", inner, "s", floor),
        *_peer_figures(wall, peers, floor),
        Figure("peak memory", peak, "MiB", None, PEAK),
        Figure("peak memory at 4 x the size", peak4, "MiB", peak, GROWTH * peak),
    ]


def _peer_figures(wall: float, peers: list[tuple[float, float]], floor: float) -> list[Figure]:
    if not peers:
        return []
    seconds = statistics.median(one[0] for one in peers)
    return [
        Figure("  against RAUC, the same image from a file", wall, "s", seconds, PEER_RATIO * seconds),
        Figure("RAUC", seconds, "s", floor),
        Figure("RAUC's peak memory", max(one[1] for one in peers), "MiB"),
    ]


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=int, default=512, metavar="MIB", help="of the root image (default: 512)")
    options.add_argument("--rounds", type=int, default=7, help="how often all take turns (default: 7)")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="proa-bench-", dir="/var/tmp") as name:
        figures = measure(Bench(Path(name), given.size, given.rounds))
    print("\n".join(lines(figures)))
    write(OUT, (one.row for one in figures))
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
