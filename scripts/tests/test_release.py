"""A release is a commit, is built twice, and is signed so that openssl and sha256sum can check it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import run
from proa.core.signing.keys import Algorithm, PrivateKey
from upkeep import release
from upkeep.release import Order

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "boat"
requires-python = ">=3.11"
dynamic = ["version"]

[tool.hatch.version]
path = "boat.py"
pattern = '^VERSION = "(?P<version>[^"]+)"'

[tool.hatch.build.targets.wheel]
only-include = ["boat.py", "made.txt"]
artifacts = ["made.txt"]
"""
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-01\n\n### Added\n\n- A boat.\n"
RANDOM = """\
import os
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        Path(self.root, "made.txt").write_text(os.urandom(8).hex())
"""
IGNORED = "made.txt\ndist/\n"


def git(tree: Path, *words: str) -> None:
    run(["git", "-C", tree, "-c", "user.name=A", "-c", "user.email=a@example.org", *words])


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=boat: sail")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for name, text in (("pyproject.toml", PYPROJECT), ("CHANGELOG.md", CHANGELOG), (".gitignore", IGNORED)):
        (folder / name).write_text(text)
    (folder / "boat.py").write_text('VERSION = "1.2.3"\n')
    commit(folder)
    return folder


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    key = Algorithm.ECDSA_P256.generate()
    (tmp_path / "release.key").write_bytes(key.pem)
    (tmp_path / "release.pub").write_bytes(key.public.pem)
    return key


def refused(code: Code, *, match: str) -> pytest.RaisesExc[ProaError]:
    return pytest.RaisesExc(ProaError, match=match, check=lambda error: error.code is code)


def test_a_signed_release(tree: Path, key: PrivateKey, tmp_path: Path) -> None:
    (tree / "dist").mkdir()
    (tree / "dist" / "of-the-last-one").touch()
    names = release.make(Order(tree, tree / "dist", key))
    assert names == ("NOTES.md", "SHA256SUMS", "SHA256SUMS.sig", "boat-1.2.3-py3-none-any.whl", "boat-1.2.3.tar.gz")
    assert (tree / "dist" / "NOTES.md").read_text().startswith("# Proa 1.2.3\n\n## Added\n\n- A boat.\n")
    checked = run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tree / "dist").text
    assert [line.split(":")[0] for line in checked.splitlines()] == [one for one in names if "SUMS" not in one]
    words = ["openssl", "dgst", "-sha256", "-verify", str(tmp_path / "release.pub"), "-signature", "SHA256SUMS.sig"]
    assert run([*words, "SHA256SUMS"], cwd=tree / "dist").text == "Verified OK\n"
    (tree / "dist" / "SHA256SUMS").write_text("altered\n")
    assert run([*words, "SHA256SUMS"], cwd=tree / "dist", check=False).status == 1


@pytest.mark.contract
def test_another_machine_builds_the_same(tree: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(tree), str(tmp_path / "clone"))
    (tmp_path / "clone" / "boat.py").touch()
    (tmp_path / "clone" / "not-committed.py").write_text("stays out\n")
    for name in ("tree", "clone"):
        release.make(Order(tmp_path / name, tmp_path / f"{name}.dist", None))
    first, second = ((tmp_path / f"{name}.dist" / "SHA256SUMS").read_text() for name in ("tree", "clone"))
    assert first == second
    assert first.count("\n") == 3


def test_builds_that_differ_are_no_release(tree: Path) -> None:
    (tree / "hatch_build.py").write_text(RANDOM)
    with (tree / "pyproject.toml").open("a") as file:
        file.write('\n[tool.hatch.build.targets.wheel.hooks.custom]\npath = "hatch_build.py"\n')
    commit(tree)
    with refused(Code.INTERNAL, match=r"differ in boat-1\.2\.3-py3-none-any\.whl$"):
        release.make(Order(tree, tree / "dist", None))
    assert not (tree / "dist").exists()


def test_what_is_not_committed_is_never_signed(tree: Path, key: PrivateKey) -> None:
    (tree / "boat.py").write_text('VERSION = "1.2.3"\nBAD = True\n')
    with refused(Code.USAGE, match="uncommitted changes"):
        release.make(Order(tree, tree / "dist", key))


def test_a_version_without_changes_is_no_release(tree: Path) -> None:
    (tree / "boat.py").write_text('VERSION = "1.2.4"\n')
    commit(tree)
    with refused(Code.USAGE, match=r"no changes of version 1\.2\.4"):
        release.make(Order(tree, tree / "dist", None))


def test_the_key_is_read(key: PrivateKey, tmp_path: Path) -> None:
    read = release.load_key(tmp_path / "release.key", unsigned=False)
    assert read is not None
    assert read.public == key.public
    assert release.load_key(None, unsigned=True) is None


def test_openssl_makes_a_key_that_fits(tmp_path: Path) -> None:
    path = tmp_path / "made.key"
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path])
    assert release.load_key(path, unsigned=False) is not None


@pytest.mark.parametrize(("given", "unsigned"), [(False, False), (True, True)])
def test_neither_and_both_are_refused(given: bool, unsigned: bool, key: PrivateKey, tmp_path: Path) -> None:
    with refused(Code.USAGE, match="a release"):
        release.load_key(tmp_path / "release.key" if given else None, unsigned)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "release.key").write_bytes(Algorithm.ED25519.generate().pem)
    with refused(Code.KEY, match="P-256"):
        release.load_key(tmp_path / "release.key", unsigned=False)
