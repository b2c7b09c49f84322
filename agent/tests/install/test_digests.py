"""Wrong bytes at every level of a release are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from proa.agent.testing.installs import refused
from proa.agent.testing.node import Node
from proa.agent.testing.world import MIB, World
from proa.core.release.document import BLOCK_SIZE
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.partition.boot.bootstate import Slot


@pytest.fixture
def release2(world: World, tmp_path: Path) -> str:
    """A release that does not tell what a node may have already, so that every blob is fetched whole."""
    return world.release(tmp_path / "whole", world.recipe("2"), content="")


class TestDigests:
    """Wrong bytes at every level (F12, F15, F20, F30)."""

    def copy(self, reference: str, folder: Path) -> str:
        """A copy of a release that may be damaged."""
        shutil.copytree(reference.removeprefix("oci:"), folder / "copy")
        return f"oci:{folder / 'copy'}"

    def blob(self, reference: str, name: str) -> Path:
        """The file of a blob in a layout folder."""
        folder = Path(reference.removeprefix("oci:")) / "blobs/sha256"
        by_size = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
        texts = {path: path.read_bytes() for path in by_size}
        if name == "config":
            return next(path for path, data in texts.items() if b'"proa.release/v1"' in data)
        if name == "manifest":
            return next(path for path, data in texts.items() if b"org.opencontainers.image.version" in data)
        if name == "map":
            return next(path for path, data in texts.items() if data.startswith(b"PROAMAP1"))
        payload = [path for path, data in texts.items() if data.startswith(b"\x28\xb5\x2f\xfd")]
        return {"tree": payload[0], "boot": payload[1], "root": payload[2]}[name]

    @pytest.mark.parametrize("name", ["manifest", "config", "map", "tree", "root", "boot"])
    @pytest.mark.parametrize("place", [0, 0.5, 1])
    def test_f12_f15_f30_one_byte_of_a_blob(
        self, node: Node, release2: str, tmp_path: Path, name: str, place: float
    ) -> None:
        reference = self.copy(release2, tmp_path)
        path = self.blob(reference, name)
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        path.write_bytes(data)
        with pytest.raises(ProaError) as caught:
            node.install(reference, activate=True)
        assert caught.value.exit is Exit.REFUSED, caught.value
        assert not node.state.on_trial
        assert not (record := node.record.slots.get(Slot.B)) or not record.complete

    @pytest.mark.parametrize("name", ["map", "tree", "root", "boot"])
    @pytest.mark.parametrize("size", [0, 70_000])
    def test_f1_a_blob_that_is_cut(self, node: Node, release2: str, tmp_path: Path, name: str, size: int) -> None:
        reference = self.copy(release2, tmp_path)
        os.truncate(self.blob(reference, name), size)
        with pytest.raises(ProaError):
            node.install(reference, activate=True)
        assert not node.state.on_trial

    @pytest.mark.parametrize("name", ["root", "boot", "tree"])
    def test_f3_a_blob_with_more_behind_its_end(self, node: Node, release2: str, tmp_path: Path, name: str) -> None:
        reference = self.copy(release2, tmp_path)
        with self.blob(reference, name).open("ab") as file:
            file.write(b"more")
        refused(node, reference, Code.DIGEST)

    def test_f20_a_tree_of_another_root_hash(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2"), root_hash="ab" * 32)
        refused(node, reference, Code.VERITY)

    def test_f20_a_root_of_another_tree(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2", tree_of=world.image(5)))
        refused(node, reference, Code.VERITY)

    def test_one_block_that_the_tree_does_not_know(self, node: Node, world: World, tmp_path: Path) -> None:
        image = tmp_path / "image"
        data = bytearray(world.image(2).read_bytes())
        data[MIB + 5000] ^= 1
        image.write_bytes(data)
        reference = world.release(tmp_path / "r", world.recipe("2", root=image, tree_of=world.image(2)))
        error = refused(node, reference, Code.VERITY)
        assert f"block {(MIB + 5000) // BLOCK_SIZE} " in error.message
        written = node.part("ROOT-B").read_bytes()[MIB : 3 * MIB // 2]
        assert written == bytes(MIB // 2), "a block that was not verified was written"

    @pytest.mark.parametrize("field", ["digest", "uki_digest"])
    def test_a_kernel_image_of_another_digest(self, node: Node, world: World, tmp_path: Path, field: str) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2"), None, **{field: "sha256:" + "0" * 64})
        refused(node, reference, Code.DIGEST)

    def test_a_tree_size_that_the_image_does_not_have(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2"), tree_size=BLOCK_SIZE)
        refused(node, reference, Code.RELEASE)

    def test_f20_a_boot_image_without_a_kernel(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2", boot=world.image(5, MIB // 4)))
        refused(node, reference, Code.DIGEST)
