"""s04: the safe choice is the default: no release older than one that was committed, unless it is asked for by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from proa.agent.install.install import install
from proa.agent.install.order import Activation, InstallOrder
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import refused, watch
from proa.agent.testing.world import World
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.runtime.errors import Code
from proa.partition.boot.bootstate import Slot


@pytest.fixture
def newest(node: Node, world: World, tmp_path: Path, systemctl: Systemctl) -> Node:
    """A node that has committed serial 3, and whose other slot holds what the factory gave it."""
    committed(node, world, tmp_path, "3", 3)
    return node


def released(node: Node, world: World, folder: Path, version: str, serial: int) -> str:
    recipe = dataclasses.replace(world.recipe(version), serial=serial)
    reference = world.release(folder / f"release-{version}", recipe)
    node.know(reference)
    return reference


def committed(node: Node, world: World, folder: Path, version: str, serial: int) -> None:
    node.install(released(node, world, folder, version, serial), activate=True)
    node.reboot()
    watch(node)


def test_s04_an_older_release_is_not_installed_unless_asked_for(newest: Node, world: World, tmp_path: Path) -> None:
    older = released(newest, world, tmp_path, "2", 2)
    order = InstallOrder(older, Activation(activate=True))
    before = newest.record.slots
    error = refused(install, newest.context, order)
    assert (error.code, "serial 3 was committed" in error.message) == (Code.SERIAL, True)
    assert newest.record.slots == before
    assert install(newest.context, dataclasses.replace(order, downgrade=True)).activated


def test_s04_what_was_asked_for_once_is_armed_without_asking_again(newest: Node, world: World, tmp_path: Path) -> None:
    older = released(newest, world, tmp_path, "2", 2)
    install(newest.context, InstallOrder(older, downgrade=True))
    verbs.activate(newest.context)
    assert newest.state.on_trial


def test_s04_the_way_back_by_order_stays_and_the_highest_serial_is_kept(
    newest: Node, world: World, tmp_path: Path
) -> None:
    verbs.rollback(newest.context)
    assert newest.reboot() is Slot.A
    assert newest.record.committed == 3
    older = released(newest, world, tmp_path, "2", 2)
    assert refused(install, newest.context, InstallOrder(older)).code is Code.SERIAL


def test_s04_the_other_slot_is_armed_by_name_alone_where_it_is_older(newest: Node) -> None:
    assert refused(verbs.activate, newest.context).code is Code.SERIAL
    verbs.activate(newest.context, allow_downgrade=True)
    assert newest.state.on_trial


def test_s04_a_commit_raises_the_floor_where_the_settings_say_so(
    node: Node, world: World, tmp_path: Path, systemctl: Systemctl
) -> None:
    node.paths.etc.mkdir(parents=True, exist_ok=True)
    (node.paths.etc / "agent.toml").write_text("[commit]\nraises_floor = true\n")
    committed(node, world, tmp_path, "3", 3)
    assert node.record.floor == 3
    assert refused(verbs.rollback, node.context).code is Code.SERIAL


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        ("2026-01-20T00:00:00+00:00", "expires at 2026-01-20"),
        ("2025-12-31T00:00:00Z", "expired at 2025-12-31"),
        ("2026-06-01T00:00:00+00:00", ""),
        ("", ""),
        ("never", ""),
        ("2026-01-20", ""),
    ],
)
def test_s04_status_warns_before_the_running_release_expires(node: Node, expires: str, said: str) -> None:
    path = node.paths.release
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires": expires}))
    warnings = status(node.context).warnings
    assert any(said in warning for warning in warnings) if said else not warnings
