"""From `proa-build delta` through a real registry into a slot, between two EROFS images of files."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proa.agent.install.install import install, plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.testing.installs import standby_is
from proa.agent.testing.node import Node, new_node
from proa.agent.testing.synthetic import Recipe
from proa.agent.testing.trials import warnings
from proa.agent.testing.world import World
from proa.core.artifact.release_artifact import copy_release
from proa.core.oci.access import Access
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.runtime.errors import Exit
from proa.core.schema.model import document
from proa.core.testing.erofs import make_root
from proa.vm.support.registry import LocalRegistry

pytestmark = pytest.mark.contract

LARGE = random.Random(5).randbytes(1 << 20)
FILES = {"usr/lib/large": LARGE, "etc/version": b"1", "usr/lib/6.1.0-50/driver": random.Random(6).randbytes(200_000)}


def make_image(folder: Path, version: int) -> Path:
    """A root: a few bytes more in the middle of a file move all that follows, and a folder has another name."""
    for name, content in FILES.items():
        path = folder / name.replace("50", str(49 + version))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            content if version == 1 else content[: len(content) // 9] + b"new" + content[len(content) // 9 :]
        )
    return make_root(folder, folder.with_suffix(".erofs"))


@dataclasses.dataclass(frozen=True)
class Site:
    """A registry with two releases, keys, and a node that runs the first one."""

    node: Node
    registry: LocalRegistry
    keys: Path
    recipe: Recipe
    layout: str

    def where(self, version: str) -> str:
        return str(self.registry.reference("os", version))

    def push(self, reference: str, version: str) -> None:
        with open_source(parse(reference)) as source, self.registry.open("os", version) as target:
            copy_release(source, target, version)

    def build(self, *words: str, status: int = 0) -> Any:
        program = [sys.executable, "-c", "from proa.builder.cli.main import main; main()", "delta", *words]
        options = ["--keys", str(self.keys), "--ca-file", str(self.registry.ca_file), "--json"]
        done = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    @property
    def order(self) -> InstallOrder:
        return InstallOrder(self.where("2"), registry=Access(ca_file=self.registry.ca_file))


@pytest.fixture
def site(world: World, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    trees = tmp_path_factory.mktemp("trees")  # not in memory: mkfs.erofs cannot write there
    factory = dataclasses.replace(world.factory, root=make_image(trees / "v1", 1))
    recipe = world.recipe("2", root=make_image(trees / "v2", 2))
    for name in ("disk.img", "state"):
        shutil.copyfile(world.folder / name, tmp_path / name)
    world = dataclasses.replace(world, folder=tmp_path, factory=factory)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/release.key").write_bytes(world.key.pem)
    (tmp_path / "keys/release.key").chmod(0o600)
    references = [world.release(tmp_path / name, one) for name, one in (("factory", factory), ("next", recipe))]
    node = new_node(world, tmp_path / "node")
    with LocalRegistry(tmp_path / "registry") as registry:
        found = Site(node, registry, tmp_path / "keys", recipe, references[1])
        for version, reference in zip(("1", "2"), references, strict=True):
            found.push(reference, version)
        yield found


def test_a_delta_made_later_is_found_and_its_root_is_the_releases(site: Site) -> None:
    without = plan_only(site.node.context, site.order).bytes
    planned = site.build(site.where("1"), site.where("2"), "--dry-run")
    assert (planned["stored"], planned["digest"]) == (False, None)
    assert plan_only(site.node.context, site.order).bytes == without
    made = site.build(site.where("1"), site.where("2"))
    assert made["stored"]
    assert made["schema"] == "proa.delta/v1"
    assert made["bytes"] == planned["bytes"] < 40_000 < made["frames"]
    report = document(install(site.node.context, site.order))
    standby_is(site.node, site.node.world, site.recipe)
    assert 0 < report["bytes"]["fetch"] - made["bytes"] < 12_000  # map and tree
    assert without.fetch > made["frames"]
    assert not warnings(site.node)


def test_a_delta_in_a_folder_is_pushed_with_the_release(site: Site, tmp_path: Path) -> None:
    made = site.build(site.where("1"), site.layout)
    site.push(site.layout, "2")
    assert plan_only(site.node.context, site.order).bytes.fetch < made["frames"]


def test_releases_without_a_delta_between_them_are_told_apart(site: Site) -> None:
    said = site.build(site.where("2"), site.where("2"), status=Exit.REFUSED)
    assert (said["code"], "they have the same root" in said["message"]) == ("DELTA", True)
