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
from proa.core.runtime.errors import ProaError
from proa.core.settings import allow_list
from proa.core.settings.allow_list import Limit

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
        "sysctl": {"vm.swappiness": Limit(0, 60)},
        "kubelet": {"maxPods": allow_list.ANY},
        "proxy": {"http": allow_list.ANY},
    }
    assert str(tree.path("/etc/proa/settings/current").readlink()) == "0"
    assert tree.path("/etc/proa/settings/current/kubelet").is_dir()
    drop_in = tree.read("/usr/lib/systemd/system/kubelet.service.d/50-proa-settings.conf")
    assert "--config-dir=/etc/proa/settings/current/kubelet/" in drop_in
    assert "EnvironmentFile=-/etc/proa/proxy.env" in tree.read(
        "/usr/lib/systemd/system/containerd.service.d/50-proa-settings.conf"
    )


def test_mirrors_that_containerd_would_not_read_are_refused(tree: Tree) -> None:
    """By default it reads none: whoever set mirrors would see no effect, and no error either."""
    mirrors = dataclasses.replace(CONFIG, settings=SettingsConfig(registries=("docker.io=mirror.example",)))
    for content in ("", "version = 2\n"):
        tree.write("/etc/containerd/config.toml", content)
        with pytest.raises(ProaError) as caught:
            settable.check(tree, mirrors)
        assert 'config_path = "/etc/containerd/certs.d"' in caught.value.hint
    table = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    tree.write("/etc/containerd/config.toml", table)
    settable.check(tree, mirrors)
    settable.check(tree, CONFIG)
    settable.add(tree, mirrors)
    found = allow_list.of_json(tree.read("/usr/lib/proa/settings.json").encode())
    assert found.models == {"registries": {"docker.io": Limit(hosts=("mirror.example",))}}
