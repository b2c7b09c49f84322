"""``make bench-build``: seconds of checks and of a build, step by step: from nothing, again, the next version.

The rows go to ``build/bench/build.json`` (``proa.bench/v1``). The peer is mkosi, Debian's package: it needs root, and
installs the same packages into a folder, unsigned, which is what our step ``packages`` does. Everything else that a
build does counts as the rest.
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

import click

from proa.builder.steps.packages import NEEDED
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.vm.support.figures import Figure, lines, missed, write

OUT = Path("build/bench/build.json")
BIN = Path(sys.executable).parent
PACKAGES = [*NEEDED, "linux-image-amd64", "openssh-server", "systemd-resolved", "systemd-timesyncd"]
"""What the configuration of ``proa-build init`` installs."""
CHECK, ONLINE, REST, REPEATED, NEXT = 0.5, 10.0, 15.0, 1.0, 12.0
"""Goals in seconds."""
TREE = 1.1
"""How often mkosi's time the packages' tree may take."""
STEPS_SHOWN = 0.05
"""Seconds below which a step has no row of its own."""


def check(work: Path, *words: str) -> float:
    """Seconds of a check of the configuration, the best of three."""
    argv: list[str | Path] = [BIN / "proa-build", "check", "-c", work / "node/proa.toml", *words]
    found = []
    for _ in range(3):
        started = time.monotonic()
        process.run(argv)
        found.append(time.monotonic() - started)
    return min(found)


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


def steps(report: dict[str, Any]) -> list[Figure]:
    """Where the time of a build goes."""
    shown = [step for step in report["steps"] if step["seconds"] >= STEPS_SHOWN]
    return [Figure(f"  {step['name']}{', kept' if step['cached'] else ''}", step["seconds"], "s") for step in shown]


def measure(work: Path) -> list[Figure]:
    """Everything, in one run."""
    process.run([BIN / "proa-build", "keys", "init", work / "keys"])
    process.run([BIN / "proa-build", "init", work / "node"])
    offline, online = check(work), check(work, "--online")
    cold, first = build(work, "cold", "1.0.0")
    repeated, same = min((build(work, "repeated", "1.0.0") for _ in range(3)), key=lambda one: one[0])
    changed, second = build(work, "next", "1.0.1")
    peer = mkosi(work, PACKAGES)
    tree = next(step["seconds"] for step in first["steps"] if step["name"] == "packages")
    rest = sum(step["seconds"] for step in first["steps"]) - tree
    return [
        Figure("check", offline, "s", most=CHECK),
        Figure("check --online", online, "s", most=ONLINE),
        Figure("build from nothing: disk image and signed release", cold, "s", floor=peer),
        *steps(first),
        Figure("  of it the packages' tree, against mkosi", tree, "s", floor=peer, most=peer and TREE * peer),
        Figure("  of it the rest", rest, "s", most=REST),
        Figure("the same build again", repeated, "s", most=REPEATED),
        *steps(same),
        Figure("the next version", changed, "s", most=NEXT),
        *steps(second),
    ]


@click.command()
@click.option("--check", "strict", is_flag=True, help="Fail where a goal is missed.")
def cli(*, strict: bool) -> None:
    """Measure, print the table, write the JSON."""
    with tempfile.TemporaryDirectory(prefix="proa-bench-", ignore_cleanup_errors=True) as name:
        figures = measure(Path(name))
    click.echo("\n".join(lines(figures)))
    write(OUT, [figure.row for figure in figures])
    click.echo(f"written: {OUT}")
    if strict and (bad := missed(figures)):
        click.echo("\n".join(bad), err=True)
        sys.exit(1)


if __name__ == "__main__":
    cli()
