"""What the boot chain and a node need of a kernel, checked against the configuration that its package brings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

NEEDS: Final[Mapping[str, str]] = {
    "BINFMT_SCRIPT": "the initrd's scripts",
    "BLK_DEV_DM": "the verified root",
    "BLK_DEV_INITRD": "the initrd",
    "CGROUPS": "systemd",
    "CRYPTO_SHA256": "the verified root's hashes",
    "DEVTMPFS": "devices in the initrd",
    "DM_VERITY": "the verified root",
    "EFI": "the firmware's services: which slot was loaded",
    "EFIVAR_FS": "the firmware's variables: which slot was loaded",
    "EFI_PARTITION": "the disk's partition table",
    "EFI_STUB": "being started by the firmware",
    "EROFS_FS": "the root's file system",
    "EROFS_FS_ZIP": "the root's compression",
    "EXT4_FS": "PERSIST",
    "OVERLAY_FS": "/etc",
    "PSTORE": "the last messages of a trial that panicked",
    "RD_ZSTD": "the initrd's compression",
    "TMPFS": "/run",
    "WATCHDOG": "the end of a trial that hangs",
}
"""Options, built in or as a module, and what for."""
ENCRYPTION: Final[Mapping[str, str]] = {
    "CRYPTO_AES": "an encrypted PERSIST",
    "CRYPTO_XTS": "an encrypted PERSIST",
    "DM_CRYPT": "an encrypted PERSIST",
    "TCG_TPM": "the key of an encrypted PERSIST",
}
"""What ``persist.encryption`` needs besides."""


def lacking(config: str, needs: Mapping[str, str] = NEEDS) -> dict[str, str]:
    """The options that a kernel's configuration does not have, and what for."""
    there = set(re.findall(r"^CONFIG_(\w+)=[ym]$", config, re.MULTILINE))
    return {option: why for option, why in needs.items() if option not in there}


def check(config: str, version: str, *, encryption: bool = False) -> None:
    """Check a kernel's configuration, also for an encrypted PERSIST where that is asked for.

    Raises:
        ProaError: ``CONFIG_VALUE``, with all that is missing.
    """
    missing = lacking(config, {**NEEDS, **ENCRYPTION} if encryption else NEEDS)
    if missing:
        told = ", ".join(f"CONFIG_{option} (for {why})" for option, why in missing.items())
        hint = "Choose another kernel.package, or build this kernel with these options."
        raise ProaError(Code.CONFIG_VALUE, f"the kernel {version} lacks {told}", at="kernel.package", hint=hint)


def read(base: Path, version: str) -> str:
    """The configuration in a packages' tree (a tar file); empty where the kernel's package brings none."""
    member = f"./boot/config-{version}"
    done = process.run(["tar", "--extract", "--to-stdout", "--occurrence=1", "--file", base, member], check=False)
    return done.text if done.status == 0 else ""
