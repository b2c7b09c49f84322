"""shim and GRUB, against sbverify, objcopy and tar."""

from __future__ import annotations

import dataclasses
import shutil
import struct
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from proa.builder.config.architecture import AMD64
from proa.builder.engine.context import BuildContext
from proa.builder.engine.keys import Keys
from proa.builder.formats import pe
from proa.builder.steps import loader
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot import grubscript
from proa.partition.boot.bootstate import Slot

SHIM = Path("/usr/lib/shim") / AMD64.shim


def test_the_memdisk_holds_the_script_and_no_time() -> None:
    data = loader.memdisk("echo hello\n")
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        (entry,) = archive.getmembers()
        found = archive.extractfile(entry)
        assert found is not None
        assert (entry.name, entry.mtime, found.read()) == ("boot/grub/grub.cfg", 0, b"echo hello\n")
    assert data == loader.memdisk("echo hello\n")


@pytest.mark.contract
def test_shim_trusts_no_distribution(tmp_path: Path, secure_boot: Keys) -> None:
    own = tmp_path / "shim.efi"
    loader.own_shim(SHIM, own)
    place, size = pe.locate(SHIM, ".vendor_cert")
    before, after = SHIM.read_bytes(), own.read_bytes()
    assert b"Debian Secure Boot CA" in before[place : place + size]
    assert b"Debian Secure Boot CA" not in after
    assert struct.unpack_from("<II", after, place) == (0, 0)
    assert (after[:place], after[place + size :]) == (before[:place], before[place + size :])
    pe.sign(own, tmp_path / "signed.efi", secure_boot)


@pytest.mark.contract
def test_a_shim_of_another_shape_is_refused(tmp_path: Path) -> None:
    place, _ = pe.locate(SHIM, ".vendor_cert")
    data = bytearray(SHIM.read_bytes())
    struct.pack_into("<I", data, place, 1 << 30)
    (tmp_path / "odd.efi").write_bytes(data)
    with pytest.raises(ProaError) as caught:
        loader.own_shim(tmp_path / "odd.efi", tmp_path / "out.efi")
    assert caught.value.code is Code.SECURE_BOOT


def unpack(boot: Path) -> None:
    """Put copies where links to this machine's own root were: the room in which GRUB is made has another root."""
    boot.unlink()
    for name in ("usr/bin/grub-mkimage", "usr/lib/grub/x86_64-efi", "usr/lib/grub/x86_64-efi-signed", "usr/lib/shim"):
        source = Path("/", name)
        target = boot / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)


@pytest.mark.contract
def test_grub_carries_the_script_and_the_sbat_that_shim_wants(
    step_context: BuildContext, host_packages: Path, secure_boot: Keys
) -> None:
    unpack(host_packages / "boot")
    out = step_context.scratch / "out"
    out.mkdir()
    loader.LOADER.run(step_context, out)
    grub = out / AMD64.grub_file
    subprocess.run(["sbverify", "--cert", secure_boot.certificate("db"), grub], check=True, capture_output=True)
    subprocess.run(
        ["sbverify", "--cert", secure_boot.certificate("db"), out / AMD64.boot_file], check=True, capture_output=True
    )
    debian = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
    assert pe.read_sbat(grub) == pe.read_sbat(debian)
    assert grubscript.script(Slot.A).encode() in grub.read_bytes()
    again, scratch = step_context.scratch / "again", step_context.scratch / "scratch"
    again.mkdir()
    scratch.mkdir()
    loader.LOADER.run(dataclasses.replace(step_context, scratch=scratch), again)
    assert pe.read_sections(again / AMD64.grub_file) == pe.read_sections(grub)
