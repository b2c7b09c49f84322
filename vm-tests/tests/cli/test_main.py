"""``proa-vm`` as a person calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proa.core.signing.keys import Algorithm
from proa.vm.node import minilinux
from proa.vm.testing.builds import make_build

COMMAND = [sys.executable, "-c", "from proa.vm.cli.main import main; main()"]


def proa_vm(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, input=stdin, check=False)


def test_a_disk_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = proa_vm("run", tmp_path / "nothing.raw")
    assert done.returncode == 2
    assert "proa-vm: error[FILE_MISSING]" in done.stderr
    assert "nothing.raw" in done.stderr


def test_a_pipe_is_refused_where_opening_it_would_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = proa_vm("run", tmp_path / "pipe")
    assert done.returncode == 7
    assert "error[DEVICE]: it is neither a file nor a block device" in done.stderr


def test_secure_boot_without_keys_is_a_usage_error(tmp_path: Path) -> None:
    done = proa_vm("run", tmp_path / "disk.raw", "--secure-boot")
    assert done.returncode == 2
    assert "--secure-boot needs --keys" in done.stderr


def test_a_folder_to_keep_is_never_overwritten(tmp_path: Path) -> None:
    done = proa_vm("run", tmp_path / "disk.raw", "--keep", tmp_path)
    assert done.returncode == 2
    assert "error[FILE_EXISTS]" in done.stderr


def test_a_dry_run_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").touch()
    done = proa_vm("run", tmp_path / "disk.raw", "--dry-run", "--keep", tmp_path / "kept", "--memory", "512")
    assert done.returncode == 0
    assert "512 MiB" in done.stdout
    assert not (tmp_path / "kept").exists()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The output folders of two builds, small ones."""
    folder, key = tmp_path_factory.mktemp("builds"), Algorithm.ED25519.generate()
    return make_build(folder / "1.0.0", key), make_build(folder / "2.0.0", key, "2.0.0", serial=2)


def test_a_rehearsals_dry_run_checks_and_prints_a_document(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    done = proa_vm("rehearse", old, new, "--dry-run", "--json", "--break", "panic")
    assert json.loads(done.stdout)["schema"] == "proa.rehearsal-plan/v1"
    assert proa_vm("rehearse", tmp_path, new, "--dry-run").returncode == 2


def test_p02_a_rehearsal_of_a_release_that_the_node_would_refuse_boots_nothing(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    stranger = make_build(tmp_path / "stranger", Algorithm.ED25519.generate(), "3.0.0")
    other = make_build(tmp_path / "other", Algorithm.ED25519.generate(), "3.0.0", compatible="other")
    trusting = make_build(tmp_path / "trusting", Algorithm.ED25519.generate(), trusted=[])
    for old, new, code, at in (
        (two[0], stranger, "SIGNATURE", stranger / "release"),
        (other, two[1], "SIGNATURE", two[1] / "release"),
        (trusting, two[1], "NO_TRUST", trusting / "disk.raw"),
    ):
        for words in ([], ["--dry-run"]):
            done = proa_vm("rehearse", old, new, "--report", tmp_path / "report", *words)
            assert (done.returncode, f"error[{code}]" in done.stderr) == (3, True), done.stderr
            assert f"at: {at}" in done.stderr
            assert not (tmp_path / "report").exists()
    done = proa_vm("cluster", two[0], stranger, "--dry-run", "--report", tmp_path / "report")
    assert "error[SIGNATURE]" in done.stderr


def test_p02_a_dry_run_says_that_the_report_cannot_be_written(two: tuple[Path, Path]) -> None:
    for report in ("/proc/x", two[0] / "disk.raw/x"):
        done = proa_vm("rehearse", *two, "--dry-run", "--report", report)
        assert done.returncode == 2
        assert f"at: {report}" in done.stderr


def test_p03_keys_without_secure_boot_are_a_usage_error(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = proa_vm("run", two[0] / "disk.raw", "--dry-run", "--keys", tmp_path)
    assert done.returncode == 2
    assert "--keys has no effect without --secure-boot" in done.stderr


def test_a_folder_of_keys_that_is_none_has_one_code(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    keys = tmp_path / "nothing"
    rehearsed = proa_vm("rehearse", old, new, "--dry-run", "--keys", keys)
    run = proa_vm("run", old / "disk.raw", "--secure-boot", "--keys", keys)
    for done in (rehearsed, run):
        assert "error[KEY]: the keys folder lacks PK.crt, KEK.crt, db.crt" in done.stderr


def test_a_report_that_cannot_be_written_is_told_before_anything_is_done(two: tuple[Path, Path]) -> None:
    old, new = two
    for report, code in (("/proc/x", "FILE_MISSING"), (old / "disk.raw", "FILE_MISSING")):
        done = proa_vm("rehearse", old, new, "--report", report)
        assert f"error[{code}]" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_to_keep_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").touch()
    done = proa_vm("run", tmp_path / "disk.raw", "--keep", "/proc/x")
    assert "error[FILE_MISSING]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--memory", "0"], ["--cpus", "0"]])
def test_a_machine_that_cannot_be_is_a_usage_error(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "disk.raw").touch()
    assert proa_vm("run", tmp_path / "disk.raw", "--dry-run", *words).returncode == 2


@pytest.mark.vm
def test_it_says_what_accelerates() -> None:
    done = proa_vm("accel", "--json", "--fresh")
    document = json.loads(done.stdout)
    assert document["schema"] == "proa.accel/v1"
    assert document["accel"] in {"kvm", "tcg"}
    assert [probe["works"] for probe in document["probes"]].count(True) == 1
    assert document["factor"] > 0


@pytest.mark.vm
def test_a_disk_is_run_and_commands_are_passed_by_ssh(tmp_path: Path) -> None:
    disk = minilinux.build(minilinux.default_folder())
    before = disk.stat().st_mtime_ns
    done = proa_vm("run", disk, "--ssh", "--keep", tmp_path / "kept", stdin="echo $((6 * 7)); exit 5\n")
    assert done.stdout.splitlines() == ["42"]
    assert done.returncode == 5
    assert "minilinux: ready" in (tmp_path / "kept" / "console.log").read_text()
    assert disk.stat().st_mtime_ns == before


def test_a_cluster_wants_builds_keys_and_an_empty_folder(two: tuple[Path, Path], tmp_path: Path) -> None:
    both, report = two, ("--report", tmp_path / "report")
    done = proa_vm("cluster", *both, *report, "--dry-run")
    assert done.stdout == "would boot 3 nodes of 768 MiB and take them through 1.0.0, 2.0.0, 1.0.0, 2.0.0\n"
    assert not (tmp_path / "report").exists()
    assert "error[FILE_MISSING]" in proa_vm("cluster", tmp_path, tmp_path, *report).stderr
    assert "error[KEY]" in proa_vm("cluster", *both, *report, "--keys", tmp_path / "nothing").stderr
    (tmp_path / "older").touch()
    assert "error[FILE_EXISTS]" in proa_vm("cluster", *both, "--report", tmp_path).stderr
