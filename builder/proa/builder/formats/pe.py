"""UEFI programs (PE/COFF): add sections, read them back, sign.

Formats: Microsoft PE format specification ("PE Format", sections "COFF File Header" and "Section Table"); SBAT as in
shim's SBAT.md. Sections are added by objcopy, signatures by sbsign; pefile and sbverify read what they wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pefile

from proa.builder.engine.keys import Keys
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

PAGE: Final = 4096
"""Sections begin at multiples of this many bytes in memory."""
SBAT: Final = ".sbat"
_SYMBOL: Final = 18
"""Bytes of an entry of the symbol table, behind which the string table lies."""
_PE_OFFSET: Final = 0x3C
_TIMESTAMP: Final = 8
"""Bytes from the PE signature to the file header's TimeDateStamp."""
_CHECKSUM: Final = 4 + 20 + 64
"""Bytes from the PE signature to the optional header's CheckSum."""


@dataclass(frozen=True)
class Section:
    """A section to add: its name (at most 8 bytes) and the file with its content."""

    name: str
    path: Path


def read_sections(path: Path) -> dict[str, bytes]:
    """The content of every section, by name, without the padding.

    Raises:
        ProaError: ``SECURE_BOOT`` if it is no UEFI program.
    """
    with _open(path) as image:
        return {_name(image, section): section.get_data()[: section.Misc_VirtualSize] for section in image.sections}


def locate(path: Path, name: str) -> tuple[int, int]:
    """Where a section lies in the file: its first byte, and how many there are.

    Raises:
        ProaError: ``SECURE_BOOT`` if there is none.
    """
    with _open(path) as image:
        for section in image.sections:
            if _name(image, section) == name:
                return section.PointerToRawData, min(section.SizeOfRawData, section.Misc_VirtualSize)
    raise ProaError(Code.SECURE_BOOT, f"the program has no section {name}", at=path)


def read_sbat(path: Path) -> bytes:
    """The SBAT entries of a program, lines that each end in a newline.

    Raises:
        ProaError: ``SECURE_BOOT`` if it has none: shim would refuse it.
    """
    content = read_sections(path).get(SBAT, b"").rstrip(b"\0")
    if not content.startswith(b"sbat,1,"):
        raise ProaError(Code.SECURE_BOOT, "the program has no SBAT entries", at=path)
    return content.rstrip(b"\n") + b"\n"


def add_sections(source: Path, sections: tuple[Section, ...], out: Path, scratch: Path) -> None:
    """Write ``source`` with more sections to ``out``; one that it has already is replaced.

    A section that is there is first removed: objcopy's ``--update-section`` cuts content that is longer than the
    old one, without a word. Equal input gives equal bytes.

    Args:
        source: The program.
        sections: What is added, in this order, in memory behind all that ``source`` has.
        out: The new program, unsigned.
        scratch: A folder for a file in between.

    Raises:
        ProaError: ``TOOL``; ``SECURE_BOOT`` if a section does not read back as it was given.
    """
    stripped = scratch / f"{out.name}.stripped"
    process.run(["objcopy", *(f"--remove-section={section.name}" for section in sections), source, stripped])
    arguments: list[str | Path] = []
    for section, address in zip(sections, _addresses(stripped, sections), strict=True):
        arguments += ["--add-section", f"{section.name}={section.path}"]
        arguments += ["--change-section-vma", f"{section.name}={address:#x}"]
    process.run(["objcopy", *arguments, stripped, out])
    stripped.unlink()
    _clear_time(out)
    _check(out, {section.name: section.path for section in sections})


def sign(unsigned: Path, out: Path, keys: Keys | None) -> None:
    """Sign a program with the key of db and check the signature; without keys it stays as it is.

    Raises:
        ProaError: ``SECURE_BOOT``.
    """
    if keys is None:
        out.write_bytes(unsigned.read_bytes())
        return
    certificate = keys.certificate("db")
    words = ("sbsign", "--key", keys.private("db"), "--cert", certificate, "--output", out, unsigned)
    done = process.run(words, check=False)
    if done.status != 0:
        raise process.failure(done, Code.SECURE_BOOT)
    verify(out, certificate)


def verify(path: Path, certificate: Path) -> None:
    """Check a program's signature.

    Raises:
        ProaError: ``SECURE_BOOT``.
    """
    done = process.run(["sbverify", "--cert", certificate, path], check=False)
    if done.status != 0:
        raise process.failure(done, Code.SECURE_BOOT)


def _open(path: Path) -> pefile.PE:
    try:
        return pefile.PE(str(path), fast_load=True)
    except pefile.PEFormatError as error:
        raise ProaError(Code.SECURE_BOOT, f"it is not a UEFI program: {error}", at=path) from error


def _name(image: pefile.PE, section: pefile.SectionStructure) -> str:
    """A section's name; one that is longer than 8 bytes stands in the string table, as GNU tools write it."""
    name: bytes = section.Name.rstrip(b"\0")
    if name[:1] == b"/" and name[1:].isdigit():
        header = image.FILE_HEADER
        start = header.PointerToSymbolTable + header.NumberOfSymbols * _SYMBOL + int(name[1:])
        data: bytes = image.__data__[start : start + 256]
        name = data.split(b"\0", 1)[0]
    return name.decode("ascii", "replace")


def _addresses(program: Path, sections: tuple[Section, ...]) -> list[int]:
    """Where in memory each new section begins, image base included, as objcopy counts."""
    with _open(program) as image:
        header = image.OPTIONAL_HEADER
        base, end = header.ImageBase, header.SizeOfImage
        step = max(PAGE, header.SectionAlignment)
    addresses = []
    for section in sections:
        start = -(-end // step) * step
        addresses.append(base + start)
        end = start + section.path.stat().st_size
    return addresses


def _clear_time(path: Path) -> None:
    """Take out the time that objcopy put in, and the checksum over it, which no firmware reads and sbsign renews."""
    with path.open("r+b") as file:
        file.seek(_PE_OFFSET)
        (start,) = struct.unpack("<I", file.read(4))
        for offset in (_TIMESTAMP, _CHECKSUM):
            file.seek(start + offset)
            file.write(bytes(4))


def _check(path: Path, wanted: Mapping[str, Path]) -> None:
    found = read_sections(path)
    for name, source in wanted.items():
        if found.get(name) != source.read_bytes():
            raise ProaError(Code.SECURE_BOOT, f"section {name} reads back different from what was written", at=path)
