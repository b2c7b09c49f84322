"""``make two-installs``: what packages that nodes use draw at random, and what the builder makes of it.

It installs all of :data:`PACKAGES` twice with the builder's own steps, each time from nothing. What differs between
the two trees of packages was drawn at random, or comes from the hour; the finished root images must not differ. The
table is in docs/explanation/two-installs.md.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from proa.builder.build.pipeline import STEPS, BuildOrder, build
from proa.builder.config.loading import load
from proa.builder.engine.cache import StepCache
from proa.builder.formats.erofs import Image
from proa.builder.node import identities, var
from proa.builder.steps.packages import PACKAGES as STEP
from proa.builder.steps.root import ROOT
from proa.builder.steps.software import SOFTWARE
from proa.core.runtime.cli import run_command
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT

SCHEMA: Final = "proa.two-installs/v1"
PACKAGES: Final = (
    *("apparmor", "auditd", "bacula-fd", "bind9", "chrony", "cloud-init", "containerd", "corosync", "cron"),
    *("dnsmasq", "docker.io", "drbd-utils", "dropbear", "etcd-server", "frr", "glusterfs-server", "haproxy"),
    *("ipmitool", "irqbalance", "isc-dhcp-server", "keepalived", "krb5-user", "lldpd", "lvm2", "mariadb-server"),
    *("mdadm", "multipath-tools", "munge", "nfs-kernel-server", "nginx", "nvme-cli", "open-iscsi", "open-vm-tools"),
    *("openssh-server", "openvpn", "openvswitch-switch", "pacemaker", "postfix", "postgresql"),
    *("prometheus-node-exporter", "qemu-guest-agent", "redis-server", "rsyslog", "samba", "smartmontools"),
    *("snmpd", "ssl-cert", "strongswan", "sudo", "systemd-resolved", "tang", "unbound", "uuid-runtime"),
    *("wireguard-tools", "zabbix-agent"),
)
"""What nodes use, as far as it can be installed side by side; slapd is not here, since a build refuses it."""
_CONFIG: Final = """\
[release]
name = "two-installs"
version = "1.0.0"
[kernel]
package = "linux-image-cloud-amd64"
[system]
packages = {packages}
"""
_SHOWN: Final = 5
"""Of how many files of a folder the table has each."""
OUT: Final = Path("build/two-installs")
_INFO: Final = re.compile(r"\./var/lib/dpkg/info/([^:]+)(?::\w+)?\.(list|postinst)")
_PATHS: Final = {"list": re.compile(r".+"), "postinst": re.compile(r"/(?:etc|var)/[\w./+-]+")}
"""What a file of dpkg's database says is its package's: what it brings, and what its script names."""


@dataclass(frozen=True)
class Difference:
    """A path that is not the same in two trees of packages.

    Attributes:
        path: The path.
        package: Whose it is; empty if no package says so.
        release: What the finished root has of it.
    """

    path: str
    package: str
    release: str


def compare(trees: tuple[Path, Path], images: tuple[Mapping[str, object], Mapping[str, object]]) -> list[Difference]:
    """What differs between two trees of packages, and what became of it.

    Args:
        trees: The packages' trees, tar files.
        images: What the finished roots have, by path.
    """
    (first, owners), (second, _) = (read(path) for path in trees)
    paths = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    return [Difference(path, owner(path, owners), _became(path, images)) for path in paths]


def read(tree: Path) -> tuple[dict[str, tuple[object, ...]], dict[str, str]]:
    """Kind, rights, owner and content of each path of a tar file; the package of each path that just one names."""
    found: dict[str, tuple[object, ...]] = {}
    named: dict[str, set[str]] = {}
    with tarfile.open(tree) as file:
        for member in file:
            data = file.extractfile(member) if member.isreg() else None
            content = data.read() if data else b""
            facts = (member.type, member.mode, member.uid, member.gid, member.linkname)
            found[member.name.removeprefix(".") or "/"] = (*facts, hashlib.sha256(content).hexdigest())
            if match := _INFO.fullmatch(member.name):
                for path in _PATHS[match[2]].findall(content.decode(errors="replace")):
                    named.setdefault(path.rstrip("/"), set()).add(match[1])
    return found, {path: min(packages) for path, packages in named.items() if len(packages) == 1}


def owner(path: str, owners: Mapping[str, str]) -> str:
    """The package of a path, or of the nearest folder above it that one has."""
    place = Path(path)
    return next((owners[str(one)] for one in (place, *place.parents) if str(one) in owners), "")


def _became(path: str, images: tuple[Mapping[str, object], Mapping[str, object]]) -> str:
    places = (path, f"{var.FACTORY}{path}", path.replace("/var/lib/dpkg", "/usr/lib/sysimage/dpkg"))
    there = [place for place in places if any(place in image for image in images)]
    if any(images[0].get(place) != images[1].get(place) for place in there):
        return "differs"
    if any(f"{path}/".startswith(f"{one.path}/") for one in identities.KNOWN):
        return "made by each node"
    return "made the same" if there else "left out"


def contents(image: Path) -> dict[str, object]:
    """What a root image has, by path."""
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {entry.path: entry for entry in Image(data).entries()}


def install(folder: Path, name: str, packages: Iterable[str]) -> tuple[Path, dict[str, object]]:
    """One installation from nothing: the packages' tree, and the contents of the finished root."""
    config = folder / "proa.toml"
    config.write_text(_CONFIG.format(packages=json.dumps(list(packages))))
    cache = folder / name
    cache.mkdir(exist_ok=True)
    for shared in (STEP.name, SOFTWARE.name):
        (folder / "fetched" / shared).mkdir(parents=True, exist_ok=True)
        if not (cache / shared).exists():
            (cache / shared).symlink_to((folder / "fetched" / shared).absolute())
    kept = StepCache(cache)
    steps = STEPS[: STEPS.index(ROOT) + 1]
    report = build(BuildOrder(load(config), folder / f"out-{name}", None, kept, SILENT, steps))
    made = {step.name: kept.find(step.name, step.key) for step in report.steps}
    tree, root = made[STEP.name], made[ROOT.name]
    if tree is None or root is None:
        raise ProaError(Code.INTERNAL, "a step's output is not kept")
    return tree.folder / "base.tar", contents(root.folder / "root.erofs")


