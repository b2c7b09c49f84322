"""``make release``: wheel, source distribution, notes, checksums and a signature over them, into ``dist``.

A release is a commit: what is built is an export of it, whatever else lies in the work tree, with the commit's time as
``SOURCE_DATE_EPOCH``. It is built twice, and both must have the same bytes. Before that the unit tests pass on Python
3.11 and on 3.13.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from proa.core.runtime import process
from proa.core.runtime.cli import end_politely, run_command
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import sha256
from proa.core.signing import keys
from upkeep import changelog, python313
from upkeep.lines import ROOT
from upkeep.version import read_version

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = f"{SUMS}.sig"
NOTES: Final = "NOTES.md"
PYTHON: Final = (3, 11)
"""The Python of Debian 12, on which releases are made."""
_CHECK: Final = f"""
## Check what you have

```sh
openssl dgst -sha256 -verify release.pub -signature {SIGNATURE} {SUMS}
sha256sum --check {SUMS}
```
"""


@dataclass(frozen=True)
class Order:
    """What is to be released, and how.

    Attributes:
        tree: The repository.
        out: The folder for it; what was there is replaced.
        key: The key that signs; none for a release that nobody else is to get.
    """

    tree: Path
    out: Path
    key: keys.PrivateKey | None


@dataclass(frozen=True)
class Commit:
    """The commit that is released.

    Attributes:
        id: Its hash.
        time: When it was made, in seconds since 1970.
        is_all: Whether the work tree has nothing beside it.
    """

    id: str
    time: int
    is_all: bool


def load_key(path: Path | None, unsigned: bool) -> keys.PrivateKey | None:
    """The key that signs.

    Args:
        path: The PEM file with it.
        unsigned: Whether to go without one.

    Raises:
        ProaError: ``USAGE`` if neither or both are given, ``KEY`` if it is not a P-256 key.
    """
    if (path is None) != unsigned:
        what = "a release needs a key" if path is None else "a release is signed or unsigned, not both"
        hint = "Pass RELEASE_KEY=FILE, a P-256 key in PEM, or UNSIGNED=1 to try it."
        raise ProaError(Code.USAGE, what, hint=hint)
    if path is None:
        return None
    key = keys.load_private(path)
    if key.public.algorithm is not keys.Algorithm.ECDSA_P256:
        hint = "Create one: openssl ecparam -name prime256v1 -genkey -noout -out release.key"
        raise ProaError(Code.KEY, "a release is signed with a P-256 key", at=path, hint=hint)
    return key


def read_commit(tree: Path) -> Commit:
    """The commit that is checked out.

    Raises:
        ProaError: ``TOOL`` without a repository.
    """
    name, time = process.run(["git", "-C", tree, "log", "-1", "--format=%H %ct"]).text.split()
    return Commit(name, int(time), not process.run(["git", "-C", tree, "status", "--porcelain"]).text)


def check(order: Order) -> Commit:
    """Refuse what cannot become a release before anything takes time.

    Raises:
        ProaError: ``USAGE`` if it is to be signed and has uncommitted changes.
    """
    commit = read_commit(order.tree)
    if order.key and not commit.is_all:
        hint = "Commit them, or set them aside: a release is a commit."
        raise ProaError(Code.USAGE, "the work tree has uncommitted changes", at=order.tree, hint=hint)
    return commit


def export(tree: Path, commit: Commit, folder: Path) -> None:
    """Put the files of a commit into a folder.

    Raises:
        ProaError: ``TOOL`` from git.
    """
    packed = folder.with_name(f"{folder.name}.tar")
    process.run(["git", "-C", tree, "archive", "--format=tar", f"--output={packed}", commit.id])
    folder.mkdir()
    process.run(["tar", "--extract", f"--file={packed}", f"--directory={folder}"])
    packed.unlink()


def build(tree: Path, commit: Commit, scratch: Path) -> Path:
    """Build wheel and source distribution of a commit.

    Args:
        tree: The repository.
        commit: The commit.
        scratch: An empty folder, for the export and what is built.

    Returns:
        The folder with what was built.

    Raises:
        ProaError: ``TOOL`` from git or build.
    """
    source, made = scratch / "source", scratch / "made"
    export(tree, commit, source)
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(source)]
    process.run(words, env={"SOURCE_DATE_EPOCH": str(commit.time)})
    return made


def build_twice(tree: Path, commit: Commit, scratch: Path) -> Path:
    """Build it in two folders, and compare.

    Returns:
        The folder with what was built.

    Raises:
        ProaError: ``INTERNAL`` if the two are not equal; as :func:`build`.
    """
    made = []
    for name in ("one", "two"):
        (scratch / name).mkdir()
        made.append(build(tree, commit, scratch / name))
    one, two = ({path.name: sha256(path) for path in folder.iterdir()} for folder in made)
    if one != two:
        names = ", ".join(sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name)))
        raise ProaError(Code.INTERNAL, f"two builds of commit {commit.id[:12]} differ in {names}")
    return made[0]


def read_notes(tree: Path, *, signed: bool) -> str:
    """The notes of the version, and how to check what comes with them.

    Raises:
        ProaError: ``USAGE`` if CHANGELOG.md does not have the version.
    """
    try:
        notes = changelog.notes((tree / "CHANGELOG.md").read_text(), read_version(tree))
    except changelog.ChangelogError as error:
        hint = "Give the version a section, as CONTRIBUTING.md says."
        raise ProaError(Code.USAGE, str(error), at=tree / "CHANGELOG.md", hint=hint) from error
    return notes + (_CHECK if signed else "")


def seal(folder: Path, key: keys.PrivateKey | None) -> None:
    """Write the checksums of all that is in a folder, and the signature over them."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    data = "".join(lines).encode()
    (folder / SUMS).write_bytes(data)
    if key:
        (folder / SIGNATURE).write_bytes(key.sign(data))


