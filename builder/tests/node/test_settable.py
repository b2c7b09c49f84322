"""What a release carries so that a cluster can set its nodes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from proa.builder.config.image_settings import ReleaseConfig
from proa.builder.config.node_allow import SettingsConfig
from proa.builder.config.settings import Config
from proa.builder.node import settable
from proa.builder.node.tree import Tree
from proa.core.settings import allow_list

CONFIG = Config(ReleaseConfig("node", "1", 1, 0, "node"))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root", owners=False)


def test_nothing_is_written_where_nothing_may_be_set(tree: Tree) -> None:
    settable.add(tree, CONFIG)
    assert not tree.exists("/usr")
    assert not tree.exists("/etc")


def test_the_list_is_what_the_agent_reads(tree: Tree) -> None:
    allowed = SettingsConfig(sysctl=("vm.swappiness=0..60",), kubelet=("maxPods",), proxy=("http",))
    settable.add(tree, dataclasses.replace(CONFIG, settings=allowed))
    found = allow_list.of_json(tree.read("/usr/lib/proa/settings.json").encode())
    assert found.models == {
        "sysctl": {"vm.swappiness": (0, 60)},
        "kubelet": {"maxPods": (None, None)},
        "proxy": {"http": (None, None)},
    }
    assert str(tree.path("/etc/proa/settings/current").readlink()) == "0"
    assert tree.path("/etc/proa/settings/current/kubelet").is_dir()
    drop_in = tree.read("/usr/lib/systemd/system/kubelet.service.d/50-proa-settings.conf")
    assert "--config-dir=/etc/proa/settings/current/kubelet/" in drop_in
    assert "EnvironmentFile=-/etc/proa/proxy.env" in tree.read(
        "/usr/lib/systemd/system/containerd.service.d/50-proa-settings.conf"
    )
