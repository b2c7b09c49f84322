"""What all tests of a run share: keys, images, releases, and an empty partitioned disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.agent.testing import synthetic
from proa.agent.testing.synthetic import Recipe
from proa.core.signing.keys import Algorithm, PrivateKey
from proa.partition.boot.bootstate import initial
from proa.partition.boot.statefile import make_state_image
from proa.partition.disk.layout import Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.table import write_table

MIB: Final = 1 << 20
ROOT_SIZE: Final = MIB + MIB // 2
"""Bytes of a root image."""
ROOM: Final = 2 * MIB
"""Bytes of a partition for a root image and its tree."""


@dataclass(frozen=True)
class World:
    """What all tests share: keys, images, releases, an empty partitioned disk."""

    folder: Path
    key: PrivateKey
    stranger: PrivateKey
    layout: Layout
    factory: Recipe
    """What slot A has when the disk leaves the factory."""

    @property
    def disk(self) -> Path:
        """The image of the disk: its partition table alone."""
        return self.folder / "disk.img"

    def image(self, seed: int, size: int = ROOT_SIZE) -> Path:
        """A root image of noise, made once."""
        path = self.folder / f"root-{seed}-{size}"
        if not path.exists():
            synthetic.make_noise(path, size, seed)
        return path

    def recipe(self, version: str = "2", **changes: Any) -> Recipe:
        """What a release of this version is made of; its serial is the version."""
        recipe = dataclasses.replace(self.factory, root=self.image(int(version)), version=version, serial=int(version))
        return dataclasses.replace(recipe, **changes)

    def release(self, folder: Path, recipe: Recipe, signers: Sequence[PrivateKey] | None = None, **lies: Any) -> str:
        """A reference to a new release in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        work = folder / "work"
        work.mkdir()
        signed_by = [self.key] if signers is None else signers
        synthetic.make_release(recipe, folder / "oci", signed_by, work, **lies)
        return f"oci:{folder / 'oci'}"


@contextlib.contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory where that can be, for the many flushes."""
    memory = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made in it
    with tempfile.TemporaryDirectory(prefix="proa-agent-", dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def new_world(folder: Path) -> World:
    """Make what all tests share in a folder."""
    uki, boot = folder / "uki", folder / "boot"
    synthetic.make_noise(uki, 100_000, 7)
    synthetic.make_boot_image(boot, uki, MIB // 4)
    layout = plan(LayoutRequest("test", Sizes(uki=MIB, root=ROOM, persist=16 * MIB)))
    write_table(folder / "disk.img", layout)
    make_state_image(folder / "state", initial())
    keys = [Algorithm.ED25519.generate(), Algorithm.ECDSA_P256.generate()]
    world = World(folder, keys[0], keys[1], layout, Recipe(folder / "root", boot, uki, level=1))
    world = dataclasses.replace(world, factory=dataclasses.replace(world.factory, root=world.image(1)))
    world.release(folder / "factory", world.factory)
    return world
