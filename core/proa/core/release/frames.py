"""The payload as independent zstd frames, and the map that names each of them.

A payload blob is a series of zstd frames of ``frame_size`` bytes of image each (the last may be shorter),
followed by a seek table in a skippable frame, as in the zstd *seekable format* 0.1.0
(contrib/seekable_format/zstd_seekable_compression_format.md of zstd): any ``zstd -d`` restores it. The map
blob says for each frame how many compressed bytes it has and what their SHA-256 is, so that nothing reaches
the decompressor that was not signed.

The map blob, all numbers little-endian::

    "PROAMAP1"                                            8 bytes
    number of sections                                    u32
    per section, in ascending order of name:
      name, ASCII, filled with NUL                        8 bytes
      frame size                                          u32
      number of frames                                    u32
      bytes of the image                                  u64
    per section and frame:
      compressed bytes                                    u32
      SHA-256 over them                                   32 bytes
"""

from __future__ import annotations

import collections
import hashlib
import struct
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Final, NewType, overload

import zstandard

from proa.core.release import zstdframe
from proa.core.release.chunks import ChunkReader
from proa.core.release.document import FRAME_SIZE, Release
from proa.core.runtime.errors import Code, ProaError

LEVEL: Final = 9
"""The zstd level unless told otherwise: in frames of 128 KiB level 12 saves 0.3 % and takes 2.7 times as long."""
MAX_FRAME: Final = zstdframe.MAX_FRAME
"""Bytes of image, and of zstd's window, beyond which a frame is refused."""

_MAGIC: Final = b"PROAMAP1"
_COUNT: Final = struct.Struct("<I")
_SECTION: Final = struct.Struct("<8sIIQ")
_ENTRY: Final = struct.Struct("<I32s")
_SKIPPABLE: Final = struct.Struct("<II")
_SEEK_ENTRY: Final = struct.Struct("<II")
_SEEK_FOOTER: Final = struct.Struct("<IBI")
_SEEK_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: where its compressed bytes lie in the blob, and where its content lies in the image.

    Attributes:
        offset: First compressed byte, counted from the blob's start.
        compressed: How many compressed bytes.
        digest: SHA-256 of the compressed bytes, 32 bytes.
        size: Bytes of content.
        start: First byte of the content, counted from the image's start.
    """

    offset: int
    compressed: int
    digest: bytes
    size: int
    start: int


class _Packed(Sequence[Frame]):
    """Frames as three flat arrays: 44 bytes a frame, where objects would take 250."""

    def __init__(self, frame_size: int, size: int, lengths: Sequence[int], digests: bytes) -> None:
        self._frame_size = frame_size
        self._size = size
        self._offsets = array("Q", accumulate(lengths, initial=0))
        self._digests = digests

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Frame, ...]: ...
    def __getitem__(self, index: int | slice) -> Frame | tuple[Frame, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        place = range(len(self))[index]
        offset, end = self._offsets[place], self._offsets[place + 1]
        start = place * self._frame_size
        return Frame(
            offset=offset,
            compressed=end - offset,
            digest=self._digests[32 * place : 32 * place + 32],
            size=min(self._frame_size, self._size - start),
            start=start,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Packed) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content in tests, never a key


@dataclass(frozen=True)
class FrameMap:
    """All frames of one image, in order and without gaps.

    Attributes:
        frame_size: Bytes of image in every frame but the last.
        frames: The frames; frame ``n`` begins at ``n * frame_size`` of the image.
    """

    frame_size: int
    frames: Sequence[Frame]

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.frames[-1].start + self.frames[-1].size if self.frames else 0

    @property
    def compressed(self) -> int:
        """Bytes of all frames; the seek table follows them in the blob."""
        return self.frames[-1].offset + self.frames[-1].compressed if self.frames else 0

    @property
    def blob_size(self) -> int:
        """Bytes of the whole blob, seek table included."""
        return self.compressed + seek_table_size(len(self.frames))

    def extent(self, part: range) -> tuple[int, int]:
        """Where a row of frames begins in the blob, and where it ends."""
        last = self.frames[part.stop - 1]
        return self.frames[part.start].offset, last.offset + last.compressed

    def covering(self, start: int, size: int) -> range:
        """The indexes of the frames that hold ``size`` bytes of the image from ``start``."""
        return range(start // self.frame_size, -(-(start + size) // self.frame_size))


@dataclass(frozen=True)
class Expected:
    """What the signed document says of one payload: all in bytes."""

    size: int
    frame_size: int
    blob: int
    """The blob as fetched, seek table included."""

    @property
    def frames(self) -> int:
        """How many frames that makes."""
        return -(-self.size // self.frame_size)


def expected(release: Release) -> dict[str, Expected]:
    """What the map of a release must describe."""
    sizes = {"root": release.root.size, "boot": release.boot.size}
    return {
        name: Expected(size, release.root.frame_size, release.blobs[name].size) for name, size in sorted(sizes.items())
    }


def content_name(data: bytes) -> str:
    """What a frame's content is told by: the first 8 bytes of its SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()[:16]


