"""Whether there is enough disk space for a tier: on a full disk, tests fail in many ways, and none of them says why."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

GIB: Final = 2**30
NEEDED: Final[Mapping[str, int]] = {"contract": 12, "vm": 12}
"""GiB that a tier may need with an empty cache: images, disks of machines, and programs that are built."""


def free_bytes(place: Path) -> int:
    """What is free where a folder is, or will be."""
    there = next(one for one in (place, *place.parents) if one.exists())
    return shutil.disk_usage(there).free


def places() -> tuple[Path, ...]:
    """Where tests write most: temporary files, and the cache."""
    return Path(tempfile.gettempdir()), Path.home() / ".cache"


def lacking(names: Iterable[str], where: Iterable[Path], free: Callable[[Path], int] = free_bytes) -> str:
    """What is missing for these tiers, in words; empty if nothing is.

    Args:
        names: The tiers that are to run.
        where: Folders that tests write to.
        free: Tells how many bytes are free in one.
    """
    needed = max((NEEDED.get(name, 0) for name in names), default=0)
    for place in where:
        left = free(place) / GIB
        if left < needed:
            return (
                f"the tests need {needed} GiB in {place}, and {left:.1f} are free there: free some, or let TMPDIR name "
                "a folder on another disk"
            )
    return ""
