"""The disk image, against sfdisk, e2fsck, veritysetup and the fat tools."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from proa.builder.config import node_settings
from proa.builder.engine import sparse
from proa.builder.engine.context import BuildContext
from proa.builder.steps import disk
from proa.builder.steps.verity import VERITY
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot import bootstate
from proa.partition.boot.statefile import StateFile
from proa.partition.disk.layout import MIB

SIZES = node_settings.DiskConfig(boot=264 * MIB, uki=8 * MIB, root=64 * MIB, persist=64 * MIB)


@pytest.fixture
def contents(step_context: BuildContext, tmp_path: Path) -> BuildContext:
    """A context with small outputs of the steps before."""
    outputs = {name: tmp_path / name for name in ("root", "verity", "uki", "esp")}
    for folder in outputs.values():
        folder.mkdir()
    (outputs["root"] / "root.erofs").write_bytes(os.urandom(2 * MIB + 4096))
    (outputs["uki"] / "boot.img").write_bytes(b"uki " * 100_000)
    with (outputs["esp"] / "esp.img").open("wb") as file:
        file.write(b"esp")
        file.truncate(264 * MIB)
    config = dataclasses.replace(step_context.config, disk=SIZES)
    context = dataclasses.replace(step_context, config=config, outputs=outputs)
    VERITY.run(context, outputs["verity"])
    return context


@pytest.fixture
def image(contents: BuildContext, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    disk.DISK.run(contents, out)
    return out / "disk.raw"


def partitions(image: Path) -> dict[str, tuple[int, int]]:
    """Name to start and size in bytes, as sfdisk reads them."""
    said = subprocess.run(["/usr/sbin/sfdisk", "--json", image], capture_output=True, check=True).stdout
    table = json.loads(said)["partitiontable"]
    sector = table["sectorsize"]
    return {part["name"]: (part["start"] * sector, part["size"] * sector) for part in table["partitions"]}


@pytest.mark.contract
def test_slot_a_is_filled_and_slot_b_is_empty(image: Path, contents: BuildContext) -> None:
    places = partitions(image)
    assert list(places) == ["BOOT", "STATE", "UKI-A", "UKI-B", "ROOT-A", "ROOT-B", "PERSIST"]
    root = (contents.output("root") / "root.erofs").read_bytes() + (
        contents.output("verity") / "root.tree"
    ).read_bytes()
    with image.open("rb") as file:
        for name, expected in {
            "BOOT": b"esp",
            "UKI-A": (contents.output("uki") / "boot.img").read_bytes(),
            "UKI-B": bytes(SIZES.uki),
            "ROOT-A": root + bytes(4096),
            "ROOT-B": bytes(SIZES.root),
        }.items():
            file.seek(places[name][0])
            assert file.read(len(expected)) == expected, name


@pytest.mark.contract
def test_the_image_is_sparse(image: Path) -> None:
    assert image.stat().st_blocks * 512 < 24 * MIB


@pytest.mark.contract
def test_slot_a_is_good_and_there_is_no_other(image: Path) -> None:
    start, _ = partitions(image)["STATE"]
    assert StateFile.within(image, start).current() == bootstate.initial()


@pytest.mark.contract
def test_veritysetup_accepts_the_slot(image: Path, contents: BuildContext, tmp_path: Path) -> None:
    verity = json.loads((contents.output("verity") / "verity.json").read_text())
    start, size = partitions(image)["ROOT-A"]
    slot = tmp_path / "slot.img"
    with image.open("rb") as file:
        file.seek(start)
        slot.write_bytes(file.read(size))
    words = ["/usr/sbin/veritysetup", "verify", "--no-superblock", "--hash=sha256", f"--salt={verity['salt']}"]
    geometry = [f"--data-blocks={verity['data_blocks']}", f"--hash-offset={verity['hash_offset']}"]
    verify = [*words, *geometry, slot, slot, verity["root_hash"]]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    with slot.open("r+b") as damaged:
        (first,) = damaged.read(1)
        damaged.seek(0)
        damaged.write(bytes([first ^ 0xFF]))  # whatever it was, it is another one now
    assert b"Verification failed at position 0" in subprocess.run(verify, check=False, capture_output=True).stderr


@pytest.mark.contract
def test_e2fsck_and_sgdisk_find_no_fault(image: Path, tmp_path: Path) -> None:
    start, size = partitions(image)["PERSIST"]
    persist = tmp_path / "persist.img"
    with image.open("rb") as file:
        file.seek(start)
        persist.write_bytes(file.read(size))
    assert subprocess.run(["/usr/sbin/e2fsck", "-f", "-n", persist], capture_output=True, check=False).returncode == 0
    said = subprocess.run(["/usr/sbin/sgdisk", "--verify", image], capture_output=True, text=True, check=True).stdout
    assert "No problems found" in said


@pytest.mark.contract
def test_equal_input_gives_equal_bytes(image: Path, contents: BuildContext, tmp_path: Path) -> None:
    scratch, again = tmp_path / "scratch2", tmp_path / "again"
    scratch.mkdir()
    again.mkdir()
    disk.DISK.run(dataclasses.replace(contents, scratch=scratch), again)
    assert subprocess.run(["cmp", image, again / "disk.raw"], check=False).returncode == 0


@pytest.mark.parametrize(("output", "name"), [("root", "root.erofs"), ("uki", "boot.img")])
def test_too_much_content_is_refused_before_a_byte_is_written(
    contents: BuildContext, tmp_path: Path, output: str, name: str
) -> None:
    with (contents.output(output) / name).open("r+b") as file:
        file.truncate(65 * MIB)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ProaError) as caught:
        disk.DISK.run(contents, out)
    assert caught.value.code is Code.TOO_LARGE
    assert str(SIZES.uki if output == "uki" else SIZES.root) in caught.value.message
    assert list(out.iterdir()) == []


def test_a_copy_keeps_holes(tmp_path: Path) -> None:
    data = bytes(3 * MIB) + b"end"
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "image").open("wb") as file:
        file.truncate(8 * MIB)
    assert sparse.copy(tmp_path / "source", tmp_path / "image", 4096) == len(data)
    assert (tmp_path / "image").read_bytes()[4096 : 4096 + len(data)] == data
    assert (tmp_path / "image").stat().st_blocks * 512 <= 4096
