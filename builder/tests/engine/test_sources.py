"""Package sources: those of the configuration, or the building machine's own Debian ones."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from proa.builder.config.image_settings import ReleaseConfig, SourceConfig, SystemConfig
from proa.builder.config.loading import load
from proa.builder.config.settings import Config
from proa.builder.engine import sources
from proa.builder.engine.sources import Archive, archives, stanzas
from proa.core.runtime.errors import Code, ProaError, ProaErrors

DEB822 = """\
# a comment
Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main contrib

Types: deb deb-src
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
deb [arch=amd64 signed-by=/x.gpg] http://other.test/debian/ bookworm-backports main
deb http://mirror.test/debian bookworm main # again
deb-src http://mirror.test/debian bookworm main
deb https://packages.vendor.test/apt vendor-bookworm main
deb cdrom:[disc]/ bookworm main
"""


def machine(folder: Path, codename: str = "bookworm") -> tuple[Path, Path]:
    """apt's folder and the keyrings of a made-up machine."""
    apt, keyrings = folder / "apt", folder / "keyrings"
    (apt / "sources.list.d").mkdir(parents=True)
    keyrings.mkdir()
    (folder / "os-release").write_text(f"ID=debian\nVERSION_CODENAME={codename}\n")
    (apt / "sources.list").write_text(ONE_LINE)
    (apt / "sources.list.d" / "debian.sources").write_text(DEB822)
    for suite in ("bookworm", "trixie"):
        (keyrings / f"debian-archive-{suite}-stable.gpg").write_bytes(suite.encode())
    return apt, keyrings


def config_for(suite: str = "bookworm", source: tuple[SourceConfig, ...] = ()) -> Config:
    return Config(ReleaseConfig("node", "1.0.0"), system=SystemConfig(suite=suite), source=source)


def test_the_machines_own_debian_sources_and_no_others(tmp_path: Path) -> None:
    apt, keyrings = machine(tmp_path)
    found = archives(config_for(), tmp_path, machine=apt, keyrings=keyrings)
    keys = (keyrings / "debian-archive-bookworm-stable.gpg",)
    assert found == (
        Archive("http://mirror.test/debian", ("bookworm", "bookworm-updates"), ("main",), keys),
        Archive("http://mirror.test/debian-security", ("bookworm-security",), ("main",), keys),
    )


def test_another_release_comes_from_the_same_mirrors(tmp_path: Path) -> None:
    apt, keyrings = machine(tmp_path)
    found = archives(config_for("trixie"), tmp_path, machine=apt, keyrings=keyrings)
    assert [suite for archive in found for suite in archive.suites] == ["trixie", "trixie-updates", "trixie-security"]
    assert found[0].keyrings == (keyrings / "debian-archive-trixie-stable.gpg",)


def test_a_machine_that_is_not_debian_has_none(tmp_path: Path) -> None:
    apt, keyrings = machine(tmp_path, "jammy")
    with pytest.raises(ProaError) as raised:
        archives(config_for(), tmp_path, machine=apt, keyrings=keyrings)
    assert (raised.value.code, "[[source]]" in raised.value.hint) == (Code.CONFIG_MISSING, True)


def test_a_machine_without_the_suites_keys(tmp_path: Path) -> None:
    apt, keyrings = machine(tmp_path)
    (keyrings / "debian-archive-trixie-stable.gpg").unlink()
    with pytest.raises(ProaError) as raised:
        archives(config_for("trixie"), tmp_path, machine=apt, keyrings=keyrings)
    assert raised.value.code is Code.FILE_MISSING


def test_the_configurations_sources_stand_alone(tmp_path: Path) -> None:
    apt, keyrings = machine(tmp_path)
    given = SourceConfig(uri="http://own.test/d/", suites=("bookworm",), signed_by="own.gpg")
    (found,) = archives(config_for(source=(given,)), tmp_path, machine=apt, keyrings=keyrings)
    assert found.keyrings == (tmp_path / "own.gpg",)
    assert found.stanza([Path("/k.asc")]) == (
        "Types: deb\nURIs: http://own.test/d\nSuites: bookworm\nComponents: main\nSigned-By: /k.asc\n"
    )


