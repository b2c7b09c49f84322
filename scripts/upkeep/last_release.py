"""The code of the last release, beside which this tree is put to see that nodes get from one to the other and back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proa.core.runtime import process

ROOT: Final = Path(__file__).resolve().parents[2]
UNTAGGED: Final = "b9209705f67ced65c8f6e90930cf7c740169bcdf"
"""What counts as the last release until a version is tagged: a tree of 30 November 2026, whose agent read its record as
a whole or not at all. It is named by its content, which no rewriting of the history changes."""


def last_release(tree: Path = ROOT) -> str:
    """What git calls the last release: the newest tag of a version before this commit, else :data:`UNTAGGED`."""
    words = ("describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    return process.run(["git", "-C", tree, *words], check=False).text.strip() or UNTAGGED


def unpack(folder: Path, *packages: str, tree: Path = ROOT) -> tuple[Path, ...]:
    """Put code of the last release into a folder; what goes on PYTHONPATH for these packages.

    Raises:
        ProaError: ``TOOL`` where the history ends before it, as in a shallow clone: fetch the rest, with its tags.
    """
    places = [f"{one}/proa" for one in packages]
    packed = process.run(["git", "-C", tree, "archive", "--format=tar", last_release(tree), *places]).stdout
    process.run(["tar", "-x", "-C", folder], stdin=packed)
    return tuple(folder / one for one in packages)
