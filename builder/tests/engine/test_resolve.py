"""Which packages a build comes to: from archives of every form, from a lock, and from what is kept.

The archives are folders with packages made here; apt and gpg are the real ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.builder.build import pipeline
from proa.builder.build.pipeline import BuildOrder
from proa.builder.config.loading import load
from proa.builder.engine import resolve
from proa.builder.engine.cache import StepCache
from proa.builder.engine.resolve import Request, Supply
from proa.builder.engine.sources import Archive
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.events import SILENT

pytestmark = pytest.mark.contract
MADE = 1_600_000_000


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    resolve.forget()
    yield
    resolve.forget()


def deb(folder: Path, name: str, version: str = "1", *, depends: str = "", essential: bool = False) -> Path:
    """A package without files."""
    control = folder / "made" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True, exist_ok=True)
    lines = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "Me <me@example.net>"}
    lines |= {"Depends": depends} if depends else {}
    lines |= {"Essential": "yes"} if essential else {}
    control.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()) + "Description: made\n")
    target = folder / f"{name}_{version.replace(':', '%3a')}_all.deb"
    words = ["dpkg-deb", "--build", "--root-owner-group", str(folder / "made"), str(target)]
    subprocess.run(
        words, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": str(MADE)}
    )
    return target


def index(folder: Path, below: str = "") -> None:
    """The index of a flat repository."""
    stanzas = []
    for path in sorted(folder.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "-f", path], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        place = f"{below}{path.name}"
        stanzas.append(f"{control}Filename: {place}\nSize: {path.stat().st_size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(stanzas))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A flat archive: an essential package, two versions of another, and one that needs it."""
    folder = tmp_path / "archive"
    folder.mkdir()
    deb(folder, "base", "1:2.0-1", essential=True)
    deb(folder, "kubelet", "1.30.1-1.1")
    deb(folder, "kubelet", "1.30.10-1.1")
    deb(folder, "kubelet", "1.31.0-1.1")
    deb(folder, "tools", depends="kubelet")
    deb(folder, "beside")
    index(folder)
    return folder


def request(folder: Path, archive: Path, *wanted: str, suites: tuple[str, ...] = ("./",)) -> Request:
    return Request(
        architecture="amd64",
        wanted=wanted,
        beside=("beside",),
        recommends=False,
        archives=(Archive(f"file:{archive}", suites, (), ()),),
        debs=(),
        lock=folder / resolve.LOCK,
        cache=folder / "cache",
    )


def versions(found: resolve.Resolved) -> dict[str, str]:
    return {one.name: one.version for one in found.root}


@pytest.mark.parametrize(
    ("word", "version"),
    [("kubelet", "1.31.0-1.1"), ("kubelet=1.30.*", "1.30.10-1.1"), ("kubelet=1.30.1-*", "1.30.1-1.1")],
)
def test_b04_a_version_may_be_a_pattern(tmp_path: Path, archive: Path, word: str, version: str) -> None:
    found = resolve.resolve(request(tmp_path, archive, "tools", word))
    assert versions(found) == {"base": "1:2.0-1", "kubelet": version, "tools": "1"}
    assert [one.name for one in found.beside] == ["beside"]


@pytest.mark.parametrize("suite", ["/", "./", "sub/", "deep/er/"])
def test_b04_flat_repositories_lie_in_any_folder(tmp_path: Path, archive: Path, suite: str) -> None:
    below = tmp_path / "mirror" / suite.strip("/.")
    below.parent.mkdir(parents=True, exist_ok=True)
    archive.rename(below)
    index(below, suite.lstrip("/."))
    found = resolve.resolve(request(tmp_path, tmp_path / "mirror", "tools", suites=(suite,)))
    assert versions(found)["kubelet"] == "1.31.0-1.1"


