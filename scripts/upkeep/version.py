"""The version of Proa, read from the one line that states it, as hatchling reads it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def read_version(root: Path) -> str:
    """The version.

    Args:
        root: The root of the repository, whose pyproject.toml says where the version stands.

    Raises:
        LookupError: If it does not stand there exactly once.
    """
    place = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["version"]
    found = re.findall(place["pattern"], (root / place["path"]).read_text(), re.MULTILINE)
    if len(found) != 1:
        raise LookupError(f"{place['path']} states the version {len(found)} times, not once")
    return str(found[0])
