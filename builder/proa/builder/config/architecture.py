"""The one table of what differs between processor architectures. Nothing else in the builder may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Architecture:
    """What a build must know about one architecture."""

    debian: str
    """As dpkg names it; also in the release document."""
    machine: str
    """As the kernel names it (``uname -m``)."""
    efi: str
    """The suffix of UEFI file names, ``BOOT<EFI>.EFI`` (UEFI 2.10, section 3.5.1.1), in lower case."""
    kernel: str
    """The package with the newest kernel of the suite."""
    stub: str
    """The file name of systemd's UKI stub, below ``usr/lib/systemd/boot/efi``."""
    grub: str
    """GRUB's target, ``grub-mkstandalone --format``, and its folder below ``usr/lib/grub``."""
    shim: str
    """The file name of the unsigned shim, below ``usr/lib/shim``."""
    boot_packages: tuple[str, ...]
    """Packages of the boot chain that are unpacked beside the root tree and never installed into it."""
    platforms: tuple[str, ...]
    """Wheel platform tags that the oldest supported suite can load, best first (PEP 600)."""
    console: str
    """The serial console, for the kernel's ``console=``."""

    @property
    def boot_file(self) -> str:
        """The default boot loader on removable media, ``BOOTX64.EFI``."""
        return f"BOOT{self.efi.upper()}.EFI"

    @property
    def grub_file(self) -> str:
        """The name that shim loads its second stage by, ``grubx64.efi``."""
        return f"grub{self.efi}.efi"


AMD64: Final = Architecture(
    debian="amd64",
    machine="x86_64",
    efi="x64",
    kernel="linux-image-amd64",
    stub="linuxx64.efi.stub",
    grub="x86_64-efi",
    shim="shimx64.efi",
    boot_packages=("grub-common", "grub-efi-amd64-bin", "grub-efi-amd64-signed", "shim-unsigned", "systemd-boot-efi"),
    platforms=(
        "manylinux_2_36_x86_64",
        "manylinux_2_35_x86_64",
        "manylinux_2_34_x86_64",
        "manylinux_2_28_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    ),
    console="ttyS0",
)

ARCHITECTURES: Final[Mapping[str, Architecture]] = {AMD64.debian: AMD64}
"""Every architecture that can be built, by its Debian name."""
