"""A delta: what one release's root has over another's, packed against the older one.

It is for nodes that run the older release. For each row of frames that the older root cannot give, it has a *unit*:
one zstd frame of their content, compressed with blocks of the older root as its prefix. ``zstd -d --patch-from=PREFIX``
restores it. The index names what belongs to each unit; document and index are signed, and so are all digests in them.

The index, all numbers little-endian::

    "PROADLT1"                                            8 bytes
    number of units                                       u32
    per unit, in ascending order:
      first frame of the newer root                       u32
      number of frames                                    u32
      compressed bytes                                    u32
      parts of its prefix                                 u32
      SHA-256 over the compressed bytes                   32 bytes
      per part: first block of the older root, blocks     u32, u32
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import zstandard

from proa.core.release import zstdframe
from proa.core.release.document import BLOCK_SIZE, Blob, Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, document, field, limits, parse
from proa.core.schema.values import Hash

ARTIFACT_TYPE: Final = "application/vnd.proa.delta.v1+json"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "index": "application/vnd.proa.delta-index.v1",
    "units": "application/vnd.proa.delta-units.v1+zstd",
}
"""Blob name to media type, in the order of the manifest's layers."""
UNIT: Final = 1 << 20
"""Bytes of content that a unit has at most, or one frame where that is larger."""
PREFIX: Final = 2 << 20
"""Bytes of the older root that a unit is packed against at most."""
MAX_INDEX: Final = 2 << 20
"""Bytes of an index beyond which it is refused: it is read into memory."""

_MAGIC: Final = b"PROADLT1"
_COUNT: Final = struct.Struct("<I")
_UNIT: Final = struct.Struct("<IIII32s")
_PART: Final = struct.Struct("<II")
_Size = Annotated[int, limits(minimum=BLOCK_SIZE, maximum=1 << 45, multipleOf=BLOCK_SIZE)]


@dataclass(frozen=True)
class Delta(Document, schema="proa.root-delta/v1", received=True):
    """The document of a delta: between which roots it is."""

    old: Hash = field("The root hash of the older release, which a node runs.")
    old_size: _Size = field("Size of its root file system in bytes.")
    new: Hash = field("The root hash of the newer release, which the delta is attached to.")
    new_size: _Size = field("Size of its root file system in bytes.")
    frame_size: _Size = field("Bytes of the newer root in one frame.", maximum=1 << 22)
    blobs: Mapping[str, Blob] = field("The index and the units.", keys=MEDIA_TYPES)

    def encode(self) -> bytes:
        """The document's bytes: equal deltas are equal bytes."""
        return (json.dumps(document(self), sort_keys=True, indent=1) + "\n").encode()

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs.values())


@dataclass(frozen=True, slots=True)
class Unit:
    """A row of frames as they are packed.

    Attributes:
        frames: Their numbers in the newer root.
        prefix: Blocks of the older root, in this order.
        offset: First compressed byte, counted from the start of the units.
        compressed: How many compressed bytes.
        digest: SHA-256 of the compressed bytes.
    """

    frames: range
    prefix: tuple[range, ...]
    offset: int
    compressed: int
    digest: bytes


def decode(data: bytes) -> Delta:
    """Read and check the document of a delta.

    Raises:
        ProaError: ``DELTA``, with the field in ``at``.
    """
    return parse(Delta, load_json(data, Code.DELTA), code=Code.DELTA)


def check_pair(delta: Delta, old: tuple[str, int], release: Release) -> None:
    """Whether a delta leads from a root to a release.

    Args:
        delta: The delta.
        old: Root hash and size of the older root.
        release: The newer release.

    Raises:
        ProaError: ``DELTA``.
    """
    root = release.root
    if (delta.old, delta.old_size) != old:
        raise ProaError(Code.DELTA, "it is for nodes that run another release", at="old")
    if (delta.new, delta.new_size, delta.frame_size) != (root.root_hash, root.size, root.frame_size):
        raise ProaError(Code.DELTA, "it is of another release", at="new")
    if delta.blobs["index"].size > MAX_INDEX:
        raise ProaError(Code.DELTA, f"its index has more than {MAX_INDEX} bytes", at="blobs.index")