def sign(folder: Path, home: Path, *, armored: bool) -> Path:
    """Sign a flat repository with a new key; the keyring, in a folder that nobody else may read."""
    home.mkdir(mode=0o700)
    gpg = [
        "gpg",
        "--homedir",
        str(home),
        "--batch",
        "--quiet",
        "--yes",
        "--passphrase",
        "",
        "--pinentry-mode",
        "loopback",
    ]
    subprocess.run([*gpg, "--quick-generate-key", "me@example.net", "ed25519", "sign"], check=True, capture_output=True)
    data = (folder / "Packages").read_bytes()
    sums = f" {hashlib.sha256(data).hexdigest()} {len(data)} Packages\n"
    (folder / "Release").write_text(f"Origin: me\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n{sums}")
    sign_words = ["--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release")]
    subprocess.run([*gpg, *sign_words], check=True, capture_output=True)
    keyring = home / "keys with any name"
    export = [*gpg, *(["--armor"] if armored else []), "--export"]
    keyring.write_bytes(subprocess.run(export, check=True, capture_output=True).stdout)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, capture_output=True)
    return keyring


@pytest.mark.parametrize("armored", [False, True])
def test_b04_keys_lie_in_any_folder_and_have_either_form(tmp_path: Path, archive: Path, armored: bool) -> None:
    keyring = sign(archive, tmp_path / "gpg", armored=armored)
    asked = request(tmp_path, archive, "tools")
    signed = dataclasses.replace(asked, archives=(dataclasses.replace(asked.archives[0], keyrings=(keyring,)),))
    assert "tools" in versions(resolve.resolve(signed))
    (archive / "InRelease").write_text((archive / "InRelease").read_text().replace("Origin: me", "Origin: no"))
    resolve.forget()
    with pytest.raises(ProaError) as raised:
        resolve.resolve(dataclasses.replace(signed, cache=tmp_path / "other"))
    assert (raised.value.code, "signed_by" in raised.value.hint) == (Code.MIRROR, True)


def test_b04_packages_of_the_users_own_need_no_repository(tmp_path: Path, archive: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    deb(own, "mine", "1:0.1", depends="kubelet (>= 1.30)")
    asked = dataclasses.replace(request(tmp_path, archive, "mine"), debs=(own,))
    found = resolve.resolve(asked)
    assert versions(found) == {"base": "1:2.0-1", "kubelet": "1.31.0-1.1", "mine": "1:0.1"}
    resolve.fetch(asked, found)
    assert len(list(asked.files.glob("*.deb"))) == 4
    assert resolve.origins(found, ()) == {"mine": "local"}


def test_b02_a_push_that_changes_no_package_of_ours_changes_nothing(tmp_path: Path, archive: Path) -> None:
    asked = request(tmp_path, archive, "tools")
    before = resolve.resolve(asked)
    resolve.fetch(asked, before)
    assert resolve.newest(asked, before) == MADE
    deb(archive, "unrelated", "9")
    index(archive)
    resolve.forget()
    after = resolve.resolve(asked)
    assert (after.identities(), resolve.newest(asked, after)) == (before.identities(), MADE)


def test_b02_one_that_changes_a_package_of_ours_is_seen(tmp_path: Path, archive: Path) -> None:
    asked = request(tmp_path, archive, "tools")
    before = resolve.resolve(asked)
    deb(archive, "kubelet", "1.31.1-1.1")
    index(archive)
    resolve.forget()
    after = resolve.resolve(asked)
    assert resolve.changes(before.all, after.all) == {
        "added": [],
        "removed": [],
        "changed": ["kubelet 1.31.0-1.1 -> 1.31.1-1.1"],
    }


def test_b02_another_mirror_with_the_same_packages_is_the_same(tmp_path: Path, archive: Path) -> None:
    one = resolve.resolve(request(tmp_path, archive, "tools"))
    other = archive.rename(tmp_path / "mirror")
    assert resolve.resolve(request(tmp_path, other, "tools")).identities() == one.identities()


def test_b03_a_lock_says_which_packages_whatever_the_mirror_has(tmp_path: Path, archive: Path) -> None:
    asked = request(tmp_path, archive, "tools", "kubelet=1.30.*")
    before = resolve.resolve(asked)
    asked.lock.write_text(before.text())
    assert resolve.read_lock(asked.lock) == before
    deb(archive, "kubelet", "1.30.11-1.1")
    index(archive)
    resolve.forget()
    locked = dataclasses.replace(asked, supply=Supply(locked=True))
    found = resolve.resolve(locked)
    assert found == before
    resolve.fetch(locked, found)
    assert resolve.newest(locked, found) == MADE


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(("tools", "curl"), "the lock does not have curl"), (("tools", "kubelet=2"), "the lock has kubelet 1.31.0-1.1")],
)
def test_b03_a_lock_that_lacks_what_is_asked_for_is_refused(
    tmp_path: Path, archive: Path, wanted: tuple[str, ...], said: str
) -> None:
    asked = request(tmp_path, archive, "tools")
    asked.lock.write_text(resolve.resolve(asked).text())
    with pytest.raises(ProaError) as raised:
        resolve.resolve(dataclasses.replace(asked, wanted=wanted, supply=Supply(locked=True)))
    assert said in raised.value.message
    assert "--update" in raised.value.hint


