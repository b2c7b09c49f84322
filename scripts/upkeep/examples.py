"""``make examples``: builds the complete configurations of docs/examples/nodes, and prints what came out of each.

What whoever takes an example adds is made up here: the key and the flat repository of Kubernetes, with packages of the
right names, and programs for ``kubelet`` and ``kubeadm``. Everything else comes from the machine's Debian sources.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from proa.builder.engine import cache
from proa.core.runtime import process
from proa.core.runtime.cli import run_command
from proa.core.runtime.errors import Code, ProaError

SCHEMA: Final = "proa.examples/v1"
EXAMPLES: Final = Path(__file__).parents[2] / "docs/examples"
OUT: Final = Path("build/examples")
NAMES: Final = tuple(sorted(path.name for path in (EXAMPLES / "nodes").iterdir()))
VERSION: Final = "1.30.14-1.1"
_ELSEWHERE: Final = "https://packages.example.net/kubernetes/v1.30/deb"
_FETCHED: Final = ("packages", "software")
"""Folders of the user's cache with what was fetched, which the builds share."""
_UNIT: Final = "[Service]\nExecStart=/usr/bin/kubelet\n[Install]\nWantedBy=multi-user.target\n"
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class BuiltExample:
    """What came out of an example.

    Attributes:
        name: Its folder's name.
        root: Bytes of the root.
        download: Bytes that a node without an older release fetches.
        packages: How many Debian packages it has.
        seconds: How long the build took.
    """

    name: str
    root: int
    download: int
    packages: int
    seconds: float


def provide(folder: Path) -> Path:
    """Copy the examples, with all that they need; the folder with one folder for each."""
    shutil.copytree(EXAMPLES, folder / "examples")
    nodes = folder / "examples/nodes"
    for name in ("kubelet", "kubeadm"):
        shutil.copyfile("/usr/bin/true", nodes / "control-plane" / name)
    repository = folder / "kubernetes"
    make_repository(repository, nodes / "kubernetes-upstream/keys/kubernetes.asc")
    config = nodes / "kubernetes-upstream/proa.toml"
    config.write_text(config.read_text().replace(_ELSEWHERE, f"file:{repository.absolute()}"))
    return nodes


def make_repository(folder: Path, keyring: Path) -> None:
    """A flat repository, as Kubernetes gives it out: the packages, and an index that is signed with a new key."""
    folder.mkdir()
    stanzas = []
    for name in ("kubeadm", "kubectl", "kubelet"):
        deb = _package(folder, name)
        control = process.run(("dpkg-deb", "-f", deb)).text.strip()
        data = deb.read_bytes()
        stanzas.append(
            f"{control}\nFilename: {deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    index = "\n".join(stanzas).encode()
    (folder / "Packages").write_bytes(index)
    sums = f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    (folder / "Release").write_text(f"Origin: examples\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n{sums}")
    keyring.parent.mkdir()
    _sign(folder, keyring)


def _package(folder: Path, name: str) -> Path:
    tree = folder / f"tree-{name}"
    (tree / "DEBIAN").mkdir(parents=True)
    lines = {"Package": name, "Version": VERSION, "Architecture": "all", "Maintainer": "Examples <me@example.net>"}
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    (tree / "DEBIAN/control").write_text(f"{text}Description: stands in for that of Kubernetes\n")
    (tree / "usr/bin").mkdir(parents=True)
    shutil.copy("/usr/bin/true", tree / "usr/bin" / name)
    if name == "kubelet":
        (tree / "usr/lib/systemd/system").mkdir(parents=True)
        (tree / "usr/lib/systemd/system/kubelet.service").write_text(_UNIT)
    target = folder / f"{name}_{VERSION}_all.deb"
    process.run(("dpkg-deb", "--build", "--root-owner-group", tree, target))
    shutil.rmtree(tree)
    return target


def _sign(folder: Path, keyring: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="proa-gpg-") as home:
        words = ("gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback")
        process.run((*words, "--quick-generate-key", "me@example.net", "ed25519", "sign"))
        process.run((*words, "--clearsign", "--output", folder / "InRelease", folder / "Release"))
        keyring.write_bytes(process.run((*words, "--armor", "--export")).stdout)
        process.run(("gpgconf", "--homedir", home, "--kill", "all"))


def build(nodes: Path, name: str, work: Path) -> BuiltExample:
    """Build one, signed with keys of its own.

    Args:
        nodes: The folder that :func:`provide` made.
        name: The example.
        work: A folder for keys, cache and output.

    Raises:
        ProaError: ``TOOL``, with what ``proa-build`` said.
    """
    program = Path(sys.executable).parent / "proa-build"
    for fetched in _FETCHED:
        (cache.default_folder() / fetched).mkdir(parents=True, exist_ok=True)
        (work / "cache").mkdir(parents=True, exist_ok=True)
        if not (work / "cache" / fetched).exists():
            (work / "cache" / fetched).symlink_to(cache.default_folder() / fetched)
    if not (work / "keys").exists():
        process.run((program, "keys", "init", work / "keys"))
    started = time.monotonic()
    words = ("-c", nodes / name / "proa.toml", "-o", work / name, "--keys", work / "keys", "--cache", work / "cache")
    done = process.run((program, "image", *words, "--json", "--progress", "none"))
    report: dict[str, Any] = json.loads(done.stdout)
    bill = json.loads((work / name / "sbom.spdx.json").read_text())
    debs = [one for one in bill["packages"] if "pkg:deb/" in json.dumps(one.get("externalRefs", []))]
    (work / name / "disk.raw").unlink()
    seconds = round(time.monotonic() - started, 1)
    return BuiltExample(name, report["sizes"]["root"], sum(report["download"].values()), len(debs), seconds)


def table(found: Iterable[BuiltExample]) -> str:
    """For people."""
    lines = [f"{'example':<20} {'root':>9} {'fetched':>9} {'packages':>9} {'seconds':>8}"]
    for one in found:
        sizes = f"{one.root / _MIB:>5.0f} MiB {one.download / _MIB:>5.0f} MiB"
        lines.append(f"{one.name:<20} {sizes} {one.packages:>9} {one.seconds:>8.1f}")
    return "\n".join(lines)


@click.command()
@click.argument("names", nargs=-1)
def cli(names: tuple[str, ...]) -> None:
    """Build the examples NAMES, or all of them."""
    if unknown := set(names) - set(NAMES):
        raise ProaError(
            Code.USAGE, f"there is no example {', '.join(sorted(unknown))}", hint=f"Try {', '.join(NAMES)}."
        )
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=OUT.absolute()) as work:
        nodes = provide(Path(work))
        found = []
        for name in names or NAMES:
            click.echo(f"building {name}", err=True)
            found.append(build(nodes, name, Path(work)))
    (OUT / "report.json").write_text(
        json.dumps({"schema": SCHEMA, "examples": [asdict(one) for one in found]}, indent=1) + "\n"
    )
    click.echo(table(found))


if __name__ == "__main__":
    run_command(cli, "upkeep.examples")
