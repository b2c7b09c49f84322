"""The content of a release's blobs as streams: from the source's chunks to verified bytes of a slot."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from proa.agent.node.cancel import Cancel
from proa.core.oci.source import Source
from proa.core.release.chunks import ChunkReader
from proa.core.release.document import BLOCK_SIZE, Blob, Release, Root
from proa.core.release.frames import (
    Checked,
    FrameMap,
    check_frame,
    decode_maps,
    decompress_stream,
    expected,
    map_size,
)
from proa.core.release.verity import DIGEST_SIZE, Geometry, check_tree
from proa.core.runtime.errors import Code, ProaError


def fetch_maps(source: Source, release: Release) -> dict[str, FrameMap]:
    """The frames of root and boot image, as the signed map names them.

    Raises:
        ProaError: ``DIGEST``, ``FRAMES``, or as the source does.
    """
    blob, sizes = release.blobs["map"], expected(release)
    if blob.size != map_size(sizes):
        what = f"the map has {blob.size} bytes instead of {map_size(sizes)}"
        raise ProaError(Code.FRAMES, what, at="blobs.map")
    return decode_maps(source.small_blob(blob.digest, blob.size), expected=sizes)


def fetch_tree(source: Source, release: Release, cancel: Cancel) -> Iterator[bytes]:
    """The verity tree, verified from the top down before it comes out.

    Raises:
        ProaError: ``VERITY``, ``FRAMES``, ``DIGEST``, or as the source does.
    """
    blob, root = release.blobs["tree"], release.root
    geometry = Geometry.of(root.size)
    if geometry.tree_size != root.tree_size:
        what = (
            f"the document says that the tree has {root.tree_size} bytes, but an image of {root.size} "
            f"needs {geometry.tree_size}"
        )
        raise ProaError(Code.VERITY, what, at="root.tree_size")
    plain = decompress_stream(watched(source.blob(blob.digest, blob.size), cancel), root.tree_size)
    return check_tree(plain, geometry, root.root_hash, bytes.fromhex(root.salt))


def fetch_frames(
    source: Source, blob: Blob, frames: FrameMap, part: range, cancel: Cancel
) -> Generator[Checked, None, None]:
    """Fetch a part of a payload: its frames as they are fetched, in order, each checked before it comes out.

    What one place does not give as it must be comes from the next.

    Args:
        source: Where it comes from.
        blob: The payload as it is fetched.
        frames: Its frames.
        part: The numbers of the frames that are wanted.
        cancel: The wish to stop.

    Raises:
        ProaError: ``DIGEST``, or as the source does.
    """
    at = part.start
    while at < part.stop:
        with source.turn() as place:
            for data in _frames(place, blob, frames, range(at, part.stop), cancel):
                at += 1
                yield data


def _frames(source: Source, blob: Blob, frames: FrameMap, part: range, cancel: Cancel) -> Iterator[Checked]:
    start, end = frames.extent(part)
    if len(part) == len(frames.frames):
        end = blob.size
    reader = ChunkReader(source.blob(blob.digest, blob.size, start=start, end=end))
    for number in part:
        cancel.check()
        frame = frames.frames[number]
        yield check_frame(reader.take(frame.compressed), frame)
    while reader.take(1 << 16):  # the seek table: the source checks the whole blob at its end
        pass


def leaves_of(pieces: Iterable[bytes], root: Root) -> Iterator[bytes]:
    """The hashes of a root's blocks alone, in order and in pieces, out of its tree.

    Args:
        pieces: The tree, cut anywhere.
        root: The root.
    """
    leaves = Geometry.of(root.size).levels[0].offset
    left, place = root.size // BLOCK_SIZE * DIGEST_SIZE, 0
    for piece in pieces:
        part = piece[max(0, leaves - place) :][:left]
        place, left = place + len(piece), left - len(part)
        yield part


def watched(chunks: Iterable[bytes], cancel: Cancel) -> Iterator[bytes]:
    """The same chunks, until a stop is requested."""
    for chunk in chunks:
        cancel.check()
        yield chunk
