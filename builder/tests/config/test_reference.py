"""What is generated from the settings table agrees with what the checker does."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from proa.builder.config import reference
from proa.builder.config.loading import load
from proa.builder.config.setting import Setting
from proa.builder.config.settings import SECTIONS

SETTINGS = [setting for section in SECTIONS for setting in section.settings]


def test_the_template_is_a_good_configuration(tmp_path: Path) -> None:
    path = tmp_path / "proa.toml"
    path.write_text(reference.template())
    loaded = load(path)
    assert "openssh-server" in loaded.config.system.packages
    jsonschema.validate(tomllib.loads(path.read_text()), reference.schema())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(reference.schema())


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_shown_and_its_examples_hold(setting: Setting) -> None:
    assert f"| `{setting.key}` |" in reference.page()
    assert re.search(rf"^(# +)?{setting.key} = ", reference.template(), re.MULTILINE)
    for value in (setting.example, setting.default):
        if value is not None and value != "":
            setting.kind.read(value)
            jsonschema.validate(value, setting.kind.schema)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_sentence_is_one(setting: Setting) -> None:
    assert setting.doc[0].isupper() or setting.doc[0] == "`"
    assert setting.doc.endswith(".")


def test_defaults_of_the_table_are_defaults_of_the_schema() -> None:
    properties = reference.schema()["properties"]
    assert properties["disk"]["properties"]["boot"]["default"] == "264 MiB"
    assert "default" not in properties["disk"]["properties"]["size"]
    assert properties["user"]["items"]["required"] == ["name"]


def test_s04_init_proposes_that_a_release_expires(tmp_path: Path) -> None:
    path = tmp_path / "proa.toml"
    path.write_text(reference.template(datetime(2026, 11, 30, 16, tzinfo=UTC)))
    assert load(path).config.release.expires == "2027-11-30T00:00:00Z"
    assert "\nexpires" not in reference.template()
