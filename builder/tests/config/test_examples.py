"""The example configurations of docs/examples/nodes: each is one that `proa-build check` accepts as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from proa.builder.cli.main import cli
from proa.builder.config.loading import load
from proa.builder.steps import packages
from proa.core.runtime.errors import ProaErrors

EXAMPLES = Path(__file__).parents[3] / "docs/examples"
NAMES = ("control-plane", "edge", "kubernetes-upstream", "storage", "virtual-machine")
GIVEN = {
    "control-plane": ("kubelet", "kubeadm"),
    "kubernetes-upstream": ("keys/kubernetes.asc",),
}
"""What whoever takes an example adds: programs and keys of others."""
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    for name, files in GIVEN.items():
        for file in files:
            path = tmp_path / "examples/nodes" / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(KEY if "keys" in file else "\x7fELF")
            path.chmod(0o755)
    return tmp_path / "examples/nodes"


def test_every_example_is_known_here() -> None:
    assert tuple(sorted(path.name for path in (EXAMPLES / "nodes").iterdir())) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_no_errors(examples: Path, name: str) -> None:
    done = CliRunner().invoke(cli, ["check", "-c", str(examples / name / "proa.toml")])
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_to_be_added_is_asked_for(examples: Path, name: str) -> None:
    for file in GIVEN[name]:
        (examples / name / file).unlink()
    with pytest.raises(ProaErrors) as raised:
        load(examples / name / "proa.toml")
    assert [error.message for error in raised.value.errors] == [f"{file} does not exist" for file in GIVEN[name]]


@pytest.mark.parametrize("name", NAMES)
def test_units_that_are_required_are_those_that_start(examples: Path, name: str) -> None:
    """By hand, or by their package as Debian's ssh does."""
    config = load(examples / name / "proa.toml").config
    assert set(config.health.required) <= {*config.units.enable, "ssh.service"}
    assert "openssh-server" in packages.wanted(config)
