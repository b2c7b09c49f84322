"""What a slot holds, read out of FAT images that mtools makes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import sha256
from proa.core.runtime.process import run
from proa.partition.disk.fatfile import file_digest
from proa.partition.disk.kernelimage import UKI_PATH, KernelImage, read_kernel_image
from proa.partition.disk.slots import Extent

MIB = 1 << 20
HASH = "5a" * 32
TEXTS = {
    ".osrel": f'ID=debian\nIMAGE_ID=node\nIMAGE_VERSION="{"1.2.3"}"\n',
    ".cmdline": f"proa.salt=00 proa.root_hash={HASH} quiet",
}


def kernel_image(texts: dict[str, str], padding: int = 3 * MIB) -> bytes:
    """A file of the PE format with a large section, and small ones behind it."""
    sections = {".linux": bytes(padding)} | {name: text.encode() for name, text in texts.items()}
    head = (
        b"MZ".ljust(0x3C, b"\0")
        + struct.pack("<I", 0x40)
        + b"PE\0\0"
        + struct.pack("<HH12xHH", 0x8664, len(sections), 0, 0)
    )
    place, table, body = len(head) + 40 * len(sections), b"", b""
    for name, data in sections.items():
        table += struct.pack("<8sIIII16x", name.encode(), len(data), 0, len(data), place + len(body))
        body += data
    return head + table + body


def fat(folder: Path, size: int, kernel: bytes | None) -> Path:
    """A FAT image as the builder makes it, with a kernel image in it or none."""
    image, file = folder / "uki.img", folder / "uki.efi"
    image.write_bytes(b"")
    with image.open("r+b") as opened:
        opened.truncate(size)
    run(["mformat", "-i", image, *(["-F"] if size > 40 * MIB else []), "::"])
    if kernel is not None:
        file.write_bytes(kernel)
        run(["mmd", "-i", image, "::/EFI", "::/EFI/PROA"])
        run(["mcopy", "-i", image, file, f"::{UKI_PATH}"])
    return image


@pytest.mark.parametrize("size", [4 * MIB, 24 * MIB, 80 * MIB], ids=["FAT12", "FAT16", "FAT32"])
def test_the_name_the_version_and_the_root_hash_are_read(tmp_path: Path, size: int) -> None:
    image = fat(tmp_path, size, kernel_image(TEXTS))
    assert read_kernel_image(Extent(image, 0, size)) == KernelImage("node", "1.2.3", HASH)
    assert file_digest(lambda at, many: image.read_bytes()[at : at + many], size, UKI_PATH) == sha256_of(tmp_path)


def sha256_of(folder: Path) -> str:
    return f"sha256:{sha256(folder / 'uki.efi').removeprefix('sha256:')}"


@pytest.mark.parametrize(
    "kernel",
    [None, b"", b"MZ", b"\xff" * 4096, kernel_image({}, 0), kernel_image({".osrel": "ID=debian"}, 0)],
    ids=["no file", "empty", "cut", "noise", "no texts", "not ours"],
)
def test_what_is_no_kernel_image_of_ours_says_nothing(tmp_path: Path, kernel: bytes | None) -> None:
    image = fat(tmp_path, 4 * MIB, kernel)
    assert read_kernel_image(Extent(image, 0, 4 * MIB)) is None


def test_a_blank_partition_says_nothing(tmp_path: Path) -> None:
    image = tmp_path / "blank"
    image.write_bytes(bytes(MIB))
    assert read_kernel_image(Extent(image, 0, MIB)) is None
    with pytest.raises(ProaError) as caught:
        read_kernel_image(Extent(tmp_path / "none", 0, MIB))
    assert caught.value.code is Code.FILE_MISSING


def damaged(image: bytes, what: str) -> bytes:
    """A FAT12 image that lies in one way."""
    data = bytearray(image)
    reserved = struct.unpack_from("<H", data, 14)[0] * 512
    if what == "no mark":
        data[510] = 0
    elif what == "no clusters":
        data[13] = 0
    elif what == "a chain without end":  # the file's first clusters lead to one another
        data[reserved + 3 :] = bytes(len(data) - reserved - 3)
    elif what == "cut":
        del data[len(data) // 4 :]
    elif what == "a chain that leads nowhere":
        data[reserved + 3 : reserved + 600] = b"\xef\xff\xee" * 199
    return bytes(data)


@pytest.mark.parametrize("what", ["no mark", "no clusters", "a chain without end", "cut", "a chain that leads nowhere"])
def test_a_damaged_file_system_is_an_error_and_no_traceback(tmp_path: Path, what: str) -> None:
    image = fat(tmp_path, 4 * MIB, kernel_image(TEXTS, MIB))
    data = damaged(image.read_bytes(), what)
    image.write_bytes(data)
    assert read_kernel_image(Extent(image, 0, len(data))) is None
    with pytest.raises(ProaError) as caught:
        file_digest(lambda at, many: data[at : at + many], len(data), UKI_PATH)
    assert caught.value.code is Code.DIGEST
