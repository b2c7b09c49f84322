"""The EFI system partition, against the fat tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from proa.builder.formats import fat
from proa.core.runtime.errors import Code, ProaError

MIB = 1 << 20
FILES = ("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    for number, name in enumerate(FILES):
        (tmp_path / Path(name).name).write_bytes(bytes([number + 1]) * 1_000_001)
    return {name: tmp_path / Path(name).name for name in FILES}


@pytest.mark.contract
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_firmware_finds_a_fat32_with_the_boot_loader(tmp_path: Path, files: dict[str, Path], sector_size: int) -> None:
    image = tmp_path / "esp.img"
    fat.make_fat32(image, 264 * MIB, files, "BOOT", 1_700_000_000, sector_size=sector_size)
    assert image.stat().st_size == 264 * MIB
    assert image.stat().st_blocks * 512 < 8 * MIB
    checked = subprocess.run(["/usr/sbin/fsck.fat", "-n", "-v", image], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert f"{sector_size} bytes per logical sector" in checked.stdout
    assert image.read_bytes()[82:90] == b"FAT32   "
    for name, source in files.items():
        read = subprocess.run(["mtype", "-i", image, f"::{name}"], capture_output=True, check=True).stdout
        assert read == source.read_bytes()


@pytest.mark.contract
def test_equal_files_give_equal_bytes(tmp_path: Path, files: dict[str, Path]) -> None:
    for name in ("one", "two"):
        for path in files.values():
            path.touch()
        fat.make_fat32(tmp_path / name, 264 * MIB, files, "BOOT", 1_700_000_000, sector_size=512)
    assert subprocess.run(["cmp", tmp_path / "one", tmp_path / "two"], check=False).returncode == 0


def test_a_size_that_makes_no_fat32_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    with pytest.raises(ProaError) as caught:
        fat.make_fat32(tmp_path / "esp", 200 * MIB, files, "BOOT", 0, sector_size=512)
    assert caught.value.code is Code.LAYOUT


def test_files_that_do_not_fit_are_refused_with_both_sizes(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(300 * MIB)
    with pytest.raises(ProaError) as caught:
        fat.make_fat32(tmp_path / "esp", 264 * MIB, {"large": tmp_path / "large"}, "BOOT", 0, sector_size=512)
    assert caught.value.code is Code.TOO_LARGE
    assert str(300 * MIB) in caught.value.message
    assert str(264 * MIB) in caught.value.message
