"""``make bench-build``: seconds per step of a build, cold and repeated, against mkosi on the same package list.

The rows go to ``build/bench/build.json`` (``proa.bench/v1``). mkosi is Debian's package; it needs root, and builds
an unsigned image of the same packages as a folder, which is the part of the work that both do.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from proa.builder.steps.packages import NEEDED
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.vm.support.figures import BenchRow, write

OUT = Path("build/bench/build.json")
BIN = Path(sys.executable).parent
PACKAGES = [*NEEDED, "linux-image-amd64", "openssh-server", "systemd-resolved", "systemd-timesyncd"]
"""What the configuration of ``proa-build init`` installs."""
Row = dict[str, Any]


def row(figure: str, value: float, floor: float | None = None, goal: str = "") -> BenchRow:
    """A row of the table; ``floor`` is what the peer took in the same run, in the same unit."""
    return BenchRow(figure, round(value, 1), "s", floor, round(value / floor, 2) if floor else None, goal, ok=True)


def build(work: Path, out: str, version: str) -> tuple[float, dict[str, Any]]:
    """One build; its seconds and its ``proa.build/v1``."""
    started = time.monotonic()
    words: list[str | Path] = [
        BIN / "proa-build",
        "image",
        "-c",
        work / "node/proa.toml",
        "-o",
        work / out,
        "--version",
        version,
    ]
    done = process.run([*words, "--keys", work / "keys", "--cache", work / "cache", "--json"], show=True)
    return time.monotonic() - started, json.loads(done.stdout)


def mkosi(work: Path, packages: list[str]) -> float | None:
    """Seconds that mkosi takes for the same packages; None where it cannot run."""
    if os.geteuid() != 0:
        return None
    if shutil.which("mkosi") is None:
        process.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "mkosi", "debootstrap"])
    words = ["mkosi", "--distribution", "debian", "--release", "bookworm", "--format", "directory", "--with-docs"]
    words += [f"--package={name}" for name in packages] + ["--output-dir", str(work / "mkosi"), "--force", "build"]
    started = time.monotonic()
    try:
        process.run(words, cwd=work, timeout=1800)
    except ProaError as error:
        print(f"mkosi did not build here: {error.message}", file=sys.stderr)
        return None
    return time.monotonic() - started


def main() -> None:
    """Measure, print the table, write the JSON."""
    with tempfile.TemporaryDirectory(prefix="proa-bench-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        process.run([BIN / "proa-build", "keys", "init", work / "keys"])
        process.run([BIN / "proa-build", "init", work / "node"])
        cold, first = build(work, "cold", "1.0.0")
        repeated, _ = build(work, "repeated", "1.0.0")
        next_version, _ = build(work, "next", "1.0.1")
        peer = mkosi(work, PACKAGES)
        rows = [row("cold build: disk image and signed release", cold, peer)]
        rows += [row(f"  {step['name']}", step["seconds"]) for step in first["steps"]]
        rows += [row("the same build again", repeated, peer), row("the next version", next_version, peer)]
    for item in rows:
        floor = f"{item.floor:8.1f} {item.ratio:6.2f}" if item.floor else ""
        print(f"{item.figure:<44} {item.value:8.1f} s {floor}")
    write(OUT, rows)
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