def content_names(image: BinaryIO, frame_size: int = FRAME_SIZE) -> str:
    """The names of all frames of an image, one behind the other."""
    return "".join(content_name(data) for data in iter(lambda: _read_full(image, frame_size), b""))


def seek_table_size(frames: int) -> int:
    """Bytes of the seek table's skippable frame."""
    return _SKIPPABLE.size + _SEEK_ENTRY.size * frames + _SEEK_FOOTER.size


def compress(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    frame_size: int = FRAME_SIZE,
    level: int = LEVEL,
    threads: int = 2,
    progress: Callable[[int], None] | None = None,
) -> FrameMap:
    """Write an image as frames and a seek table.

    Equal input, level and zstd library give equal bytes, whatever the number of threads. Memory is some
    frames per thread, however large the image.

    Args:
        source: The image, read to its end.
        sink: Where the blob goes; written in order, never sought in.
        frame_size: Bytes of image in one frame.
        level: zstd's level.
        threads: How many frames are compressed at once.
        progress: Called with the bytes of image done so far.

    Raises:
        ProaError: ``FRAMES`` if the frame size is out of range.
    """
    if not 0 < frame_size <= MAX_FRAME:
        raise ProaError(Code.FRAMES, f"a frame size of {frame_size} bytes is not between 1 and {MAX_FRAME}")
    lengths, digests, size = array("I"), bytearray(), 0
    for raw_size, data, digest in _compressed(source, frame_size, level, threads):
        sink.write(data)
        lengths.append(len(data))
        digests += digest
        size += raw_size
        if progress:
            progress(size)
    frames = FrameMap(frame_size, _Packed(frame_size, size, lengths, bytes(digests)))
    sink.write(_seek_table(frames.frames))
    return frames


