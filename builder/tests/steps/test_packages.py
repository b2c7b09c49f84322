"""The packages step: what mmdebstrap is told, and what its failures mean."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from proa.builder.config.settings import Kernel, SystemConfig
from proa.builder.engine.context import BuildContext
from proa.builder.node import system
from proa.builder.steps import packages, software
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult

SAID = {
    "E: Unable to locate package no-such\nE: Unable to locate package other": (
        Code.PACKAGES,
        "these packages do not exist: no-such, other",
    ),
    "E: Version '1.2' for 'bash' was not found": (Code.PACKAGES, "these packages do not exist: bash=1.2"),
    "E: Package 'emacs' has no installation candidate": (Code.PACKAGES, "these packages do not exist: emacs"),
    "W: GPG error: http://x bookworm InRelease: ... NO_PUBKEY 648ACFD622F3D138": (Code.MIRROR, "NO_PUBKEY"),
    "E: Failed to fetch http://x/y.deb  Could not connect": (Code.MIRROR, "Failed to fetch"),
    "tar: ./usr: Cannot write: No space left on device\nE: something after it": (Code.DISK_FULL, "No space left"),
    "dpkg: error processing package foo": (Code.PACKAGES, "error processing package foo"),
}


@pytest.mark.parametrize("said", SAID)
def test_a_failure_is_told_by_what_apt_said(said: str) -> None:
    code, part = SAID[said]
    error = packages.explain(ProcessResult(("setpriv", "mmdebstrap"), 1, b"", said.encode(), 1.0))
    assert (error.code, part in error.message) == (code, True)


def test_the_wanted_packages_are_those_of_every_node_and_the_users(step_context: BuildContext) -> None:
    config = dataclasses.replace(
        step_context.config,
        system=SystemConfig(packages=("curl", "zstd")),
        kernel=Kernel(package="linux-image-cloud-amd64"),
    )
    wanted = packages.wanted(dataclasses.replace(step_context, config=config))
    assert wanted == sorted(set(wanted))
    assert {"curl", "systemd", "linux-image-cloud-amd64"} <= set(wanted)
    assert "linux-image-amd64" not in wanted


def test_packages_that_were_kept_and_changed_are_thrown_away(tmp_path: Path) -> None:
    for name in ("good.deb", "changed.deb", "unknown.deb"):
        (tmp_path / name).write_text(name)
    packages.remember(tmp_path)
    (tmp_path / "changed.deb").write_text("CHANGED.deb")
    sums = json.loads((tmp_path / "sums.json").read_text())
    del sums["unknown.deb"]
    (tmp_path / "sums.json").write_text(json.dumps(sums))
    packages.forget_changed(tmp_path)
    assert [path.name for path in tmp_path.glob("*.deb")] == ["good.deb"]


@pytest.mark.parametrize("text", ["", "[1]", '{"good.deb": '])
def test_a_list_of_packages_that_was_cut_short_knows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "good.deb").write_text("good")
    packages.remember(tmp_path)
    (tmp_path / "sums.json").write_text(text)
    packages.forget_changed(tmp_path)
    assert list(tmp_path.glob("*.deb")) == []


def test_the_images_python_is_known_by_its_package(tmp_path: Path) -> None:
    listed = {"installed": [{"package": "python3", "version": "3.13.5-1"}]}
    (tmp_path / "packages.json").write_text(json.dumps(listed))
    assert software.python_version(tmp_path) == "3.13"
    (tmp_path / "packages.json").write_text(json.dumps({"installed": []}))
    with pytest.raises(ProaError) as raised:
        software.python_version(tmp_path)
    assert raised.value.code is Code.PACKAGES


@pytest.mark.parametrize("script", [packages.DATA / "collect.sh", system.DATA / "usr/lib/proa/provision"])
def test_the_scripts_are_plain_shell(script: Path) -> None:
    assert subprocess.run(["dash", "-n", script], check=False, capture_output=True).stderr == b""
