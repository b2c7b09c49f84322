"""The initrd that a build has made, against the kernel's package (faults n09): nothing boots here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proa.builder.engine.cache import default_folder
from proa.builder.formats import pe
from proa.builder.steps import initrd
from proa.core.runtime import process
from proa.partition.boot.grubscript import UKI_PATH
from proa.partition.disk.readtable import read_layout
from proa.vm.node.images import Images

pytestmark = [pytest.mark.vm]

BUDGET = 30 << 20
"""Bytes of a kernel image, so that the firmware loads it in time."""
SERVERS = {
    *("aacraid", "ahci", "hpsa", "hv_storvsc", "lpfc", "megaraid_sas", "mpi3mr", "mpt3sas", "nvme", "pm80xx"),
    *("qla2xxx", "sdhci_pci", "smartpqi", "uas", "ufshcd_pci", "virtio_blk", "virtio_scsi", "vmd", "vmw_pvscsi"),
    *("xen_blkfront", "hpwdt", "i6300esb", "iTCO_wdt", "sp5100_tco", "wdat_wdt"),
}
"""Disk controllers and watchdogs of common servers and hypervisors."""
LIST = Path(initrd.__file__).parent.parent / "initrd/drivers.list"


@pytest.fixture(scope="module")
def kernel_image(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    disk, target = images("1") / "disk.raw", tmp_path_factory.mktemp("uki") / "uki.efi"
    where = f"{disk}@@{read_layout(disk)['UKI-A'].start}"
    process.run(["mcopy", "-i", where, f"::{UKI_PATH}", target])
    return target


@pytest.fixture(scope="module")
def files(kernel_image: Path) -> dict[str, int]:
    """The names in the initrd, and how many names each file has."""
    section = pe.read_sections(kernel_image)[".initrd"]
    return cpio_names(process.run(["zstd", "-dcq"], stdin=section).stdout)


def cpio_names(data: bytes) -> dict[str, int]:
    """The names in an archive with their links (Linux, driver-api/early-userspace/buffer-format)."""
    names, at = {}, 0
    while data.startswith(b"070701", at):
        fields = [int(data[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        size, length = fields[6], fields[11]
        names[data[at + 110 : at + 109 + length].decode()] = fields[4]
        at += -(-(110 + length) // 4) * 4 + -(-size // 4) * 4
    return names


def module(path: str) -> str:
    return re.sub(r"\.ko.*", "", path.rsplit("/", 1)[1]).replace("-", "_")


def test_n09_the_kernel_image_keeps_its_budget(kernel_image: Path) -> None:
    assert kernel_image.stat().st_size <= BUDGET


def test_n09_the_initrd_has_every_driver_of_the_kernels_own_tree(images: Images, files: dict[str, int]) -> None:
    (key,) = (step["key"] for step in images.report("1")["steps"] if step["name"] == "packages")
    base = default_folder() / "steps/packages" / key / "output/base.tar"
    words = [word for line in LIST.read_text().splitlines() for word in line.split("#")[0].split()]
    folders = [f"/kernel/{word[1:]}/" for word in words if word.startswith("=")]
    without = {word[1:].replace("-", "_") for word in words if word.startswith("-")}
    listed = process.run(["tar", "--list", "--file", base]).text.splitlines()
    wanted = {module(path) for path in listed if ".ko" in path and any(one in path for one in folders)} - without
    there = {module(path) for path in files if ".ko" in path}
    assert len(wanted) > 100
    assert not wanted - there
    assert not SERVERS - there


def test_s09_nothing_in_it_reads_what_is_on_other_peoples_disks(files: dict[str, int]) -> None:
    assert not [name for name in files if name.endswith("/60-persistent-storage.rules")]


def test_files_that_are_alike_are_one_whenever_they_were_made(files: dict[str, int]) -> None:
    """Else two builds of one configuration differ now and then, by the second in which each file is copied."""
    folder = "usr/lib/systemd/system"
    assert [files[f"{folder}/{name}.target"] for name in ("emergency", "rescue")] == [2, 2]
