"""The boot loader: shim and GRUB of the target's suite, signed with the key of db.

GRUB's configuration lies in a memdisk inside the signed program. It is put together by grub-mkimage, of which
grub-mkstandalone is a wrapper that would put the time into the memdisk. It must be a memdisk: a configuration given
by ``grub-mkimage --config`` runs in GRUB's rescue parser, which knows no ``if``.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Final

from proa.builder.engine import namespace
from proa.builder.engine.context import BuildContext
from proa.builder.formats import pe
from proa.builder.inputs import fingerprint
from proa.core.release.document import LOADER_VERSION
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot import grubscript
from proa.partition.boot.bootstate import Slot

_MAKE: Final = Path(__file__).parent.parent / "grub" / "make.sh"
_VENDOR: Final = ".vendor_cert"
_CERT_TABLE: Final = struct.Struct("<IIII")
_PREFIX: Final = "boot/grub"


class Loader:
    """See the module."""

    name = "loader"
    title = "Boot loader"
    needs = ("packages",)
    tools = ("sbsign", "tar", "unshare")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """GRUB's script and the certificate that firmware will look for."""
        return {
            "version": LOADER_VERSION,
            "script": grubscript.script(Slot.A),
            "make": fingerprint.file(_MAKE),
            "certificate": fingerprint.file(context.keys.certificate("db")) if context.keys else "",
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make and sign both.

        Raises:
            ProaError: ``TOOL`` or ``SECURE_BOOT``.
        """
        architecture = context.architecture
        boot = context.output("packages") / "boot"
        shim = context.scratch / architecture.shim
        own_shim(boot / "usr/lib/shim" / architecture.shim, shim)
        pe.sign(shim, out / architecture.boot_file, context.keys)
        unsigned = context.scratch / architecture.grub_file
        _make_grub(context, boot, unsigned)
        pe.sign(unsigned, out / architecture.grub_file, context.keys)


def _make_grub(context: BuildContext, boot: Path, unsigned: Path) -> None:
    """Run the suite's own grub-mkimage inside the suite's own libraries: its modules fit no other version's."""
    work = context.scratch / "grub"
    work.mkdir()
    monolithic = (
        boot / "usr/lib/grub" / f"{context.architecture.grub}-signed" / f"{context.architecture.grub_file}.signed"
    )
    (work / "sbat.csv").write_bytes(pe.read_sbat(monolithic))
    (work / "memdisk.tar").write_bytes(memdisk(grubscript.script(Slot.A)))
    words: list[str | Path] = [
        *namespace.room(work, show=(_MAKE, context.output("packages"))),
        *("sh", _MAKE, context.output("packages") / "base.tar", boot, work.absolute(), context.architecture.grub),
        *("memdisk", "tar", *grubscript.MODULES),
    ]
    process.run(words, env={"SOURCE_DATE_EPOCH": str(context.epoch)})
    (work / "grub.efi").rename(unsigned)


def own_shim(source: Path, out: Path) -> None:
    """Copy a shim without the certificate that the distribution has built in.

    With it shim would start the distribution's own signed GRUB, which takes its configuration from the disk: whoever
    can write the disk could boot any kernel of the distribution with any initrd. Without it only the firmware's db
    counts. The section is a table of two sizes and two offsets (shim, ``cert.S``); the size becomes 0.

    Raises:
        ProaError: ``SECURE_BOOT`` if the section is not as expected.
    """
    data = bytearray(source.read_bytes())
    place, size = pe.locate(source, _VENDOR)
    certificate, revoked, start, _ = _CERT_TABLE.unpack_from(data, place)
    if start + certificate + revoked > size:
        raise ProaError(Code.SECURE_BOOT, "the table of built-in certificates has an unexpected form", at=source)
    _CERT_TABLE.pack_into(data, place, 0, 0, start, start)
    data[place + start : place + size] = bytes(size - start)
    out.write_bytes(data)


def memdisk(script: str) -> bytes:
    """The memdisk: a tar archive with ``boot/grub/grub.cfg`` and no times."""
    data = script.encode()
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(f"{_PREFIX}/grub.cfg")
        entry.size = len(data)
        archive.addfile(entry, BytesIO(data))
    return buffer.getvalue()


LOADER: Final = Loader()
