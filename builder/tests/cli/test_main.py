"""The verbs of proa-build, as a caller meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from proa.builder.cli.main import cli
from proa.core.runtime.errors import Code, ProaError


def run_verb(*argv: str | Path, code: Code | None = None) -> click.testing.Result:
    """Run a verb in this process; an error must have the given code."""
    result = click.testing.CliRunner().invoke(cli, [str(word) for word in argv], standalone_mode=False)
    if code is None:
        assert result.exception is None, result.exception
    else:
        assert isinstance(result.exception, ProaError)
        assert result.exception.code is code
    return result


def run_command(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command itself."""
    words = [sys.executable, "-c", "from proa.builder.cli.main import main; main()", *(str(word) for word in argv)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_init_then_check_then_summary(tmp_path: Path) -> None:
    config = tmp_path / "node" / "proa.toml"
    assert run_verb("init", tmp_path / "node").output == f"wrote {config}\n"
    assert run_verb("check", "-c", config).return_value == 0
    document = json.loads(run_verb("summary", "-c", config, "--json").output)
    assert document["schema"] == "proa.summary/v1"
    names = {setting["name"]: setting for setting in document["settings"]}
    assert names["release.name"]["value"] == "my-node"
    assert names["release.name"]["origin"].startswith(f"{config}:")
    parts = {part["name"]: part for part in document["layout"]["partitions"]}
    assert list(parts) == ["BOOT", "STATE", "UKI-A", "UKI-B", "ROOT-A", "ROOT-B", "PERSIST"]
    assert document["layout"]["free"] + sum(part["size"] for part in parts.values()) == document["layout"]["disk_size"]
    text = run_verb("summary", "-c", config).output
    assert "ROOT-A" in text


def test_p12_the_summary_has_units_for_people_and_numbers_for_machines(tmp_path: Path) -> None:
    config = tmp_path / "proa.toml"
    config.write_text(
        '[release]\nname = "x"\nversion = "1.0.0"\n[disk]\nroot = "2 GiB"\n[health]\ndeadline = "10 min"\n'
    )
    text = run_verb("summary", "-c", config).output
    rows = {line.split()[0]: " ".join(line.split()[1:3]) for line in text.splitlines() if "." in line.split(" ")[0]}
    assert (rows["disk.root"], rows["health.deadline"]) == ("2 GiB", "10 min")
    assert "2147483648" not in text
    told = json.loads(run_verb("summary", "-c", config, "--json").output)["settings"]
    assert {one["name"]: one["value"] for one in told}["disk.root"] == 1 << 31


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "proa.toml").write_text("mine")
    run_verb("init", tmp_path, code=Code.FILE_EXISTS)
    assert (tmp_path / "proa.toml").read_text() == "mine"


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    assert "would write" in run_verb("init", tmp_path / "node", "--dry-run").output
    assert "would write" in run_verb("keys", "init", tmp_path / "keys", "--dry-run").output
    assert list(tmp_path.iterdir()) == []


def test_check_tells_all_errors(tmp_path: Path) -> None:
    config = tmp_path / "proa.toml"
    config.write_text("[release]\nname = 'X'\nvresion = '1.0.0'\n")
    result = run_verb("check", "-c", config, "--json")
    document = json.loads(result.output)
    assert (result.return_value, document["schema"]) == (2, "proa.check/v1")
    assert [(error["code"], error["at"]) for error in document["errors"]] == [
        ("CONFIG_VALUE", f"{config}:2:8"),
        ("CONFIG_UNKNOWN_KEY", f"{config}:3:1"),
    ]
    config.write_text("[release\n")
    document = json.loads(run_verb("check", "-c", config, "--json").output)
    assert [error["code"] for error in document["errors"]] == ["CONFIG_SYNTAX"]
    run_verb("check", "-c", tmp_path / "none.toml", code=Code.FILE_MISSING)


def test_keys_are_made_once(tmp_path: Path) -> None:
    assert run_verb("keys", "init", tmp_path / "keys").output.count("wrote ") == 11
    run_verb("keys", "init", tmp_path / "keys", code=Code.FILE_EXISTS)


@pytest.mark.parametrize("name", ["", " ", "x" * 61, "two\nlines"])
def test_a_name_of_keys_fits_a_certificate(tmp_path: Path, name: str) -> None:
    run_verb("keys", "init", tmp_path / "keys", "--name", name, code=Code.USAGE)
    assert not (tmp_path / "keys").exists()


def test_a_mirrors_password_is_not_shown(tmp_path: Path) -> None:
    config = tmp_path / "proa.toml"
    source = '[[source]]\nuri = "http://user:s3cret@mirror.example.net/debian"\nsuites = ["bookworm"]\n'
    config.write_text(f'[release]\nname = "node"\nversion = "1.0.0"\n{source}')
    for words in ((), ("--json",)):
        shown = run_verb("summary", "-c", config, *words).output
        assert "http://mirror.example.net/debian" in shown
        assert "s3cret" not in shown


@pytest.mark.parametrize("verb", ["check", "summary", "image"])
def test_an_empty_version_is_a_mistake(tmp_path: Path, verb: str) -> None:
    run_verb("init", tmp_path)
    run_verb(verb, "-c", tmp_path / "proa.toml", "--version", "", code=Code.USAGE)


def test_image_needs_whole_keys(tmp_path: Path) -> None:
    run_verb("init", tmp_path)
    run_verb("image", "-c", tmp_path / "proa.toml", "--keys", tmp_path, code=Code.FILE_MISSING)


@pytest.mark.parametrize("verb", ["inspect", "verify", "push"])
def test_a_reference_that_is_none(tmp_path: Path, verb: str) -> None:
    run_verb("keys", "init", tmp_path / "keys")
    arguments: dict[str, list[str | Path]] = {
        "verify": ["--key", tmp_path / "keys" / "release.pub"],
        "push": ["Not A Reference"],
    }
    argv = [verb, tmp_path if verb == "push" else "Not A Reference", *arguments.get(verb, [])]
    run_verb(*argv, code=Code.REFERENCE)


def test_push_needs_a_release(tmp_path: Path) -> None:
    run_verb("push", tmp_path, f"oci:{tmp_path}/there", code=Code.FILE_MISSING)


def test_the_command_says_errors_with_their_places_and_statuses(tmp_path: Path) -> None:
    config = tmp_path / "proa.toml"
    config.write_text("[release]\nname = 'X'\n")
    done = run_command("image", "-c", config)
    assert done.returncode == 2
    assert done.stderr.startswith("proa-build: error[CONFIG_VALUE]: 'release.name'")
    assert f"at: {config}:2:8" in done.stderr
    assert run_command("nothing").returncode == 2
    assert json.loads(run_command("summary", "-c", config, "--json").stdout)["code"] == "CONFIG_VALUE"


def test_help_has_an_example_for_every_verb() -> None:
    for name in cli.list_commands(click.Context(cli)):
        assert "Example: proa-build" in run_verb(name, "--help").output


def test_p06_what_is_a_file_where_a_folder_is_meant_is_said_to_be_one(tmp_path: Path) -> None:
    """Each hint is true: doing what it says ends in something else."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, words in (("file", "it is a file"), ("empty", "does not contain a release"), ("gone", "no such folder")):
        found = run_verb("push", tmp_path / name, "registry.example/x:1", code=Code.FILE_MISSING)
        assert words in str(found.exception)
    found = run_verb("keys", "init", tmp_path / "file", code=Code.FILE_EXISTS)
    assert "it is a file" in str(found.exception)
    assert "Choose another name" in getattr(found.exception, "hint")  # noqa: B009
    run_verb("keys", "init", tmp_path / "another")
