"""Package sources: those of the configuration, or the building machine's own Debian ones."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proa.builder.config.settings import Config, ReleaseConfig, SourceConfig, SystemConfig
from proa.builder.engine import sources
from proa.builder.engine.sources import Archive, archives, indexes, newest, stanzas
from proa.core.runtime.errors import Code, ProaError

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
    assert found.stanza() == (
        f"Types: deb\nURIs: http://own.test/d\nSuites: bookworm\nComponents: main\nSigned-By: {tmp_path / 'own.gpg'}\n"
    )


def test_stanzas_keep_continued_lines() -> None:
    text = "Package: a\nDescription: short\n long\n .\n\n\n# note\nPackage: b\n"
    assert list(stanzas(text)) == [{"Package": "a", "Description": "short\nlong\n."}, {"Package": "b"}]


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """A web server for a folder; its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def put_index(folder: Path, suite: str, date: str) -> None:
    place = folder / "dists" / suite
    place.mkdir(parents=True)
    (place / "InRelease").write_text(f"Origin: Debian\nDate: {date}\n")


def test_indexes_are_hashed_and_dated(tmp_path: Path) -> None:
    put_index(tmp_path, "bookworm", "Sat, 11 Jan 2025 10:32:14 UTC")
    put_index(tmp_path, "bookworm-updates", "Sun, 12 Jan 2025 10:32:14 UTC")
    with mirror(tmp_path) as uri:
        found = indexes([Archive(uri, ("bookworm", "bookworm-updates"), ("main",), ())])
    assert [index.date for index in found] == [1736591534, 1736677934]
    assert newest(found) == 1736677934
    assert len({index.digest for index in found}) == 2
    local = indexes([Archive(f"file:{tmp_path}", ("bookworm",), ("main",), ())])
    assert local[0].digest == found[0].digest


def test_a_suite_that_the_mirror_does_not_have(tmp_path: Path) -> None:
    with mirror(tmp_path) as uri, pytest.raises(ProaError) as raised:
        indexes([Archive(uri, ("bookworm",), ("main",), ())])
    assert (raised.value.code, raised.value.at) == (Code.MIRROR, f"{uri}/dists/bookworm/InRelease")
    assert "404" in raised.value.message


def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    with mirror(tmp_path) as uri:
        pass
    with pytest.raises(ProaError) as raised:
        indexes([Archive(uri, ("bookworm",), ("main",), ())])
    assert raised.value.code is Code.MIRROR
    assert "refused" in raised.value.message
    assert "object at" not in raised.value.message


def test_sources_are_described_by_the_content_of_their_keys(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gpg", tmp_path / "other.gpg"
    one.write_bytes(b"key")
    other.write_bytes(b"key")
    described = [sources.describe([Archive("u", ("s",), ("c",), (path,))]) for path in (one, other)]
    assert described[0] == described[1]
