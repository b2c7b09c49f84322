"""A registry's settings as options of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from proa.core.oci.access import Access
from proa.core.oci.options import access, registry_options


def given(*words: str) -> Access:
    """What the options say."""
    found: list[Access] = []

    @click.command()
    @registry_options
    def verb(**choices: Any) -> None:
        found.append(access(choices))

    verb.main(list(words), standalone_mode=False)
    return found[0]


def test_without_options_all_is_as_usual() -> None:
    assert given() == Access()


def test_each_setting_is_what_its_type_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is named by its whole path; a proxy stays the address that it is."""
    monkeypatch.chdir(tmp_path)
    words = ("--proxy", "http://proxy.example:3128", "--no-proxy", "10.0.0.0/8,.example", "--plain-http")
    assert given(*words, "--auth-file", "auth.json") == Access(
        proxy="http://proxy.example:3128",
        no_proxy="10.0.0.0/8,.example",
        plain_http=True,
        auth_file=tmp_path / "auth.json",
    )