@pytest.mark.parametrize("text", ["root bash 1 amd64 short uri\n", "what\n", "root a\n"])
def test_b03_a_lock_that_was_edited_wrongly_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(f"# a comment\n\n{text}")
    with pytest.raises(ProaError) as raised:
        resolve.read_lock(tmp_path / "lock")
    assert raised.value.at == f"{tmp_path / 'lock'}:3:1"


def test_b03_without_network_the_last_answer_counts(tmp_path: Path, archive: Path) -> None:
    asked = request(tmp_path, archive, "tools")
    offline = dataclasses.replace(asked, supply=Supply(offline=True))
    with pytest.raises(ProaError) as raised:
        resolve.resolve(offline)
    assert raised.value.code is Code.MIRROR
    before = resolve.resolve(asked)
    with pytest.raises(ProaError) as raised:
        resolve.fetch(offline, before)
    assert "not cached, and nothing may be fetched" in raised.value.message
    resolve.fetch(asked, before)
    archive.rename(tmp_path / "gone")
    assert resolve.resolve(offline) == before
    resolve.fetch(offline, before)


def test_b03_a_kept_file_that_was_damaged_is_fetched_again(tmp_path: Path, archive: Path) -> None:
    asked = request(tmp_path, archive, "tools")
    found = resolve.resolve(asked)
    resolve.fetch(asked, found)
    damaged = next(asked.files.glob("*.deb"))
    damaged.write_bytes(b"damaged")
    resolve.fetch(asked, found)
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == damaged.stem


def test_b03_a_mirror_that_gives_other_bytes_is_not_believed(tmp_path: Path, archive: Path) -> None:
    asked = request(tmp_path, archive, "tools")
    found = resolve.resolve(asked)
    target = archive / "tools_1_all.deb"
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    with pytest.raises(ProaError) as raised:
        resolve.fetch(asked, found)
    assert raised.value.code is Code.MIRROR
    assert not (asked.files / f"{next(one.sha256 for one in found.root if one.name == 'tools')}.deb").exists()


def test_b09_wrong_names_are_told_with_their_line_and_the_nearest(tmp_path: Path, archive: Path) -> None:
    path = tmp_path / "proa.toml"
    path.write_text(
        '[release]\nname = "node"\nversion = "1.0.0"\n[system]\n'
        'packages = ["base", "kubelt", "kubelet=9.*"]\n[kernel]\npackage = "tool"\n'
        f'[[source]]\nuri = "file:{archive}"\nsuites = ["./"]\n'
    )
    order = BuildOrder(load(path), tmp_path / "out", None, StepCache(tmp_path / "cache"), SILENT)
    keyring = sign(archive, tmp_path / "gpg", armored=True)
    path.write_text(path.read_text() + f'signed_by = "{keyring}"\n')
    with pytest.raises(ProaErrors) as raised:
        pipeline.resolved(dataclasses.replace(order, loaded=load(path)))
    told = {error.at.removeprefix(f"{path}:"): (error.message, error.hint) for error in raised.value.errors}
    assert told["5:21"] == ("there is no package 'kubelt'", "Did you mean 'kubelet'?")
    assert told["7:1"] == ("there is no package 'tool'", "Did you mean 'tools'?")


def test_b09_a_mirror_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as raised:
        resolve.resolve(request(tmp_path, tmp_path / "nowhere", "tools"))
    assert raised.value.code is Code.MIRROR
