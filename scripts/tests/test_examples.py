"""`make examples`: the complete configurations, with all that they need, are built and told of."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from proa.builder.config.loading import load
from upkeep import examples
from upkeep.examples import NAMES, BuiltExample


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return examples.provide(tmp_path_factory.mktemp("examples"))


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_what_it_needs(nodes: Path, name: str) -> None:
    config = load(nodes / name / "proa.toml").config
    assert all(source.uri.startswith("file:") for source in config.source)


def test_the_repository_is_signed_by_the_key_that_the_example_names(nodes: Path) -> None:
    key = (nodes / "kubernetes-upstream/keys/kubernetes.asc").read_text()
    assert key.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    repository = nodes.parent.parent / "kubernetes"
    assert (repository / "InRelease").read_text().startswith("-----BEGIN PGP SIGNED MESSAGE-----")
    assert {path.name.partition("_")[0] for path in repository.glob("*.deb")} == {"kubeadm", "kubectl", "kubelet"}


def test_the_table_has_a_line_for_each() -> None:
    lines = examples.table([BuiltExample("edge", 270 << 20, 140 << 20, 190, 52.04)]).splitlines()
    assert lines[1].split() == ["edge", "270", "MiB", "140", "MiB", "190", "52.0"]
    assert len(lines[0]) == len(lines[1])


def test_a_name_that_is_none_is_refused_before_anything_is_built() -> None:
    done = CliRunner().invoke(examples.cli, ["egde"])
    assert "there is no example egde" in str(done.exception)


@pytest.mark.contract
def test_a_guest_is_built_by_the_command(nodes: Path, tmp_path: Path) -> None:
    built = examples.build(nodes, "virtual-machine", tmp_path)
    assert built.packages > 100
    assert 100 << 20 < built.root < 280 << 20
    assert built.download < built.root