def _compressed(source: BinaryIO, frame_size: int, level: int, threads: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Size, compressed bytes and their digest of each frame, in order; at most ``2 * threads`` under way."""
    local = threading.local()

    def work(raw: bytes) -> tuple[int, bytes, bytes]:
        if not hasattr(local, "compressor"):
            # No checksum: the SHA-256 of the compressed bytes is signed, and plain zstd needs none.
            local.compressor = zstandard.ZstdCompressor(level, write_content_size=True, write_checksum=False)
        data: bytes = local.compressor.compress(raw)
        return len(raw), data, hashlib.sha256(data).digest()

    waiting: collections.deque[Future[tuple[int, bytes, bytes]]] = collections.deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="zstd") as pool:
        while raw := _read_full(source, frame_size):
            waiting.append(pool.submit(work, raw))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_full(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, or what there is before the end: a pipe gives less than it is asked for."""
    data = source.read(size)
    if len(data) == size or not data:
        return data
    pieces = [data]
    missing = size - len(data)
    while missing and (data := source.read(missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)


def _seek_table(frames: Sequence[Frame]) -> bytes:
    entries = b"".join(_SEEK_ENTRY.pack(frame.compressed, frame.size) for frame in frames)
    footer = _SEEK_FOOTER.pack(len(frames), 0, _SEEKABLE_MAGIC)
    return _SKIPPABLE.pack(_SEEK_MAGIC, len(entries) + len(footer)) + entries + footer


def read_seek_table(data: bytes, blob: int, size: int) -> FrameMap | None:
    """The frames of a blob as its own seek table tells them: without digests, so what they hold must be checked.

    Args:
        data: The end of the blob, the whole table in it.
        blob: Bytes of the blob.
        size: Bytes of content.

    Returns:
        None where there is no table, or one that does not fit.
    """
    if len(data) < _SEEK_FOOTER.size:
        return None
    count, flags, magic = _SEEK_FOOTER.unpack(data[-_SEEK_FOOTER.size :])
    table = seek_table_size(count)
    if magic != _SEEKABLE_MAGIC or flags or not 0 < count <= size or table > len(data):
        return None
    entries = list(_SEEK_ENTRY.iter_unpack(data[-table + _SKIPPABLE.size : -_SEEK_FOOTER.size]))
    frame_size = entries[0][1]
    if not 0 < frame_size <= MAX_FRAME or count != -(-size // frame_size):
        return None
    found = FrameMap(frame_size, _Packed(frame_size, size, [length for length, _ in entries], bytes(32 * count)))
    sizes = [told for _, told in entries]
    fits = found.blob_size == blob and [frame.size for frame in found.frames] == sizes
    return found if fits else None


def encode_maps(maps: Mapping[str, FrameMap]) -> bytes:
    """The map blob of the given payloads; a name has at most 8 ASCII letters."""
    ordered = sorted(maps.items())
    sections = [_SECTION.pack(name.encode("ascii"), one.frame_size, len(one.frames), one.size) for name, one in ordered]
    entries = [_ENTRY.pack(frame.compressed, frame.digest) for _, one in ordered for frame in one.frames]
    return b"".join((_MAGIC, _COUNT.pack(len(ordered)), *sections, *entries))


def map_size(expected: Mapping[str, Expected]) -> int:
    """Bytes that the map blob of such payloads has: to be known before it is fetched."""
    entries = sum(one.frames for one in expected.values())
    return len(_MAGIC) + _COUNT.size + _SECTION.size * len(expected) + _ENTRY.size * entries


def decode_maps(data: bytes, *, expected: Mapping[str, Expected]) -> dict[str, FrameMap]:
    """Read the map blob against what the signed document says of each payload.

    Everything must come out exactly: the sections and their order, the number of frames, the length of each
    within what zstd can have made of it, their sum with the seek table the blob's size, and no byte more.

    Raises:
        ProaError: ``FRAMES``.
    """
    names = sorted(expected)
    counts = {name: expected[name].frames for name in names}
    head = _MAGIC + _COUNT.pack(len(names))
    sections = b"".join(
        _SECTION.pack(name.encode("ascii"), expected[name].frame_size, counts[name], expected[name].size)
        for name in names
    )
    if len(data) != map_size(expected):
        raise ProaError(Code.FRAMES, f"the map has {len(data)} bytes instead of {map_size(expected)}", at="map")
    if not data.startswith(head + sections):
        raise ProaError(Code.FRAMES, "the map's sections do not match the release document", at="map")
    place = len(head) + len(sections)
    maps = {}
    for name in names:
        end = place + _ENTRY.size * counts[name]
        maps[name] = _decode_section(name, data[place:end], expected[name])
        place = end
    return maps


def _decode_section(name: str, entries: bytes, expected: Expected) -> FrameMap:
    lengths, digests = array("I"), bytearray()
    limit = zstdframe.bound(expected.frame_size)
    for length, digest in _ENTRY.iter_unpack(entries):
        if not 0 < length <= limit:
            raise ProaError(
                Code.FRAMES,
                f"a compressed frame has {length} bytes, which is out of range",
                at=f"map: {name}[{len(lengths)}]",
            )
        lengths.append(length)
        digests += digest
    found = FrameMap(expected.frame_size, _Packed(expected.frame_size, expected.size, lengths, bytes(digests)))
    if found.blob_size != expected.blob:
        what = f"the frames and their seek table have {found.blob_size} bytes, the blob has {expected.blob}"
        raise ProaError(Code.FRAMES, what, at=f"map: {name}")
    return found


Checked = NewType("Checked", bytes)
"""A frame that was checked: nothing else may be decompressed."""


def check_frame(data: bytes, frame: Frame) -> Checked:
    """The compressed bytes of a frame, if they are the signed ones.

    Raises:
        ProaError: ``DIGEST``.
    """
    if len(data) != frame.compressed or hashlib.sha256(data).digest() != frame.digest:
        raise ProaError(Code.DIGEST, "a frame does not match the signed map", at=f"frame at {frame.offset}")
    return Checked(data)


def decompress_into(data: Checked, frame: Frame, room: memoryview) -> None:
    """Put the content of a frame where it is wanted; the decompressor sees no byte that was not checked.

    Safe to call from several threads at once; the global lock is released while it works. A fresh buffer for each
    frame would cost as much in page faults as zstd itself.

    Args:
        data: The compressed bytes, as :func:`check_frame` gave them.
        frame: What the signed map says of them.
        room: Writable memory of exactly ``frame.size`` bytes.

    Raises:
        ProaError: ``FRAMES`` if they do not hold what the map says.
    """
    try:
        zstdframe.content_into(data, room)
    except zstandard.ZstdError as error:
        raise ProaError(Code.FRAMES, str(error), at=f"frame at {frame.offset}") from error


def decompress_stream(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The content of a blob of frames that no map describes, as the verity tree's.

    Frames are taken apart by their block headers (RFC 8878, 3.1.1) and handed to the decompressor whole, so
    that a bomb is known by its header and a cut one is noticed. Skippable frames are passed over. Memory is
    one frame.

    Args:
        chunks: The blob's bytes, cut anywhere.
        size: Bytes that must come out, no more and no less.

    Yields:
        The content of one frame after the other.

    Raises:
        ProaError: ``FRAMES``.
    """
    reader = ChunkReader(chunks)
    done = 0
    try:
        while reader.fill(1):
            data = zstdframe.cut(reader, size - done)
            if data:
                yield (content := zstdframe.content(data, zstandard.get_frame_parameters(data).content_size))
                done += len(content)
    except zstandard.ZstdError as error:
        raise ProaError(Code.FRAMES, str(error), at=f"byte {done} of {size}") from error
    if done != size:
        raise ProaError(Code.FRAMES, f"the frames gave {done} bytes instead of {size}")
