"""Copies of large files that are mostly holes."""

from __future__ import annotations

from pathlib import Path

from proa.core.runtime import process


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a disk image: holes stay holes, and a file system that can share blocks does.

    Raises:
        ProaError: ``TOOL``, with what cp(1) says.
    """
    process.run(["cp", "--reflink=auto", "--sparse=always", source, target])
