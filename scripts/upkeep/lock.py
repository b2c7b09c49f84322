"""``make lock``: requirements/dev.lock, every version and hash that ``make setup`` installs, on both Pythons.

pip-compile resolves ``proa[dev]`` on this Python and on Debian 13's. What only one of them needs gets a marker.
Versions stay as they are unless an upgrade is asked for.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from proa.core.runtime import process
from proa.core.runtime.cli import end_politely, run_command
from proa.core.runtime.errors import Code, ProaError
from upkeep import python313
from upkeep.lines import ROOT

LOCK: Final = "requirements/dev.lock"
_COMPILE: Final = """\
set -eu
python=$1 folder=$2 upgrade=$3
"$python" -m venv --clear "$folder/tools"
"$folder/tools/bin/pip" install -q --disable-pip-version-check pip-tools
"$folder/tools/bin/pip-compile" -q $upgrade --strip-extras --extra dev --generate-hashes --allow-unsafe --no-annotate \\
  --no-header --no-emit-options -o "$folder/dev.lock" pyproject.toml
"""
_PIN: Final = re.compile(r"^(?P<name>[a-z0-9.-]+)==\S+(?: ; [^\\]+)? \\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """The pins of a lock by name: all of their lines, without what pip-compile says beside them."""
    return {match["name"]: match[0] for match in _PIN.finditer(text)}


def merge(older: Mapping[str, str], newer: Mapping[str, str]) -> str:
    """One lock for both Pythons.

    Args:
        older: The pins for Python 3.11.
        newer: The pins for Python 3.13.

    Raises:
        ProaError: ``PACKAGES`` if a package has two versions.
    """
    versions = {name: {pin[name].split(" ")[0] for pin in (older, newer) if name in pin} for name in {*older, *newer}}
    if torn := sorted(name for name, found in versions.items() if len(found) > 1):
        raise ProaError(Code.PACKAGES, f"the two Pythons need different versions of {', '.join(torn)}")
    lines = {name: _marked(pin, "<") for name, pin in older.items() if name not in newer}
    lines |= {name: _marked(pin, ">=") for name, pin in newer.items() if name not in older}
    lines |= {name: pin for name, pin in older.items() if name in newer}
    return "".join(lines[name] for name in sorted(lines))


def _marked(pin: str, comparison: str) -> str:
    """A pin with a marker, so that it holds below Python 3.13, or from there on."""
    first, rest = pin.split(" \\\n", 1)
    return f'{first.split(" ; ")[0]} ; python_version {comparison} "{python313.PYTHON}" \\\n{rest}'


def write(tree: Path, *, upgrade: bool) -> None:
    """Write the lock anew.

    Raises:
        ProaError: ``PACKAGES`` from pip-compile; as :func:`python313.open_room`.
    """
    room, pip, flag = python313.open_room(tree), python313.pip_settings(), "--upgrade" if upgrade else ""
    before = "".join(pins((tree / LOCK).read_text()).values())
    (room.out / "tmp/dev.lock").write_text(before)
    newer = room.run("sh", "-c", _COMPILE, "sh", "python3", "/tmp", flag, env=pip, show=False)  # noqa: S108 -- its own
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dev.lock").write_text(before)
        words = ["sh", "-c", _COMPILE, "sh", sys.executable, folder, flag]
        older = process.run(words, check=False, cwd=tree, env=pip)
        for done in (older, newer):
            if done.status != 0:
                raise process.failure(done, Code.PACKAGES)
        both = [pins(path.read_text()) for path in (Path(folder) / "dev.lock", room.out / "tmp/dev.lock")]
    (tree / LOCK).write_text(merge(both[0], both[1]))


@click.command(epilog="Example: python -m upkeep.lock --upgrade")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that pyproject.toml allows.")
def cli(upgrade: bool) -> None:
    """Write requirements/dev.lock from pyproject.toml, for Python 3.11 and 3.13."""
    write(ROOT, upgrade=upgrade)


if __name__ == "__main__":
    end_politely()
    run_command(cli, "upkeep.lock")
