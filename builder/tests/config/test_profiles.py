"""The profiles: what ``proa-build init --profile`` writes is a configuration that builds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from proa.builder.cli.main import cli
from proa.builder.config import profiles
from proa.builder.config.loading import load
from proa.core.runtime.errors import Code, ProaError

NODE = "kubernetes-node"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    profiles.write(tmp_path / "node", NODE)
    (tmp_path / "node/kubelet").write_text("#!/bin/sh\n")
    return tmp_path / "node"


@pytest.mark.parametrize("name", profiles.NAMES)
def test_every_profile_is_a_configuration(tmp_path: Path, name: str) -> None:
    profiles.write(tmp_path, name)
    (tmp_path / "kubelet").write_text("#!/bin/sh\n")
    assert load(tmp_path / "proa.toml").config.release.name == name


def test_without_a_name_it_is_the_commented_template(tmp_path: Path) -> None:
    assert profiles.write(tmp_path) == [tmp_path / "proa.toml"]
    assert load(tmp_path / "proa.toml").config.release.name == "my-node"


def test_the_kubelet_is_asked_for(node: Path) -> None:
    (node / "kubelet").unlink()
    with pytest.raises(ProaError, match="kubelet"):
        load(node / "proa.toml")


def test_a_node_takes_orders_and_its_cluster_commits(node: Path) -> None:
    config = load(node / "proa.toml").config
    assert (config.cluster.group, config.cluster.commit) == (1_979_071_001, "order")
    assert {"containerd.service", "kubelet.service"} <= set(config.health.required)


def test_containerd_and_the_kubelet_agree_about_cgroups_and_sockets(node: Path) -> None:
    containerd = tomllib.loads((node / "etc/containerd/config.toml").read_text())
    cri = containerd["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    kubelet = (node / "etc/kubernetes/kubelet.yaml").read_text()
    assert "\ncgroupDriver: systemd\n" in kubelet
    assert "\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n" in kubelet


def test_what_the_kubelet_keeps_is_kept_over_a_swap(node: Path) -> None:
    """Everything that its unit and its configuration name for writing lies below /var, /opt/cni or /run."""
    unit = (node / "lib/systemd/system/kubelet.service").read_text()
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    written = [word.partition("=")[2] for word in start.split() if word.startswith(("--kubeconfig=", "--cert-dir="))]
    assert [path.startswith("/var/lib/kubelet/") for path in written] == [True, True]
    assert "\nvolumePluginDir: /var/lib/kubelet/" in (node / "etc/kubernetes/kubelet.yaml").read_text()
    assert 'bin_dir = "/opt/cni/bin"' in (node / "etc/containerd/config.toml").read_text()


def test_no_token_is_in_it() -> None:
    unit = profiles.files(NODE)["lib/systemd/system/kubelet.service"].decode()
    assert "LoadCredential=kubernetes.bootstrap\nSetCredential=kubernetes.bootstrap:\n" in unit


def test_nothing_is_written_over(node: Path) -> None:
    (node / "proa.toml").unlink()
    before = {path: path.read_bytes() for path in node.rglob("*") if path.is_file()}
    with pytest.raises(ProaError) as caught:
        profiles.write(node, NODE)
    assert caught.value.code is Code.FILE_EXISTS
    assert {path: path.read_bytes() for path in node.rglob("*") if path.is_file()} == before


def test_the_command_says_what_it_writes_and_refuses_a_profile_that_is_none(tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["init", str(tmp_path / "it"), "--profile", NODE, "--dry-run"])
    assert f"would write {tmp_path / 'it/proa.toml'}\n" in told.output
    assert not (tmp_path / "it").exists()
    with pytest.raises(ProaError) as caught:
        CliRunner().invoke(cli, ["init", str(tmp_path / "it"), "--profile", "nothing"], catch_exceptions=False)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, "--profile")
    assert NODE in caught.value.hint
