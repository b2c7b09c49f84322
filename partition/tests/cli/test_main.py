"""``proa-disk``: what it prints, what it refuses, and that a dry run touches nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from proa.core.runtime.errors import Code, Exit, ProaError
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot
from proa.partition.boot.statefile import StateFile
from proa.partition.cli.main import disk_command, main
from proa.partition.disk import layout
from proa.partition.disk.layout import MIB
from proa.partition.disk.slots import open_image

SIZES = ["--uki-size", "2M", "--root-size", "4MiB", "--persist-size", "16M"]
DISK_SIZE = 2 * MIB + layout.MIN_BOOT + MIB + 4 * MIB + 8 * MIB + 16 * MIB
PROA_DISK = Path(sys.executable).parent / "proa-disk"


def call(*argv: object, answer: str = "") -> Result:
    return CliRunner().invoke(disk_command, [str(word) for word in argv], input=answer, catch_exceptions=True)


def done(*argv: object, answer: str = "") -> str:
    result = call(*argv, answer=answer)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def document(*argv: object) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(done(*argv, "--json"))
    assert list(parsed)[:2] == ["schema", "proa"]
    assert parsed["schema"] == "proa.disk/v1"
    return parsed


def refused(*argv: object) -> ProaError:
    error = call(*argv).exception
    assert isinstance(error, ProaError)
    return error


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    done("create", path, *SIZES, "--seed", "cli", "--progress", "none")
    return path


def test_plan_prints_the_layout_and_writes_nothing(tmp_path: Path) -> None:
    lines = done("plan", *SIZES).splitlines()
    assert len(lines) == 9
    assert lines[7].split()[:2] == ["7", "PERSIST"]
    found = document("plan", *SIZES)
    assert found["disk_size"] == DISK_SIZE
    assert [entry["name"] for entry in found["partitions"]] == list(layout.NAMES)
    assert list(tmp_path.iterdir()) == []


def test_every_option_has_an_environment_twin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROA_PLAN_ROOT_SIZE", "3G")
    monkeypatch.setenv("PROA_PLAN_SECTOR_SIZE", "4096")
    monkeypatch.setenv("PROA_PLAN_JSON", "1")
    monkeypatch.setattr(sys, "argv", ["proa-disk", "plan"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sector_size"] == 4096
    assert found["partitions"][4]["size"] == 3 << 30


@pytest.mark.parametrize(
    ("text", "size"), [("3G", 3 << 30), ("3GiB", 3 << 30), ("3072M", 3 << 30), (str(3 << 30), 3 << 30), ("1T", 1 << 40)]
)
def test_sizes_are_read_in_binary_units(text: str, size: int) -> None:
    assert document("plan", "--root-size", text)["partitions"][4]["size"] == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "4X", "4 G", "\u0661G", "9" * 30])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    assert call("plan", f"--root-size={text}").exit_code == 2


def test_a_layout_that_does_not_fit_is_refused() -> None:
    assert refused("plan", "--disk-size", "1G").code is Code.LAYOUT


@pytest.mark.parametrize(
    "options", [("--root-size", "99999999T"), ("--disk-size", "99999999T"), ("--persist-size", "1024T")]
)
def test_a_size_that_nothing_has_is_refused(tmp_path: Path, options: tuple[str, str]) -> None:
    for verb in (["plan"], ["create", str(tmp_path / "disk.raw"), "--progress", "none"]):
        error = refused(*verb, *options)
        assert (error.code, error.exit) == (Code.LAYOUT, Exit.USAGE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sector_size", layout.SECTOR_SIZES)
def test_create_makes_a_disk_that_show_understands(tmp_path: Path, sector_size: int) -> None:
    path = tmp_path / "disk.raw"
    (tmp_path / "root").write_bytes(b"root" * 1000)
    options = [*SIZES, "--sector-size", sector_size, "--fill", f"ROOT-A={tmp_path / 'root'}", "--progress", "none"]
    created = document("create", path, *options)
    found = document("show", path)
    assert {key: found[key] for key in ("disk_size", "sector_size", "guid", "grown")} == {
        key: created[key] for key in ("disk_size", "sector_size", "guid", "grown")
    }
    assert found["disk"] == str(path)
    holds = {entry["name"]: entry["holds"]["kind"] for entry in found["partitions"]}
    assert holds == {
        "BOOT": "empty",
        "STATE": "fat",
        "UKI-A": "empty",
        "UKI-B": "empty",
        "ROOT-A": "unknown",
        "ROOT-B": "empty",
        "PERSIST": "ext4",
    }
    assert {name: slot["holds"] for name, slot in found["slots"].items()} == {"a": "half", "b": "empty"}
    assert found["booted"] is None
    fresh = {"seq": 1, "good": "a", "trial": None, "left": 0, "alt": False}
    assert found["state"] == {"counts": 1, "copies": [fresh, fresh]}
    assert path.stat().st_blocks * 512 < 12 * MIB, "the image is sparse"
    assert not [name for name in tmp_path.iterdir() if name.name.startswith(".")]


def test_create_twice_gives_equal_disks(tmp_path: Path, disk: Path) -> None:
    done("create", tmp_path / "again.raw", *SIZES, "--seed", "cli", "--progress", "none")
    assert subprocess.run(["cmp", disk, tmp_path / "again.raw"], check=False).returncode == 0


def test_create_tells_its_steps_on_standard_error(tmp_path: Path) -> None:
    result = call("create", tmp_path / "disk.raw", *SIZES, "--progress", "json")
    steps = [json.loads(line) for line in result.stderr.splitlines()]
    assert [step["step"] for step in steps if step["event"] == "StepFinished"] == ["table", "STATE", "PERSIST"]


def test_two_that_create_the_same_file_do_not_overwrite_each_other(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from proa.partition.cli.main import main; main()", "create", "disk.raw", *SIZES]
    both = [subprocess.Popen([*map(str, words), "--yes"], cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    said = [(one.communicate()[1], one.returncode) for one in both]
    assert sorted(status for _, status in said) == [0, 2], said
    assert any(b"FILE_EXISTS" in text for text, _ in said)


def test_create_overwrites_no_file(disk: Path) -> None:
    before = disk.stat().st_mtime_ns
    assert refused("create", disk, *SIZES).code is Code.FILE_EXISTS
    assert disk.stat().st_mtime_ns == before


def test_create_checks_before_it_writes(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (4 * MIB + 1))
    path = tmp_path / "disk.raw"
    error = refused("create", path, *SIZES, "--fill", f"ROOT-B={tmp_path / 'large'}")
    assert error.code is Code.TOO_LARGE
    assert str(4 * MIB + 1) in error.message
    assert str(4 * MIB) in error.message
    assert refused("create", path, *SIZES, "--fill", f"BOOT={tmp_path / 'none'}").code is Code.FILE_MISSING
    assert refused("create", tmp_path / "none" / "disk.raw", *SIZES).code is Code.FILE_MISSING
    assert call("create", path, *SIZES, "--fill", "ROOT-C=x").exit_code == 2
    assert call("create", path, *SIZES, "--fill", "BOOT").exit_code == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["large"]


def test_a_failed_create_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    for name, text in {"mke2fs": "#!/bin/sh\nexit 1\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("sfdisk", "mformat", "mcopy"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name, path="/usr/bin:/usr/sbin") or name)
    assert refused("create", tmp_path / "disk.raw", *SIZES, "--progress", "none").code is Code.TOOL
    assert [entry.name for entry in tmp_path.iterdir()] == ["bin"]


def test_dry_runs_touch_nothing(tmp_path: Path, disk: Path) -> None:
    os.truncate(disk, DISK_SIZE + 64 * MIB)
    before = disk.stat().st_mtime_ns
    planned = document("create", tmp_path / "new.raw", *SIZES, "--dry-run")
    assert planned["disk_size"] == DISK_SIZE
    assert document("grow", disk, "--dry-run")["partitions"][6]["size"] == 80 * MIB
    assert document("reset", disk, "--dry-run") | {"schema": "", "proa": ""} == {
        "schema": "",
        "proa": "",
        "disk": str(disk),
        "reset": "PERSIST",
        "size": 16 * MIB,
        "when": "now",
        "dry_run": True,
    }
    assert disk.stat().st_mtime_ns == before
    assert not (tmp_path / "new.raw").exists()


def test_grow_takes_the_rest_of_the_disk_once(disk: Path) -> None:
    factory = document("show", disk)
    os.truncate(disk, DISK_SIZE + 64 * MIB)
    grown = document("grow", disk)
    assert grown["partitions"][6]["size"] == 80 * MIB
    assert grown["guid"] != factory["guid"]
    assert {key: document("show", disk)[key] for key in ("guid", "grown")} == {"guid": grown["guid"], "grown": True}
    assert document("grow", disk) == grown


def test_reset_asks_first(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(open_image(disk).partitions["PERSIST"].offset)
        file.write(b"\xff" * 2048)
    for answer in ("n\n", ""):
        result = call("reset", disk, answer=answer)
        assert isinstance(result.exception, click.Abort) or result.exit_code == 1
        assert document("show", disk)["partitions"][6]["holds"]["kind"] == "unknown"
    assert "is empty" in done("reset", disk, answer="y\n")
    assert document("show", disk)["partitions"][6]["holds"]["kind"] == "ext4"
    assert document("reset", disk, "--yes")["dry_run"] is False


def test_show_tells_trial_damage_and_which_copy_counts(disk: Path) -> None:
    state = open_image(disk).partitions["STATE"]
    file = StateFile.within(state.path, state.offset)
    armed = bootstate.arm(file.current(), Slot.B, 2)
    file.write(armed)
    with disk.open("r+b") as raw:
        raw.seek(file.offset1)
        raw.write(bytes(1024))
    found = document("show", disk)["state"]
    assert found["counts"] == 2
    assert found["copies"][0] is None
    assert (found["copies"][1]["trial"], found["copies"][1]["left"]) == ("b", 2)
    text = done("show", disk)
    for words in (
        "slot a: empty, boots first",
        "slot b: empty, on trial, 2 attempts left",
        "copy 1: damaged",
        "TRY=b LEFT=2",
        "as shipped",
    ):
        assert words in text
    with disk.open("r+b") as raw:
        raw.seek(file.offset2)
        raw.write(bytes(1024))
    assert document("show", disk)["state"] == {"counts": None, "copies": [None, None]}
    assert "both copies are damaged" in done("show", disk)


@pytest.mark.parametrize("verb", ["show", "grow", "reset"])
def test_what_is_no_disk_is_told_with_its_code(tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    assert refused(verb, tmp_path / "file").code is Code.NO_DISK
    assert refused(verb, tmp_path / "none").code is Code.FILE_MISSING


@pytest.mark.parametrize("verb", ["plan", "create", "show", "grow", "reset", "recovery-key"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    assert f"Example: proa-disk {verb}" in done(verb, "--help")


def test_the_command_itself_prints_errors_and_exits_with_their_status(tmp_path: Path) -> None:
    told = subprocess.run([PROA_DISK, "show", tmp_path / "none"], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.startswith("proa-disk: error[FILE_MISSING]:")
    (tmp_path / "file").write_bytes(bytes(MIB))
    as_json = subprocess.run(
        [PROA_DISK, "show", "--json", tmp_path / "file"], capture_output=True, text=True, check=False
    )
    assert as_json.returncode == 7
    assert json.loads(as_json.stdout)["code"] == "NO_DISK"


@pytest.mark.contract
def test_a_device_is_created_grown_and_reset(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.touch()
    os.truncate(image, DISK_SIZE + 32 * MIB)
    losetup = shutil.which("losetup", path="/usr/sbin:/sbin") or "losetup"
    argv: list[str | Path] = [losetup, "--find", "--show", "--partscan", image]
    node = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        assert call("create", node, *SIZES, answer="n\n").exit_code == 1
        assert not image.read_bytes()[: 2 * MIB].strip(b"\0")
        done("create", node, *SIZES, "--yes")
        assert document("grow", node)["partitions"][6]["size"] == 48 * MIB
        done("reset", node, "--yes")
        assert document("show", node)["partitions"][6]["holds"]["size"] == 48 * MIB
    finally:
        subprocess.run(["/usr/bin/partx", "--delete", node], check=False, capture_output=True)
        subprocess.run([losetup, "--detach", node], check=True)


@pytest.mark.parametrize("verb", ["show", "grow", "reset"])
def test_a_pipe_is_refused_where_opening_it_would_wait(tmp_path: Path, verb: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    error = refused(verb, tmp_path / "pipe")
    assert (error.code, error.at) == (Code.DEVICE, str(tmp_path / "pipe"))
    assert "neither a file nor a block device" in error.message


def test_a_partition_is_not_filled_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused("create", tmp_path / "disk.raw", *SIZES, "--fill", f"ROOT-A={tmp_path / 'pipe'}").code is Code.DEVICE
    assert not (tmp_path / "disk.raw").exists()


def test_s16_a_machine_without_an_encrypted_persist_has_no_recovery_key() -> None:
    assert refused("recovery-key", "--remove", "--yes").code is Code.FILE_MISSING


def test_the_hints_say_what_is_possible(tmp_path: Path) -> None:
    assert refused("plan", "--sector-size", "100").hint == "Use a sector size of 512 or 4096 bytes."
    (tmp_path / "empty").write_bytes(bytes(MIB))
    error = refused("show", tmp_path / "empty")
    assert (error.code, "--disk" in error.hint) == (Code.NO_DISK, False)  # DISK is an argument