def test_b04_the_configurations_sources_stand_beside_the_machines(tmp_path: Path) -> None:
    apt, keyrings = machine(tmp_path)
    given = SourceConfig(uri="http://own.test/d/", suites=("/",), signed_by="own.gpg")
    both = SystemConfig(machine_sources=True)
    config = Config(ReleaseConfig("node", "1.0.0"), system=both, source=(given,))
    found = archives(config, tmp_path, machine=apt, keyrings=keyrings)
    assert [archive.uri for archive in found] == [
        "http://mirror.test/debian",
        "http://mirror.test/debian-security",
        "http://own.test/d",
    ]


def test_b04_suites_and_flat_folders_of_one_mirror_are_two_sources() -> None:
    both = Archive("file:/m", ("/", "sub/", "a", "b"), ("main", "x"), (), valid_until=False)
    assert both.stanza([]) == (
        "Types: deb\nURIs: copy:/m\nSuites: a b\nComponents: main x\nTrusted: yes\nCheck-Valid-Until: no\n\n"
        "Types: deb\nURIs: copy:/m\nSuites: / sub/\nTrusted: yes\nCheck-Valid-Until: no\n"
    )


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("suites", '["/"]', True),
        ("suites", '["./", "stable/updates", "bookworm"]', True),
        ("suites", '["book worm"]', False),
        ("uri", '"mirror+https://x.test/mirrors.txt"', True),
        ("uri", '"mirror+file:/etc/mirrors"', True),
        ("uri", '"ftp://x.test/debian"', False),
        ("check_valid_until", "false", True),
    ],
)
def test_b04_what_apt_takes_is_taken(tmp_path: Path, key: str, value: str, good: bool) -> None:
    values = {"uri": '"http://x.test/d"', "suites": '["a"]'} | {key: value}
    lines = [f"{name} = {text}" for name, text in values.items()]
    (tmp_path / "proa.toml").write_text(
        "\n".join(['[release]\nname = "node"\nversion = "1.0.0"\n[[source]]', *lines, ""])
    )
    if good:
        load(tmp_path / "proa.toml")
    else:
        with pytest.raises(ProaErrors):
            load(tmp_path / "proa.toml")


def test_stanzas_keep_continued_lines() -> None:
    text = "Package: a\nDescription: short\n long\n .\n\n\n# note\nPackage: b\n"
    assert list(stanzas(text)) == [{"Package": "a", "Description": "short\nlong\n."}, {"Package": "b"}]


def test_sources_are_described_by_the_content_of_their_keys(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gpg", tmp_path / "other.gpg"
    one.write_bytes(b"key")
    other.write_bytes(b"key")
    described = [sources.describe([Archive("u", ("s",), ("c",), (path,))]) for path in (one, other)]
    assert described[0] == described[1]


@pytest.mark.parametrize("armored", [False, True])
def test_keys_in_a_folder_with_blanks_stand_in_the_stanza_itself(tmp_path: Path, armored: bool) -> None:
    """apt splits the paths of Signed-By at blanks."""
    folder, key = tmp_path / "a longer path", bytes(range(200))
    folder.mkdir()
    keyring = folder / "key"
    head, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
    body = base64.encodebytes(key).decode()
    keyring.write_bytes(f"{head}\nComment: ours\n\n{body}=abcd\n{end}\n".encode() if armored else key)
    archive = Archive(f"file:{folder}", ("stable",), ("main",), (keyring,))
    (fields,) = stanzas(archive.stanza([keyring]))
    assert fields["URIs"] == f"copy:{tmp_path}/a%20longer%20path"
    first, *lines, last = fields["Signed-By"].strip().splitlines()
    assert (first, lines[0], last) == (head, ".", end)
    assert base64.b64decode("".join(lines[1:])) == key
    (plain,) = stanzas(archive.stanza([Path("/k/a.gpg"), Path("/k/b.gpg")]))
    assert plain["Signed-By"] == "/k/a.gpg /k/b.gpg"


def test_b12_sources_with_keys_of_others_are_not_debians(tmp_path: Path) -> None:
    _, keyrings = machine(tmp_path)
    debians = str(keyrings / "debian-archive-bookworm-stable.gpg")
    given = (
        SourceConfig("https://mirror.test/debian", ("bookworm",)),
        SourceConfig("https://mirror.test/again", ("bookworm",), signed_by=debians),
        SourceConfig("https://pkgs.vendor.test/deb/", ("/",), (), signed_by="vendor.asc"),
    )
    assert sources.others(config_for(source=given), tmp_path, keyrings=keyrings) == ("https://pkgs.vendor.test/deb",)
