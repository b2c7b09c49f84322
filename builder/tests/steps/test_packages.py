"""The packages step: what mmdebstrap is told, and what its failures mean."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proa.builder.config.image_settings import SUITES, Kernel, SystemConfig
from proa.builder.config.node_settings import Persist
from proa.builder.engine.aptroot import Package
from proa.builder.engine.context import BuildContext
from proa.builder.engine.resolve import Resolved
from proa.builder.node import system
from proa.builder.steps import packages, software
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult

SAID = {
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
        system=SystemConfig(packages=("curl", "zstd", "systemd=252.*")),
        kernel=Kernel(package="linux-image-cloud-amd64"),
    )
    wanted = packages.wanted(config)
    assert wanted == sorted(set(wanted))
    assert {"curl", "systemd=252.*", "linux-image-cloud-amd64"} <= set(wanted)
    assert not {"linux-image-amd64", "systemd"} & set(wanted)


@pytest.mark.parametrize("suite", SUITES)
def test_s16_an_encrypted_persist_needs_what_talks_to_a_tpm(step_context: BuildContext, suite: str) -> None:
    plain = dataclasses.replace(step_context.config, system=SystemConfig(suite=suite))
    encrypted = dataclasses.replace(plain, persist=Persist(encryption="tpm2"))
    more = set(packages.wanted(encrypted)) - set(packages.wanted(plain))
    assert more == set(packages.ENCRYPTION[suite])
    for library in ("esys", "mu", "rc", "tcti-device"):
        assert any(name.startswith(f"libtss2-{library}") for name in more)
    assert packages.setting_of(encrypted, min(more)) == "persist.encryption"
    assert packages.setting_of(plain, min(more)) == ""


@pytest.mark.parametrize(
    ("word", "setting"),
    [
        ("curl", "system.packages[0]"),
        ("kubelet=1.30.*", "system.packages[1]"),
        ("kubelet", "system.packages[1]"),
        ("linux-image-x", "kernel.package"),
        ("systemd", ""),
    ],
)
def test_b09_a_package_is_told_at_the_setting_that_asks_for_it(
    step_context: BuildContext, word: str, setting: str
) -> None:
    config = dataclasses.replace(
        step_context.config,
        system=SystemConfig(packages=("curl", "kubelet=1.30.*")),
        kernel=Kernel(package="linux-image-x"),
    )
    assert packages.setting_of(config, word) == setting


def test_what_a_root_has_of_documentation_and_translations_is_asked_for(step_context: BuildContext) -> None:
    def rules(**settings: Any) -> set[str]:
        return set(packages.left_out(dataclasses.replace(step_context.config, system=SystemConfig(**settings))))

    plain = rules()
    assert {"path-exclude=/usr/share/man/*", "path-include=/usr/share/doc/*/copyright"} < plain
    assert plain - rules(documentation=True) == {rule for rule in plain if "/locale" not in rule}
    assert rules(translations=("de", "pt_BR")) - plain == {
        "path-include=/usr/share/locale/de/*",
        "path-include=/usr/share/locale/pt_BR/*",
    }


@pytest.mark.parametrize("suite", SUITES)
def test_perl_is_no_part_of_every_node(step_context: BuildContext, suite: str) -> None:
    config = dataclasses.replace(step_context.config, system=SystemConfig(suite=suite))
    assert ("usr-is-merged" in packages.wanted(config)) == (suite == "bookworm")


def test_b02_a_tree_has_just_the_packages_that_its_key_names() -> None:
    status = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
    one = Package("a", "1", "all", "0" * 64, "http://x/a.deb")
    packages.check_installed(status, Resolved((one,), ()))
    for other in ((), (one, dataclasses.replace(one, name="b")), (dataclasses.replace(one, version="2"),)):
        with pytest.raises(ProaError) as raised:
            packages.check_installed(status, Resolved(other, ()))
        assert "differs from what was resolved" in raised.value.message


def test_files_that_were_used_last_are_kept(tmp_path: Path) -> None:
    for number, name in enumerate(("old.deb", "new.deb")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2 << 30)
        os.utime(tmp_path / name, (number, number))
    packages.forget_oldest(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new.deb"]


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


def test_libraries_of_wheels_lose_what_only_a_debugger_reads(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int answer(void) { return 42; }\n")
    (tmp_path / "site/package").mkdir(parents=True)
    library = tmp_path / "site/package/a.cpython-311-x86_64-linux-gnu.so"
    subprocess.run(["cc", "-g3", "-shared", "-fPIC", "-o", library, tmp_path / "a.c"], check=True)
    (tmp_path / "site/package/link.so").symlink_to(library.name)
    before = library.stat().st_size
    software.strip(tmp_path / "site")
    assert b".debug_info" not in library.read_bytes()
    assert library.stat().st_size < before
    assert ctypes.CDLL(str(library)).answer() == 42
    assert (tmp_path / "site/package/link.so").is_symlink()
    software.strip(tmp_path / "nothing")
