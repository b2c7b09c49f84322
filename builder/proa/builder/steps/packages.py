"""Packages: mmdebstrap makes a tree of a suite's packages, without root."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.config.architecture import ARCHITECTURES
from proa.builder.config.settings import Config
from proa.builder.engine import kernels, namespace, resolve, sources
from proa.builder.engine.context import BuildContext
from proa.builder.engine.resolve import Request, Resolved, Supply
from proa.builder.inputs import fingerprint
from proa.builder.node import contents
from proa.builder.steps import beforehand
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

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

MERGED: Final[Mapping[str, tuple[str, ...]]] = {"bookworm": ("usr-is-merged",), "trixie": ()}
"""What keeps ``usrmerge`` out, and with it Perl: the tree's folders are links from the start."""

ENCRYPTION: Final[Mapping[str, tuple[str, ...]]] = {
    "bookworm": ("libtss2-esys-3.0.2-0", "libtss2-mu0", "libtss2-rc0", "libtss2-tcti-device0"),
    "trixie": (
        "libtss2-esys-3.0.2-0t64",
        "libtss2-mu-4.0.1-0t64",
        "libtss2-rc0t64",
        "libtss2-tcti-device0t64",
        "systemd-cryptsetup",
    ),
}
"""What a node of each suite needs as well where ``persist.encryption`` asks for its TPM."""

DATA: Final = Path(__file__).parent.parent / "packages"
"""The folder with the script that mmdebstrap runs at its end."""
_DOCUMENTATION: Final = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
)
_TRANSLATIONS: Final = ("path-exclude=/usr/share/locale/*", "path-include=/usr/share/locale/locale.alias")
_MAX_KEPT: Final = 3 << 30
"""Bytes of downloaded packages that are kept for the next build."""


class Packages:
    """See the module.

    Its time is that of the newest package, so that a ``SOURCE_DATE_EPOCH`` of every commit reuses the tree; the root
    image sets all times anyway.
    """

    name = "packages"
    title = "Packages"
    needs = ()
    tools = ("mmdebstrap", "apt-get", "dpkg-deb", "tar", "ip")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The packages, by name, version and hash, whatever mirror they come from; what is set up before they are."""
        return {
            "architecture": context.architecture.debian,
            "packages": resolve.resolve(request_of(context)).identities(),
            "kernel": context.config.kernel.package,
            "data": fingerprint.tree(DATA),
            "left out": left_out(context.config),
            "before": beforehand.inputs(context),
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make the tree, without network: from a repository of just these packages.

        Raises:
            ProaError: ``PACKAGES``, ``MIRROR`` or ``DISK_FULL``; ``HOOK`` for a program of the user's that fails;
                ``CONFIG_VALUE`` for an answer to a question that no package asks.
        """
        request = request_of(context)
        found = resolve.resolve(request)
        resolve.fetch(request, found)
        repository = context.scratch / "repository"
        resolve.repository(request, found, repository)
        done = process.run(
            (
                *namespace.room(context.scratch, show=(DATA, request.files), change=(out,)),
                *_mmdebstrap(context, found, repository, out),
            ),
            check=False,
            env={
                "SOURCE_DATE_EPOCH": str(resolve.newest(request, found)),
                "INITRD": "No",
            },
        )
        if done.status != 0:
            raise beforehand.failed_hook(context) or explain(done)
        beforehand.check_answers(context, out)
        beforehand.write_hooked(context, out)
        check_installed((out / "status").read_text(), found)
        choose_kernel(out, context.config.kernel.package)
        _write_list(out)
        forget_oldest(request.files)


def request(config: Config, folder: Path, cache: Path, supply: Supply) -> Request:
    """What a configuration asks of the mirrors.

    Args:
        config: The configuration.
        folder: The folder of proa.toml.
        cache: The folder of the build cache.
        supply: How packages may be come by.

    Raises:
        ProaError: What is wrong with the sources.
    """
    architecture = ARCHITECTURES[config.release.architecture]
    return Request(
        architecture=architecture.debian,
        wanted=tuple(wanted(config)),
        beside=architecture.boot_packages,
        recommends=config.system.recommends,
        archives=() if supply.locked else sources.archives(config, folder),
        debs=tuple((folder / name).absolute() for name in config.system.debs),
        lock=folder / resolve.LOCK,
        cache=cache / PACKAGES.name,
        supply=supply,
    )