def make(order: Order) -> tuple[str, ...]:
    """Make the release.

    Returns:
        The names of its files.

    Raises:
        ProaError: See the steps.
    """
    commit = check(order)
    with tempfile.TemporaryDirectory(prefix="proa-release-") as name:
        scratch = Path(name)
        export(order.tree, commit, scratch / "source")
        notes = read_notes(scratch / "source", signed=order.key is not None)
        made = build_twice(order.tree, commit, scratch)
        (made / NOTES).write_text(notes)
        seal(made, order.key)
        shutil.rmtree(order.out, ignore_errors=True)
        shutil.copytree(made, order.out)
    return tuple(sorted(path.name for path in order.out.iterdir()))


def test(tree: Path) -> None:
    """Run the unit tests on both Pythons.

    Raises:
        ProaError: ``TOOL`` if one fails, ``USAGE`` if this is another Python.
    """
    if sys.version_info[:2] != PYTHON:
        raise ProaError(Code.USAGE, f"this is not Python {PYTHON[0]}.{PYTHON[1]}", hint="Make releases on Debian 12.")
    _say("Unit tests on Python 3.11")
    if process.run([*python313.LOUD, *python313.TESTS], check=False, cwd=tree, show=True).status != 0:
        raise ProaError(Code.TOOL, "the unit tests failed on Python 3.11")
    _say("Unit tests on Python 3.13")
    python313.check(tree)


def _say(words: str) -> None:
    click.echo(f"==> {words}", err=True)


@click.command(epilog="Example: python -m upkeep.release --key release.key")
@click.option("--key", "key_file", type=click.Path(path_type=Path), help="The P-256 key that signs the checksums, PEM.")
@click.option("--unsigned", is_flag=True, help="Make it without a signature, to try it.")
@click.option("--no-tests", is_flag=True, help="Skip the tests; only for an unsigned release.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=ROOT / "dist", help="The folder.  [default: dist]"
)
def cli(key_file: Path | None, unsigned: bool, no_tests: bool, out: Path) -> None:
    """Make a release of the commit that is checked out: wheel, sdist, notes, checksums, signature."""
    order = Order(ROOT, out, load_key(key_file, unsigned))
    if no_tests and order.key:
        raise ProaError(Code.USAGE, "a signed release is a tested one", hint="Leave out --no-tests.")
    commit = check(order)
    if not commit.is_all:
        _say(f"Uncommitted changes are left out: this is {commit.id[:12]}")
    if not no_tests:
        test(ROOT)
    _say(f"Building {commit.id[:12]} twice")
    for name in make(order):
        click.echo(out / name)


if __name__ == "__main__":
    end_politely()
    run_command(cli, "upkeep.release")
