"""What a release says of itself in its root, and what makes a Debian tree a node: names, trust, health, folders."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proa.builder.config.near import did_you_mean
from proa.builder.config.setting import UNSET
from proa.builder.config.settings import Config
from proa.builder.node.tree import Tree
from proa.core.release.document import LAYOUT_VERSION, LOADER_VERSION
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing import trust
from proa.core.signing.keys import public_from_pem

DATA: Final = Path(__file__).parent / "root"
PERSISTENT: Final = ("/var", "/home", "/root", "/opt/cni")
"""Folders that the initrd binds from PERSIST on every node."""
_ZONES: Final = "/usr/share/zoneinfo"
_MASKED: Final = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "dracut-shutdown.service",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "ldconfig.service",
    "systemd-hwdb-update.service",
)
"""Units that mend or update what a release brings finished, and what can't be updated in place."""


def add_own_files(tree: Tree) -> None:
    """Copy ``root/``: units, scripts and settings that every node has."""
    for path in sorted(path for path in DATA.rglob("*") if path.is_file()):
        data = path.read_bytes()
        tree.write(f"/{path.relative_to(DATA)}", data, 0o755 if data.startswith(b"#!") else 0o644)
    for unit in _MASKED:
        tree.link(f"/etc/systemd/system/{unit}", "/dev/null")
    if not tree.exists("/usr/lib/systemd/system/tmp.mount"):
        tree.write("/usr/lib/systemd/system/tmp.mount", tree.read("/usr/share/systemd/tmp.mount"))
    tree.link("/usr/lib/systemd/system/local-fs.target.wants/tmp.mount", "../tmp.mount")


def name_release(tree: Tree, config: Config) -> None:
    """os-release, and release.json: what is known of a release before it is sealed."""
    release = config.release
    path = "/usr/lib/os-release"
    lines = dict(line.split("=", 1) for line in tree.read(path).splitlines() if "=" in line)
    fields = {name: shlex.split(value)[0] if value else "" for name, value in lines.items()}
    distribution = fields["PRETTY_NAME"]
    fields |= {
        "PRETTY_NAME": f"{release.name} {release.version} ({distribution})",
        "VERSION": f"{release.version} ({fields.get('VERSION_CODENAME', config.system.suite)})",
        "IMAGE_ID": release.name,
        "IMAGE_VERSION": release.version,
    }
    tree.write(path, "".join(f'{name}="{value}"\n' for name, value in fields.items()))
    tree.link("/etc/os-release", "../usr/lib/os-release")
    document = {
        "schema": "proa.node-release/v1",
        "name": release.name,
        "version": release.version,
        "compatible": release.compatible,
        "architecture": release.architecture,
        "serial": release.serial,
        **({"expires": release.expires} if release.expires else {}),
        "floor": release.floor,
        "layout": LAYOUT_VERSION,
        "loader": LOADER_VERSION,
    }
    tree.write("/usr/lib/proa/release.json", json.dumps(document, indent=1) + "\n")


def _homes(locale: str) -> tuple[str, ...]:
    """Where glibc finds a locale: one of the C locales is built in."""
    if locale in ("C", "POSIX", "C.UTF-8"):
        return ("/",)
    name, dot, charset = locale.partition(".")
    charset, at, modifier = charset.partition("@")
    folder = name + dot + charset.lower().replace("-", "") + at + modifier
    return "/usr/lib/locale/locale-archive", f"/usr/lib/locale/{folder}"


def set_up(tree: Tree, config: Config) -> None:
    """Locale, time zone, host name, and the identity that each node makes for itself."""
    locale = config.system.locale
    if not any(tree.exists(path) for path in _homes(locale)):
        raise ProaError(
            Code.CONFIG_VALUE,
            f"the tree has no locale {locale}",
            at="system.locale",
            hint="Add the package locales-all.",
        )
    tree.write("/etc/locale.conf", f"LANG={locale}\n")
    tree.link("/etc/default/locale", "../locale.conf")
    zone = f"{_ZONES}/{config.system.timezone}"
    tree.remove("/etc/localtime")
    if tree.path(zone).is_file():
        tree.link("/etc/localtime", f"..{zone}")
    elif config.system.timezone != "UTC":
        known = (str(path.relative_to(tree.path(_ZONES))) for _, path in tree.files(_ZONES) if path.is_file())
        there = tree.exists(_ZONES)
        hint = did_you_mean(config.system.timezone, known) if there else "Add the package tzdata."
        raise ProaError(
            Code.CONFIG_VALUE, f"the tree has no time zone {config.system.timezone}", at="system.timezone", hint=hint
        )
    tree.write("/usr/lib/proa/hostname", config.system.hostname + "\n")
    tree.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
    tree.write("/etc/machine-id", "", 0o444)
    tree.write("/etc/fstab", "")
    tree.write("/usr/lib/clock-epoch", "")
    if tree.exists("/usr/lib/systemd/systemd-resolved"):
        tree.link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    else:
        tree.write("/etc/resolv.conf", "")


def add_folders(tree: Tree, config: Config) -> None:
    """The places that the initrd mounts over; what else is kept is told to it by ``/usr/lib/proa/keep``."""
    for name in ("/persist", "/opt/cni", "/etc/proa", "/etc/proa/health.d", *config.persist.keep):
        if not tree.exists(name):
            tree.folder(name)
    tree.write("/usr/lib/proa/keep", "".join(f"{name}\n" for name in config.persist.keep))


def add_trust(tree: Tree, config: Config, keys: Sequence[bytes]) -> None:
    """The folder that says whose releases the node takes; without a key it takes none."""
    found = {key.id: key for key in (public_from_pem(pem) for pem in keys)}
    folder = tree.folder("/usr/lib/proa/trust")
    release = config.release
    trust.save(folder, trust.Trust(tuple(found.values()), config.trust.threshold, release.compatible, release.floor))


def add_health(tree: Tree, config: Config, folder: Path) -> None:
    """Checks, the agent's settings, and systemd's watchdog."""
    tree.folder("/usr/lib/proa/health.d")
    for check in config.check:
        data = check.content.encode() if check.content is not None else (folder / check.source).read_bytes()
        tree.write(f"/usr/lib/proa/health.d/{check.name}", data, 0o755)
    health, cluster = config.health, config.cluster
    units = ", ".join(json.dumps(unit) for unit in health.required)
    settings = f"[health]\ncheck_limit = {health.timeout}\nseconds = {health.seconds}\nunits = [{units}]\n"
    settings += f'\n[cluster]\ncommit = "{cluster.commit}"\n'
    settings += f"group = {cluster.group}\n" if cluster.group != UNSET else ""
    tree.write("/usr/lib/proa/agent.toml", settings)
    manager = f"[Manager]\nRuntimeWatchdogSec={health.watchdog}s\nRebootWatchdogSec=5min\n"
    tree.write("/usr/lib/systemd/system.conf.d/50-proa.conf", manager)