def encode_index(units: Iterable[Unit]) -> bytes:
    """The index of units, in ascending order."""
    listed = list(units)
    parts = [_MAGIC, _COUNT.pack(len(listed))]
    for unit in listed:
        frames = unit.frames
        parts.append(_UNIT.pack(frames.start, len(frames), unit.compressed, len(unit.prefix), unit.digest))
        parts += [_PART.pack(part.start, len(part)) for part in unit.prefix]
    return b"".join(parts)


def read_index(data: bytes, delta: Delta) -> Iterator[Unit]:
    """The units that an index names, one after the other; all that it says is within the bounds of the document.

    Raises:
        ProaError: ``DELTA``, when the first thing is met that is out of bounds.
    """
    try:
        yield from _units(data, delta)
    except struct.error as error:
        raise ProaError(Code.DELTA, "the index ends too early", at="index") from error


def _units(data: bytes, delta: Delta) -> Iterator[Unit]:
    (count,) = _COUNT.unpack_from(data, len(_MAGIC))
    _need(data.startswith(_MAGIC), "it is no index of a delta")
    place, offset, behind = len(_MAGIC) + _COUNT.size, 0, 0
    for _ in range(count):
        first, frames, compressed, parts, digest = _UNIT.unpack_from(data, place)
        place += _UNIT.size
        _need(behind <= first and frames > 0, "its units are out of order")
        _need(compressed > 0, "a unit is empty")
        _need(place + parts * _PART.size <= len(data), "it ends too early")
        prefix = tuple(range(at, at + size) for at, size in _PART.iter_unpack(data[place : place + parts * _PART.size]))
        unit = Unit(range(first, first + frames), prefix, offset, compressed, digest)
        _check(unit, delta)
        yield unit
        place, offset, behind = place + parts * _PART.size, offset + compressed, unit.frames.stop
    _need(place == len(data), "it is longer than it says")
    _need(offset == delta.blobs["units"].size, "its units do not have the size that is signed")


def _check(unit: Unit, delta: Delta) -> None:
    size = len(unit.frames) * delta.frame_size
    _need(unit.frames.stop <= -(-delta.new_size // delta.frame_size), "a unit is outside the root")
    _need(size <= max(UNIT, delta.frame_size), f"a unit has more than {UNIT} bytes")
    _need(unit.compressed <= zstdframe.bound(size), "a unit is larger than what it holds")
    _need(all(len(part) > 0 for part in unit.prefix), "a part of a prefix is empty")
    _need(sum(map(len, unit.prefix)) * BLOCK_SIZE <= PREFIX, f"a prefix has more than {PREFIX} bytes")
    _need(all(part.stop * BLOCK_SIZE <= delta.old_size for part in unit.prefix), "a prefix is outside the older root")


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProaError(Code.DELTA, otherwise, at="index")


def content_size(unit: Unit, delta: Delta) -> int:
    """Bytes of the newer root that a unit holds."""
    return min(unit.frames.stop * delta.frame_size, delta.new_size) - unit.frames.start * delta.frame_size


def pack(content: bytes, prefix: bytes, level: int) -> bytes:
    """A unit's compressed bytes. Equal input, level and zstd library give equal bytes."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(content), dict_size=len(prefix), write_content_size=True, write_checksum=False
    )
    words = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=words)
    return bytes(compressor.compress(content))


def unpack(data: bytes, unit: Unit, prefix: bytes, size: int) -> bytes:
    """The content of a unit; the decompressor sees no byte that was not checked.

    Args:
        data: The compressed bytes.
        unit: What the signed index says of them.
        prefix: The blocks of the older root.
        size: Bytes of the content.

    Raises:
        ProaError: ``DIGEST`` if the bytes are not the signed ones, ``DELTA`` if they do not hold what they must.
    """
    if len(data) != unit.compressed or hashlib.sha256(data).digest() != unit.digest:
        raise ProaError(Code.DIGEST, "a unit does not match the signed index", at=f"unit at {unit.offset}")
    try:
        return zstdframe.content(data, size, prefix)
    except zstandard.ZstdError as error:
        raise ProaError(Code.DELTA, str(error), at=f"unit at {unit.offset}") from error
