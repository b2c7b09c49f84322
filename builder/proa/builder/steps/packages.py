"""Packages: mmdebstrap makes a tree of a suite's packages, without root."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine import kernels, namespace, sources
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint
from proa.builder.node import contents
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import replace, sha256

NEEDED: Final = (
    "ca-certificates",
    "cryptsetup-bin",
    "dbus",
    "dmsetup",
    "dracut",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "python3",
    "systemd",
    "systemd-sysv",
    "udev",
    "zstd",
)
"""What every node has besides the essential packages and the kernel: what boots it, and what the agent needs."""

DATA: Final = Path(__file__).parent.parent / "packages"
"""The folder with the script that mmdebstrap runs at its end."""
_LEFT_OUT: Final = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
)
"""What a node does not need of its packages (dpkg(1), --path-exclude); copyright files stay."""
_SUMS: Final = "sums.json"
_MAX_KEPT: Final = 3 << 30
"""Bytes of downloaded packages that are kept for the next build."""

_NO_PACKAGE: Final = re.compile(r"Unable to locate package (\S+)|Version '([^']+)' for '([^']+)' was not found")
_NO_CANDIDATE: Final = re.compile(r"Package '?([^\s']+)'? has no installation candidate")
_NO_MIRROR: Final = re.compile(
    r"^(?:E|W|Err).*(?:Failed to fetch|Could not resolve|Could not connect|Connection|timed out).*", re.M
)
_NO_SIGNATURE: Final = re.compile(r"^[EW]: .*(?:NO_PUBKEY|is not signed|EXPKEYSIG|not available).*", re.M)


class Packages:
    """See the module.

    Its time is that of the newest index, so that a ``SOURCE_DATE_EPOCH`` of every commit reuses the tree; the root
    image sets all times anyway.
    """

    name = "packages"
    title = "Packages"
    needs = ()
    tools = ("mmdebstrap", "apt-get", "dpkg-deb", "tar")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The package list, where they come from and what the mirrors hold now."""
        found = sources.archives(context.config, context.folder)
        return {
            "suite": context.config.system.suite,
            "architecture": context.architecture.debian,
            "packages": wanted(context),
            "kernel": context.config.kernel.package,
            "recommends": context.config.system.recommends,
            "sources": sources.describe(found),
            "indexes": sorted(index.digest for index in sources.indexes(found)),
            "data": fingerprint.tree(DATA),
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make the tree.

        Raises:
            ProaError: ``PACKAGES``, ``MIRROR`` or ``DISK_FULL``.
        """
        debs = context.cache / self.name / f"{context.config.system.suite}-{context.architecture.debian}"
        debs.mkdir(parents=True, exist_ok=True)
        forget_changed(debs)
        archives = sources.archives(context.config, context.folder)
        before = sources.indexes(archives)
        listed = context.scratch / "sources.sources"
        listed.write_text("\n".join(archive.stanza() for archive in archives))
        done = process.run(
            (*namespace.enter(network=True), *_mmdebstrap(context, listed, debs, out)),
            check=False,
            env={"SOURCE_DATE_EPOCH": str(sources.newest(before)), "TMPDIR": str(context.scratch), "INITRD": "No"},
        )
        if done.status != 0:
            raise explain(done)
        _check_indexes(out, sorted(index.digest for index in before))
        choose_kernel(out, context.config.kernel.package)
        _write_list(out)
        remember(debs)


def wanted(context: BuildContext) -> list[str]:
    """The packages that are asked for; apt adds what these depend on."""
    kernel = context.config.kernel.package or context.architecture.kernel
    return sorted({*NEEDED, kernel, *context.config.system.packages})


def _mmdebstrap(context: BuildContext, listed: Path, debs: Path, out: Path) -> list[str]:
    quoted = shlex.quote
    keep_in = (
        f'mkdir -p "$1/var/cache/apt/archives" && cp -t "$1/var/cache/apt/archives" {quoted(str(debs))}/*.deb || true'
    )
    anonymous = (
        'echo localhost >"$1/etc/hostname"; : >"$1/etc/resolv.conf"; chmod 644 "$1/etc/hostname" "$1/etc/resolv.conf"'
    )
    collect = shlex.join(["sh", str(DATA / "collect.sh")])
    boot = shlex.join([str(out), str(debs), *context.architecture.boot_packages])
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        "--format=tar",
        f"--architectures={context.architecture.debian}",
        f"--include={','.join(wanted(context))}",
        f'--aptopt=Apt::Install-Recommends "{str(context.config.system.recommends).lower()}"',
        '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::http::Timeout "30"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt={rule}" for rule in _LEFT_OUT),
        "--skip=download/empty",
        "--skip=essential/unlink",
        f"--setup-hook={keep_in}",
        f"--setup-hook={anonymous}",  # in place of this machine's, which packages may keep a copy of
        f'--customize-hook={collect} "$1" {boot}',
        context.config.system.suite,
        str(out / "base.tar"),
        str(listed),
    ]


def explain(done: process.ProcessResult) -> ProaError:
    """The error behind what mmdebstrap and apt said."""
    said = done.stderr.decode(errors="replace")
    if "No space left on device" in said:
        return process.failure(done, Code.DISK_FULL)
    missing = [match[1] or f"{match[3]}={match[2]}" for match in _NO_PACKAGE.finditer(said)]
    missing += [match[1] for match in _NO_CANDIDATE.finditer(said)]
    if missing:
        names = ", ".join(sorted(set(missing)))
        return ProaError(
            Code.PACKAGES, f"these packages do not exist: {names}", hint="Correct system.packages, or add a [[source]]."
        )
    for pattern, hint in ((_NO_SIGNATURE, "Check the keyring that signed_by names."), (_NO_MIRROR, "")):
        match = pattern.search(said)
        if match:
            return ProaError(Code.MIRROR, match[0], hint=hint)
    return process.failure(done, Code.PACKAGES)


def _check_indexes(out: Path, before: list[str]) -> None:
    """The mirrors must not have changed between the key and the build, or the key would name something else."""
    used = sorted((out / "indexes").read_text().split())
    (out / "indexes").unlink()
    if used != before:
        raise ProaError(Code.MIRROR, "the mirror changed while it was being read", hint="Build again.")


def choose_kernel(out: Path, package: str) -> None:
    """Keep the kernel that boots as ``kernel/``.

    Raises:
        ProaError: ``PACKAGES``.
    """
    found = out / "kernels"
    version = kernels.choose((out / "status").read_text(), {path.name for path in found.iterdir()}, package)
    (found / version).rename(out / "kernel")
    (out / "kernel/version").write_text(f"{version}\n")
    shutil.rmtree(found)


def _write_list(out: Path) -> None:
    """packages.json: what is installed, and what of the boot chain was unpacked beside it."""
    boot = list(sources.stanzas((out / "boot.status").read_text()))
    document = {
        "installed": contents.installed((out / "status").read_text()),
        "boot": sorted((contents.entry(fields) for fields in boot), key=lambda entry: entry["package"]),
    }
    (out / "packages.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    (out / "status").unlink()
    (out / "boot.status").unlink()


def forget_changed(debs: Path) -> None:
    """Throw away kept packages that are not what was kept; apt itself looks at little more than their size."""
    try:
        known = json.loads((debs / _SUMS).read_bytes())
    except (OSError, ValueError):
        known = {}
    for path in debs.glob("*.deb"):
        if not isinstance(known, dict) or known.get(path.name) != sha256(path):
            path.unlink()


def remember(debs: Path) -> None:
    """Write down what was downloaded, and let the oldest go if it is too much."""
    paths = sorted(debs.glob("*.deb"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in paths:
        total += path.stat().st_size
        if total > _MAX_KEPT:
            path.unlink()
    replace(debs / _SUMS, json.dumps({path.name: sha256(path) for path in paths if path.exists()}).encode())


PACKAGES: Final = Packages()
