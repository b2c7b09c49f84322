"""One zstd frame: cut out of a stream, and unpacked within limits (RFC 8878)."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Final

import zstandard

from proa.core.release.chunks import ChunkReader

MAX_FRAME: Final = 1 << 22
"""Bytes of content, and of zstd's window, beyond which a frame is refused."""

_HEAD: Final = struct.Struct("<II")
_HEADER_MAX: Final = 18
_SKIPPABLE_MAGIC: Final = 0x184D2A50
_SKIPPABLE_MAX: Final = 1 << 23
_BLOCK_RLE: Final = 1
_BLOCK_RESERVED: Final = 3

_local: Final = threading.local()


def bound(size: int) -> int:
    """The most bytes that zstd makes of ``size`` (zstd.h, ZSTD_COMPRESSBOUND)."""
    return size + (size >> 8) + (((1 << 17) - size) >> 11 if size < 1 << 17 else 0)


def content(data: bytes, size: int, prefix: bytes = b"") -> bytes:
    """The content of exactly one frame, whose header must promise exactly ``size`` bytes.

    Safe to call from several threads at once.

    Args:
        data: The frame.
        size: Bytes that come out.
        prefix: What was in front of the content when it was compressed.

    Raises:
        zstandard.ZstdError: If it is anything else.
    """
    decompressor = _decompressor(data, size)
    if prefix:
        words = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        decompressor = zstandard.ZstdDecompressor(dict_data=words, max_window_size=MAX_FRAME)
    found: bytes = decompressor.decompress(data, allow_extra_data=False)
    if len(found) != size:
        raise zstandard.ZstdError(f"the frame gave {len(found)} bytes")
    return found


def content_into(data: bytes, room: memoryview) -> None:
    """As :func:`content`, put into ``room``, which the content must fill exactly.

    Raises:
        zstandard.ZstdError: If it does not, or ``data`` is anything else than one frame.
    """

    def peek(place: int) -> bytes:
        if place + 3 > len(data):
            raise zstandard.ZstdError("the frame is truncated")
        return data[place : place + 3]

    decompressor = _decompressor(data, len(room))
    if _end(data[:_HEADER_MAX], peek) != len(data):
        raise zstandard.ZstdError("the frame does not end where it should")
    done = 0
    with decompressor.stream_reader(data) as reader:
        while done < len(room) and (count := reader.readinto(room[done:])):
            done += count
        more = reader.read(1)
    if done != len(room) or more:
        raise zstandard.ZstdError(f"the frame did not give {len(room)} bytes")


def cut(reader: ChunkReader, left: int) -> bytes:
    """The next frame's bytes out of a stream, empty for a skippable one; it may hold at most ``left`` bytes.

    Frames are taken apart by their block headers (RFC 8878, 3.1.1), so that a bomb is known before it is
    unpacked, and a frame that is cut is noticed.

    Raises:
        zstandard.ZstdError: If it is cut, holds more, or does not say how much it holds.
    """
    _need(reader, _HEAD.size)
    magic, length = _HEAD.unpack_from(reader.buffer)
    if magic & 0xFFFFFFF0 == _SKIPPABLE_MAGIC:
        if length > _SKIPPABLE_MAX:
            raise zstandard.ZstdError(f"a skippable frame of {length} bytes is not allowed")
        _need(reader, _HEAD.size + length)
        reader.take(_HEAD.size + length)
        return b""
    reader.fill(_HEADER_MAX)
    start = bytes(reader.buffer[:_HEADER_MAX])
    header = zstandard.get_frame_parameters(start)
    if header.content_size > min(left, MAX_FRAME):
        raise zstandard.ZstdError(f"a frame of {header.content_size} bytes where only {left} are left")

    def peek(place: int) -> bytes:
        _need(reader, place + 3)
        return bytes(reader.buffer[place : place + 3])

    size = _end(start, peek)
    _need(reader, size)
    return reader.take(size)


def _end(start: bytes, peek: Callable[[int], bytes]) -> int:
    """Where a frame ends, told by its block headers; ``peek`` gives the three bytes of one."""
    place, last = zstandard.frame_header_size(start), False
    while not last:
        block = int.from_bytes(peek(place), "little")
        last, kind, count = bool(block & 1), block >> 1 & 3, block >> 3
        place += 3 + (1 if kind == _BLOCK_RLE else count)
        if kind == _BLOCK_RESERVED or place > 2 * MAX_FRAME:
            raise zstandard.ZstdError("a block of a type that zstd never writes")
    return place + (4 if zstandard.get_frame_parameters(start).has_checksum else 0)


def _need(reader: ChunkReader, size: int) -> None:
    if not reader.fill(size):
        raise zstandard.ZstdError("the last frame is truncated")


def _decompressor(data: bytes, size: int) -> zstandard.ZstdDecompressor:
    """This thread's decompressor, once the frame's header promises what it must.

    Raises:
        zstandard.ZstdError: If it promises anything else.
    """
    header = zstandard.get_frame_parameters(data)
    if header.content_size != size or header.dict_id or header.window_size > MAX_FRAME:
        raise zstandard.ZstdError(
            f"the frame's header says {header.content_size} bytes, window {header.window_size}, "
            f"dictionary {header.dict_id}, instead of {size} bytes"
        )
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME)
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found
