"""``make test-python313``: the unit tests on Debian 13 and its Python 3.13, on any machine that builds images.

mmdebstrap makes the root, without root's rights, with the packages of ``requirements/packages.txt``; it is kept in
``~/.cache/proa/debian13`` until that list changes. The tests run in it on this tree, with an environment of their own
in ``build/python3.13``, made from the same lock.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from proa.builder.config.image_settings import ReleaseConfig, SystemConfig
from proa.builder.config.settings import Config
from proa.builder.engine import namespace, sources
from proa.builder.engine.cache import default_folder
from proa.builder.steps.packages import explain
from proa.core.runtime import process
from proa.core.runtime.cli import end_politely, run_command
from proa.core.runtime.errors import Code, ProaError
from upkeep.lines import ROOT

SUITE: Final = "trixie"
PYTHON: Final = "3.13"
TESTS: Final = ("scripts/test", "unit")
_ENTER: Final = Path(__file__).with_name("enter.sh")
LOUD: Final = ("sh", "-c", 'exec "$@" >&2', "sh")
"""What a person is to see of a command goes to standard error: standard output is kept by the gateway."""
_INSTALL: Final = """\
set -eu
python3 -m venv --clear .venv
.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
.venv/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
"""
_FOLDERS: Final = ("tmp", "home", "venv", "build")


@dataclass(frozen=True)
class Room:
    """A root of Debian 13 with a tree of ours in it.

    Attributes:
        root: The root folder.
        tree: The repository.
        out: Where the environment and the reports of the tests are.
    """

    root: Path
    tree: Path
    out: Path

    def run(self, *words: str, env: Mapping[str, str] | None = None, show: bool = True) -> process.ProcessResult:
        """Run a command in it, to its end; its exit status is the caller's to look at."""
        inside = (*namespace.enter(network=True), "sh", *map(str, (_ENTER, self.root, self.tree, self.out)))
        return process.run((*inside, *(LOUD if show else ()), *words), check=False, env=env, show=show)


def open_room(tree: Path) -> Room:
    """Make what is missing of a room for a tree.

    Args:
        tree: The repository.

    Raises:
        ProaError: ``PACKAGES``, ``MIRROR`` or ``DISK_FULL``; ``TOOL_MISSING`` without subordinate ids.
    """
    packages = (tree / "requirements/packages.txt").read_text().split()
    room = Room(_root(default_folder() / "debian13", packages), tree, tree / "build" / f"python{PYTHON}")
    for name in (*(room.out / name for name in _FOLDERS), tree / ".venv"):
        name.mkdir(parents=True, exist_ok=True)
    return room


def _root(cache: Path, packages: list[str]) -> Path:
    """The kept root with these packages; made if it is not there, and older ones are removed."""
    name = hashlib.sha256("\n".join([SUITE, *packages, _ENTER.read_text()]).encode()).hexdigest()[:16]
    root = cache / name
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.iterdir():
            process.run(namespace.remove(old))
        _say(f"A root of Debian 13 with {len(packages)} packages and what they need, into {root}")
        with tempfile.TemporaryDirectory(prefix="proa-debian13-") as scratch:
            _bootstrap(cache / f"{name}.new", packages, Path(scratch))
        (cache / f"{name}.new").rename(root)
    return root


def _bootstrap(root: Path, packages: list[str], scratch: Path) -> None:
    archives = sources.archives(Config(ReleaseConfig("python313", "0"), SystemConfig(suite=SUITE)), scratch)
    listed = scratch / "listed.sources"
    listed.write_text("\n".join(archive.stanza(archive.keyrings) for archive in archives))
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}"]
    words += ['--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Retries "3"']
    words += ["--dpkgopt=force-unsafe-io", '--customize-hook=mkdir "$1/src"', SUITE, str(root), str(listed)]
    done = process.run((*namespace.enter(network=True), *words), check=False, env={"TMPDIR": str(scratch)})
    if done.status != 0:
        process.run(namespace.remove(root))
        raise explain(done)


def install(room: Room) -> None:
    """Put the locked packages and the tree into the room's environment, unless they are there.

    Raises:
        ProaError: ``PACKAGES`` from pip.
    """
    inputs = [room.root.name.encode(), _INSTALL.encode()]
    inputs += [(room.tree / name).read_bytes() for name in ("requirements/dev.lock", "pyproject.toml")]
    want = hashlib.sha256(b"\0".join(inputs)).hexdigest()
    stamp = room.out / "venv.sha256"
    if stamp.is_file() and stamp.read_text() == want:
        return
    _say(f"Python packages for {PYTHON}, versions and hashes of requirements/dev.lock")
    stamp.unlink(missing_ok=True)
    done = room.run("sh", "-c", _INSTALL, env=pip_settings(), show=False)
    if done.status != 0:
        raise process.failure(done, Code.PACKAGES)
    stamp.write_text(want)


def pip_settings() -> dict[str, str]:
    """Pip's settings in this process's environment, but for folders of wheels, which a room does not have."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "FIND_LINKS" not in name}


def check(tree: Path) -> None:
    """Run the unit tests on Python 3.13.

    Raises:
        ProaError: ``TOOL`` if one of them fails; as :func:`open_room` and :func:`install`.
    """
    _run(open_room(tree), TESTS)


def _run(room: Room, words: tuple[str, ...]) -> None:
    install(room)
    said = room.run(".venv/bin/python", "--version", show=False).text.strip()
    if not said.startswith(f"Python {PYTHON}."):
        raise ProaError(Code.PACKAGES, f"the root has {said or 'no Python'}, not Python {PYTHON}", at=room.root)
    _say(f"{shlex.join(words)} on {said}; reports in {room.out / 'build'}")
    if (done := room.run(*words)).status != 0:
        raise ProaError(Code.TOOL, f"{shlex.join(words)} failed on {said} with status {done.status}")


def _say(words: str) -> None:
    click.echo(f"==> {words}", err=True)


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Example: python -m upkeep.python313 .venv/bin/pytest -q core/tests",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def cli(command: tuple[str, ...]) -> None:
    """Run the unit tests on Python 3.13, or the COMMAND that is given, at the root of the tree."""
    _run(open_room(ROOT), command or TESTS)


if __name__ == "__main__":
    end_politely()
    run_command(cli, "upkeep.python313")
