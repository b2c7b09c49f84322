"""Copies of files into images, holes kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proa.core.runtime.files import os_errors

_CHUNK: Final = 1 << 20
_ZEROS: Final = bytes(_CHUNK)


def copy(source: Path, image: Path, offset: int) -> int:
    """Copy a file to a place of an image that holds zeros there; runs of zeros stay holes.

    Args:
        source: The file.
        image: The image, at least ``offset`` and the file's size long.
        offset: Where the copy begins, in bytes.

    Returns:
        The bytes of the file.

    Raises:
        ProaError: ``DISK_FULL``, ``DEVICE``, ``FILE_MISSING``.
    """
    done = 0
    with os_errors(image), source.open("rb") as reader, image.open("r+b") as writer:
        while data := reader.read(_CHUNK):
            if data != _ZEROS[: len(data)]:
                writer.seek(offset + done)
                writer.write(data)
            done += len(data)
    return done
