"""proa.toml: read, checked, completed; every error at once with its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from proa.builder.config.loading import load
from proa.builder.config.settings import SECTIONS, Config
from proa.builder.config.transfer import from_document
from proa.core.runtime.errors import Code, Exit, ProaError, ProaErrors

GOOD = """
[release]
name = "node"
version = "1.2.3"
"""


def write_config(folder: Path, text: str) -> Path:
    path = folder / "proa.toml"
    path.write_text(text)
    return path


def errors_of(folder: Path, text: str, **options: Any) -> list[tuple[str, str, str]]:
    """Code, place without the path, message."""
    path = write_config(folder, text)
    with pytest.raises(ProaErrors) as raised:
        load(path, **options)
    assert raised.value.exit is Exit.USAGE
    return [(error.code.name, error.at.removeprefix(f"{path}:"), error.message) for error in raised.value.errors]


def test_the_least_configuration(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path, GOOD))
    release = loaded.config.release
    assert (release.name, release.version, release.serial, release.compatible) == ("node", "1.2.3", 1002003, "node")
    assert loaded.config.disk.boot == 264 << 20
    assert loaded.origins["release.name"] == f"{tmp_path}/proa.toml:3:1"
    assert loaded.origins["release.serial"] == "derived"
    assert loaded.origins["disk.boot"] == "default"


def test_the_version_of_the_command_line_wins(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path, GOOD), version="2.0.1")
    assert (loaded.config.release.version, loaded.config.release.serial) == ("2.0.1", 2000001)
    assert loaded.origins["release.version"] == "--version"


def test_a_version_that_is_only_given_on_the_command_line(tmp_path: Path) -> None:
    path = write_config(tmp_path, '[release]\nname = "node"\n')
    assert load(path, version="3.0.0").config.release.serial == 3000000
    assert errors_of(tmp_path, '[release]\nname = "node"\n')[0][0] == "CONFIG_MISSING"


def test_a_serial_that_does_not_follow_must_be_given(tmp_path: Path) -> None:
    found = errors_of(tmp_path, '[release]\nname = "node"\nversion = "2026-01"\n')
    assert found == [
        (
            "CONFIG_MISSING",
            "3:11",
            "'release.serial' is missing, and cannot be derived from version \"2026-01\", which is not X.Y.Z",
        )
    ]


def test_all_errors_come_at_once_with_their_places(tmp_path: Path) -> None:
    text = """
[release]
nmae = "x"
version = "1.0.0"
[system]
suite = "bookwrm"
packages = ["good", "Bad One",
  "good"]
[[user]]
uid = 1
[[user]]
name = "b"
sector_size = 512
[disc]
size = 1
[disk]
root = "5 MB"
"""
    found = errors_of(tmp_path, text)
    assert [(code, at) for code, at, _ in found] == [
        ("CONFIG_MISSING", "2:2"),
        ("CONFIG_UNKNOWN_KEY", "3:1"),
        ("CONFIG_VALUE", "6:9"),
        ("CONFIG_VALUE", "7:21"),
        ("CONFIG_VALUE", "8:3"),
        ("CONFIG_MISSING", "9:3"),
        ("CONFIG_UNKNOWN_KEY", "13:1"),
        ("CONFIG_UNKNOWN_KEY", "14:2"),
        ("CONFIG_VALUE", "17:8"),
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[relaese]\nname = "x"', "Did you mean 'release'?"),
        ("[release]\nsector_size = 512", "'sector_size' belongs in [disk]."),
        ("[build]\nqqqq = 512", "Known here: compression, budget, formats."),
        ('[[source]]\nurl = "x"', "Did you mean 'uri'?"),
    ],
)
def test_an_unknown_key_has_the_nearest_name(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ProaErrors) as raised:
        load(write_config(tmp_path, text))
    assert hint in [error.hint for error in raised.value.errors if error.code is Code.CONFIG_UNKNOWN_KEY]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[release]\nname = \n", "2:8"),
        ('[release]\nname = "x\n', "2:10"),
        ("a = 1\na = 2\n", "2:6"),
        ("[release]\nversion = [1,\n", "2:14"),
    ],
)
def test_what_is_not_toml(tmp_path: Path, text: str, place: str) -> None:
    path = write_config(tmp_path, text)
    with pytest.raises(ProaError) as raised:
        load(path)
    assert raised.value.code is Code.CONFIG_SYNTAX
    assert raised.value.at == f"{path}:{place}"


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "{a=" * 5000 + "1" + "}" * 5000], ids=["lists", "tables"])
def test_what_is_nested_too_deeply(tmp_path: Path, value: str) -> None:
    path = write_config(tmp_path, f"[system]\nsuite = {value}\n")
    with pytest.raises(ProaError, match="nested too deeply") as raised:
        load(path)
    assert (raised.value.code, raised.value.at) == (Code.CONFIG_SYNTAX, f"{path}:1:1")


@pytest.mark.parametrize("value", [".a" * 5000 + " = 1", " = [{a" + ".a" * 5000 + " = 1}]"], ids=["table", "list"])
def test_a_value_of_deep_dotted_keys_is_refused_as_any_other(tmp_path: Path, value: str) -> None:
    path = write_config(tmp_path, '[release]\nname = "node"\nversion = "1.0.0"\n[system]\nsuite' + value + "\n")
    with pytest.raises(ProaErrors, match="is not one of") as raised:
        load(path)
    assert raised.value.code is Code.CONFIG_VALUE


def test_what_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "proa.toml").write_bytes(b"[release]\nname = '\xff'\n")
    with pytest.raises(ProaError) as raised:
        load(tmp_path / "proa.toml")
    assert (raised.value.code, raised.value.at[-4:]) == (Code.CONFIG_SYNTAX, ":2:1")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as raised:
        load(tmp_path / "proa.toml")
    assert raised.value.code is Code.FILE_MISSING


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('user = "x"\n' + GOOD, "'user' must be written as [[user]]"),
        (GOOD + "[user]\nname = 'x'\n", "'user' must be written as [[user]]"),
        ("[[release]]\nname = 'x'\n", "'release' must be written as [release]"),
    ],
)
def test_tables_and_arrays_of_tables_are_not_mixed(tmp_path: Path, text: str, message: str) -> None:
    assert message in [found[2] for found in errors_of(tmp_path, text)]


def test_every_section_of_the_table_is_a_field(tmp_path: Path) -> None:
    assert [section.name for section in SECTIONS] == [field.name for field in dataclasses.fields(Config)]


def test_a_configuration_survives_json(tmp_path: Path) -> None:
    text = GOOD + '[[user]]\nname = "a"\ngroups = ["x"]\n[[hook]]\nat = "tree-after"\nrun = "hook"\n'
    (tmp_path / "hook").write_text("#!/bin/sh\n")
    (tmp_path / "hook").chmod(0o755)
    path = write_config(tmp_path, text)
    config = load(path).config
    assert from_document(dataclasses.asdict(config)) == config
