"""Files in compressed form, kept in one file by the hash of what they hold: work that many builds share.

``packed.bin`` holds zstd frames one after another, each with its content size and checksum, as ``zstd`` writes them
(RFC 8878); ``packed.json`` says by the SHA-256 of a file where its frame lies: offset and bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zstandard

LEVEL: Final = 14
"""The zstd level: the lowest at which a release with packed modules is no larger than one with plain ones."""
_DATA: Final = "packed.bin"
_INDEX: Final = "packed.json"


@dataclass(frozen=True)
class Packed:
    """What was packed before.

    Attributes:
        folder: The folder with both files.
        index: SHA-256 of a file to offset and bytes of its frame.
    """

    folder: Path
    index: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def frame(self, data: bytes) -> bytes:
        """The frame of a file's content; it is made where it was not packed before."""
        found = self.index.get(hashlib.sha256(data).hexdigest())
        if found is None:
            return compress(data)
        with (self.folder / _DATA).open("rb") as file:
            file.seek(found[0])
            return file.read(found[1])


def compress(data: bytes) -> bytes:
    """A file as one frame."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)


def pack(paths: Iterable[Path], folder: Path) -> None:
    """Pack files, on all processors."""
    with (folder / _DATA).open("wb") as out, ThreadPoolExecutor(os.cpu_count()) as pool:
        index = {}
        for name, frame in pool.map(_packed, paths):
            if name not in index:
                index[name] = (out.tell(), len(frame))
                out.write(frame)
    (folder / _INDEX).write_text(json.dumps(index, sort_keys=True) + "\n")


def read(folder: Path) -> Packed:
    """What lies in a folder that :func:`pack` wrote."""
    index = json.loads((folder / _INDEX).read_text())
    return Packed(folder, {name: (offset, size) for name, (offset, size) in index.items()})


def _packed(path: Path) -> tuple[str, bytes]:
    data = path.read_bytes()
    return hashlib.sha256(data).hexdigest(), compress(data)
