"""The unified kernel image: kernel, initrd and command line in one signed program, and the image of ``UKI-x``.

Format: systemd's UKI (uapi-group.org, "Unified Kernel Image"; systemd-stub(7)). The stub is that of the target's
suite. The command line carries the verity root hash, so the signature covers every block of the root.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from proa.builder.config.settings import Config
from proa.builder.engine.context import BuildContext
from proa.builder.formats import fat, measured, pe
from proa.builder.formats.pe import Section
from proa.builder.inputs import fingerprint
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.grubscript import UKI_PATH

PANIC: Final = 10
"""Seconds after which a kernel that panicked reboots."""


@dataclass(frozen=True)
class Verity:
    """What the initrd must know to open the root.

    Attributes:
        root_hash: In hexadecimal.
        salt: In hexadecimal.
        data_blocks: Blocks of 4096 bytes that the root has.
        hash_offset: The byte of ``ROOT-x`` where the tree begins.
    """

    root_hash: str
    salt: str
    data_blocks: int
    hash_offset: int


class Uki:
    """See the module."""

    name = "uki"
    title = "Unified kernel image"
    needs = ("packages", "verity", "initrd")
    tools = ("objcopy", "sbsign", "mformat", "mcopy")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The command line but for the root hash, the names in it, the certificate, and the time."""
        return {
            "command_line": command_line(context.config, Verity("", "", 0, 0)),
            "os_release": os_release(context.config),
            "sbat": sbat_entry(context.config),
            "certificate": fingerprint.file(context.keys.certificate("db")) if context.keys else "",
            "pcr": measured.public_pem(_pcr_signer(context).public_key()).decode() if _encrypted(context) else "",
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make and sign it, then the image of ``UKI-x``.

        Raises:
            ProaError: ``SECURE_BOOT``, ``TOOL``, ``TOO_LARGE``; ``KEY`` or ``FILE_MISSING`` without a key for an
                encrypted PERSIST.
        """
        unsigned = context.scratch / "uki.efi"
        stub = context.output("packages") / "boot/usr/lib/systemd/boot/efi" / context.architecture.stub
        pe.add_sections(stub, _sections(context, stub), unsigned, context.scratch)
        pe.sign(unsigned, out / "uki.efi", context.keys)
        fat.make_fitting(out / "boot.img", {UKI_PATH.lstrip("/"): out / "uki.efi"}, "UKI", context.epoch)


def read_verity(folder: Path) -> Verity:
    """The output of the verity step."""
    found: dict[str, Any] = json.loads((folder / "verity.json").read_text())
    return Verity(found["root_hash"], found["salt"], found["data_blocks"], found["hash_offset"])


def command_line(config: Config, verity: Verity) -> str:
    """The signed command line of the kernel; the user's own arguments come last, so that they count.

    - ``proa.*``: what the initrd's scripts read.
    - ``systemd.gpt_auto``, ``systemd.verity``: nothing but the initrd's scripts looks for a root.
    - ``systemd.watchdog_sec``: the watchdog is armed in the initrd and stays armed.
    - ``efi``: a kernel that leaves the firmware alone by default (as real-time ones do) asks it all the same: the stub
      says by a variable of the firmware which slot was loaded.
    - ``panic``, ``systemd.crash_reboot``: neither kernel nor PID 1 waits for a person.
    """
    arguments = {
        "proa.root_hash": verity.root_hash,
        "proa.salt": verity.salt,
        "proa.data_blocks": verity.data_blocks,
        "proa.hash_offset": verity.hash_offset,
        "proa.deadline": config.health.deadline,
        "proa.compatible": config.release.compatible,
        "root": "/dev/mapper/proa-root",
        "rootfstype": "erofs",
        "efi": "runtime",
        "panic": PANIC,
        "systemd.watchdog_sec": config.health.watchdog,
        "systemd.crash_reboot": 1,
        "systemd.gpt_auto": 0,
        "systemd.verity": "no",
    }
    if config.persist.encryption != "none":
        arguments["proa.encryption"] = config.persist.encryption
    if config.system.credentials:
        arguments["proa.credentials"] = ",".join(config.system.credentials)
    return " ".join([*(f"{name}={value}" for name, value in arguments.items()), "ro", *config.kernel.arguments])


def os_release(config: Config) -> str:
    """What boot managers show of the image (os-release(5))."""
    release = config.release
    fields = {
        "ID": config.system.distribution,
        "IMAGE_ID": release.name,
        "IMAGE_VERSION": release.version,
        "PRETTY_NAME": f'"{release.name} {release.version}"',
    }
    return "".join(f"{name}={value}\n" for name, value in fields.items())


def sbat_entry(config: Config) -> str:
    """The entry whose generation is raised to revoke older images (shim, SBAT.md, "Version-based revocation")."""
    name = f"proa.{config.release.name}"
    return f"{name},{config.boot.generation},Proa,{config.release.name},{config.release.version},-\n"


def _sections(context: BuildContext, stub: Path) -> tuple[Section, ...]:
    """The sections in order; the kernel comes last, because it may need room behind it (systemd-stub(7))."""
    packages, config = context.output("packages"), context.config
    line = command_line(config, read_verity(context.output("verity")))
    texts = {
        ".osrel": os_release(config),
        ".cmdline": line,
        ".uname": (packages / "kernel/version").read_text().strip(),
        pe.SBAT: pe.read_sbat(stub).decode() + sbat_entry(config),
    }
    for name, text in texts.items():
        (context.scratch / name).write_text(text)
    large = (
        Section(".initrd", context.output("initrd") / "initrd.img"),
        Section(".linux", packages / "kernel/vmlinuz"),
    )
    small = tuple(Section(name, context.scratch / name) for name in texts)
    if not _encrypted(context):
        return (*small, *large)
    return (*small, *pcr_sections((*small, *large), config.system.suite, _pcr_signer(context), context.scratch), *large)


def pcr_sections(
    sections: tuple[Section, ...], suite: str, key: RSAPrivateKey, scratch: Path
) -> tuple[Section, Section]:
    """The sections by which a TPM knows the image that has these: a public key, and its signature over all of them.

    Args:
        sections: All others, whatever their order.
        suite: Whose stub it is.
        key: The private key.
        scratch: Where their files are made.
    """
    contents = {section.name: section.path.read_bytes() for section in sections}
    contents[measured.PUBLIC_KEY] = measured.public_pem(key.public_key())
    signature = measured.sign(measured.pcr(contents, suite), key)
    (scratch / measured.PUBLIC_KEY).write_bytes(contents[measured.PUBLIC_KEY])
    (scratch / measured.SIGNATURE).write_bytes(signature)
    first, second = (Section(name, scratch / name) for name in (measured.PUBLIC_KEY, measured.SIGNATURE))
    return first, second


def _encrypted(context: BuildContext) -> bool:
    return context.config.persist.encryption == "tpm2"


def _pcr_signer(context: BuildContext) -> RSAPrivateKey:
    if context.keys is None:
        what = "PERSIST can only be encrypted on nodes of a signed release: their TPM asks for a signature"
        raise ProaError(Code.KEY, what, at="persist.encryption", hint="Name a folder of keys with --keys.")
    return context.keys.pcr_signer()


UKI: Final = Uki()