def request_of(context: BuildContext) -> Request:
    """The same for a step."""
    return request(context.config, context.folder, context.cache, context.supply)


def strangers(context: BuildContext) -> dict[str, str]:
    """Packages that are not the distribution's own, each with who gives it out."""
    return resolve.origins(resolve.resolve(request_of(context)), sources.others(context.config, context.folder))


def setting_of(config: Config, word: str) -> str:
    """The setting that asks for a package, as in ``system.packages[2]``; empty if every node has it."""
    for number, name in enumerate(config.system.packages):
        if name == word or name.partition("=")[0] == word:
            return f"system.packages[{number}]"
    if word in _for_encryption(config):
        return "persist.encryption"
    return "kernel.package" if config.kernel.package.partition("=")[0] == word.partition("=")[0] else ""


def check_installed(status: str, found: Resolved) -> None:
    """The tree must have just the packages that its key names.

    Raises:
        ProaError: ``PACKAGES``.
    """
    there = {(one["package"], one["version"]) for one in contents.installed(status)}
    meant = {(one.name, one.version) for one in found.root}
    if there != meant:
        names = ", ".join(sorted(" ".join(one) for one in there ^ meant))
        raise ProaError(Code.PACKAGES, f"what was installed differs from what was resolved: {names}")


def wanted(config: Config) -> list[str]:
    """The packages that are asked for; apt adds what these depend on."""
    kernel = config.kernel.package or ARCHITECTURES[config.release.architecture].kernel
    named = {name.partition("=")[0] for name in (kernel, *config.system.packages) if "=" in name}
    needed = (*NEEDED, *MERGED[config.system.suite], *_for_encryption(config))
    return sorted({kernel, *config.system.packages, *(name for name in needed if name not in named)})


def left_out(config: Config) -> list[str]:
    """What the root does not have of its packages (dpkg(1), --path-exclude); copyright files stay."""
    languages = [f"path-include=/usr/share/locale/{name}/*" for name in config.system.translations]
    return [*(() if config.system.documentation else _DOCUMENTATION), *_TRANSLATIONS, *languages]


def _for_encryption(config: Config) -> tuple[str, ...]:
    return ENCRYPTION[config.system.suite] if config.persist.encryption == "tpm2" else ()


_LINKS: Final = 'for name in bin lib lib64 sbin; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done'


def _mmdebstrap(context: BuildContext, found: Resolved, repository: Path, out: Path) -> list[str]:
    anonymous = (
        'echo localhost >"$1/etc/hostname"; : >"$1/etc/resolv.conf"; chmod 644 "$1/etc/hostname" "$1/etc/resolv.conf"'
    )
    collect = shlex.join(["sh", str(DATA / "collect.sh")])
    boot = shlex.join([str(out), *(str(repository / one.file) for one in found.beside)])
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        "--format=tar",
        f"--architectures={context.architecture.debian}",
        f"--include={','.join(one.name for one in found.root)}",
        '--aptopt=Apt::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=force-confold",  # a configuration file that a hook has written before counts
        *(f"--dpkgopt={rule}" for rule in left_out(context.config)),
        "--skip=download/empty",
        *([f"--setup-hook={_LINKS}"] if MERGED[context.config.system.suite] else []),
        f"--setup-hook={anonymous}",  # in place of this machine's, which packages may keep a copy of
        *beforehand.prepare(context, out, DATA / "before.sh"),
        f'--customize-hook={collect} "$1" {boot}',
        "",  # every essential package of the repository
        str(out / "base.tar"),
        f"deb [trusted=yes] {sources.copied(repository.absolute())} ./",
    ]


def explain(done: process.ProcessResult) -> ProaError:
    """The error behind what mmdebstrap and apt said."""
    said = done.stderr.decode(errors="replace")
    if "No space left on device" in said:
        return process.failure(done, Code.DISK_FULL)
    return process.failure(done, Code.PACKAGES)


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


def forget_oldest(files: Path) -> None:
    """Let the files go that were not used for the longest time, if all of them are too much."""
    total = 0
    for path in sorted(files.glob("*.deb"), key=lambda path: path.stat().st_mtime, reverse=True):
        total += path.stat().st_size
        if total > _MAX_KEPT:
            path.unlink(missing_ok=True)


PACKAGES: Final = Packages()
