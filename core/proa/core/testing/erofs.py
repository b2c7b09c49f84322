"""Roots for tests and benchmarks: EROFS images of folders, as the builder makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proa.core.runtime import process

_SAME: Final = f"-U{'0' * 8}-0000-0000-0000-{'0' * 12}"


def make_root(folder: Path, image: Path) -> Path:
    """An image of a folder, the same bytes for the same content.

    Raises:
        ProaError: ``TOOL_MISSING`` or ``TOOL``; mkfs.erofs cannot write in memory (tmpfs).
    """
    process.run(["mkfs.erofs", "--quiet", "-T1", _SAME, "--chunksize=65536", image, folder])
    return image