def table(found: Iterable[Difference]) -> str:
    """As Markdown; many files of a folder are one row."""
    folders: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        folders.setdefault((str(Path(one.path).parent), one.package, one.release), []).append(one.path)
    lines = ["| path | package | in a release |", "| --- | --- | --- |"]
    for (folder, package, release), paths in folders.items():
        shown = [f"`{path}`" for path in paths] if len(paths) <= _SHOWN else [f"`{folder}/`, {len(paths)} files"]
        lines += [f"| {path} | {package} | {release} |" for path in shown]
    return "\n".join(lines)


def compare_installs(folder: Path, packages: Iterable[str]) -> list[Difference]:
    """Install twice below a folder, and compare.

    Raises:
        ProaError: What a build raises, of an identity that is not known too.
    """
    names = tuple(packages)
    (one, first), (other, second) = (install(folder, name, names) for name in ("first", "second"))
    return compare((one, other), (first, second))


@click.command()
@click.argument("packages", nargs=-1)
def cli(packages: tuple[str, ...]) -> None:
    """Install PACKAGES twice, or all that nodes use, and print what differs."""
    folder = OUT.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    found = compare_installs(folder, packages or PACKAGES)
    document = {"schema": SCHEMA, "packages": packages or PACKAGES, "differences": [asdict(one) for one in found]}
    (folder / "report.json").write_text(json.dumps(document, indent=1) + "\n")
    click.echo(table(found))
    if bad := [one.path for one in found if one.release == "differs"]:
        raise ProaError(Code.NOT_REPRODUCIBLE, f"two releases differ in {', '.join(bad[:5])}")


if __name__ == "__main__":
    run_command(cli, "upkeep.two_installs")
