"""Fixtures shared by the tests of the agent; what they give is in :mod:`proa.agent.testing`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.agent.install.install import plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.testing.node import Node, NodeClock, new_node
from proa.agent.testing.orders import Site
from proa.agent.testing.systemctl import Systemctl, make_systemctl
from proa.agent.testing.world import World, fast_folder, new_world
from proa.core.runtime.events import Recorder
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with fast_folder() as folder:
        yield new_world(folder)


@pytest.fixture(scope="session")
def release2(world: World) -> str:
    """A good release, newer than the factory's."""
    return world.release(world.folder / "release2", world.recipe("2"))


@pytest.fixture
def node(world: World, tmp_path: Path) -> Node:
    """A node that runs slot A as it left the factory."""
    return new_node(world, tmp_path / "node")


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    """A healthy system."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return make_systemctl(tmp_path / "bin")


@pytest.fixture(scope="session")
def trial_folder(world: World, release2: str) -> Iterator[Node]:
    """A node that runs a trial of release 2 in slot B, of two tries; :func:`trial` copies it."""
    with fast_folder() as folder:
        node = new_node(world, folder / "node")
        node.know(release2)
        node.reconcile()
        node.install(release2, activate=True, tries=2)
        assert node.reboot() is Slot.B
        yield node


@pytest.fixture
def trial(trial_folder: Node, systemctl: Systemctl, tmp_path: Path) -> Node:
    """A node that runs a trial of release 2 in slot B, of two tries."""
    run(["cp", "--archive", "--sparse=always", trial_folder.folder, tmp_path / "node"])
    found = dataclasses.replace(
        trial_folder, folder=tmp_path / "node", clock=NodeClock(), events=Recorder(), releases=trial_folder.releases
    )
    found.write("run/proa/boot.json", found.paths.boot.read_text())
    return found


@pytest.fixture(scope="session")
def digests(world: World, release2: str) -> dict[str, str]:
    return {release2: "", f"oci:{world.folder / 'factory/oci'}": ""}


@pytest.fixture
def site(node: Node, world: World, release2: str, systemctl: Systemctl, digests: dict[str, str]) -> Site:
    for reference in digests:
        if not digests[reference]:
            digests[reference] = plan_only(node.context, InstallOrder(reference)).release.manifest
    node.know(release2)
    node.reconcile()
    new, factory = digests.values()
    places = {digest: place for place, digest in digests.items()}
    return Site(node, systemctl, places, new, factory, world.folder / "on-trial")
