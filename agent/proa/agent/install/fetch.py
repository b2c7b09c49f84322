"""The content of a release's blobs as streams: from the source's chunks to verified bytes of a slot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proa.agent.node.cancel import Cancel
from proa.agent.slot.writer import SlotWriter
from proa.core.oci.source import Source
from proa.core.release.chunks import ChunkReader
from proa.core.release.document import Blob, Release
from proa.core.release.frames import FrameMap, decode_maps, decompress_into, decompress_stream, expected, map_size
from proa.core.release.verity import Geometry, check_tree
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


def fetch_frames(source: Source, blob: Blob, frames: FrameMap, cancel: Cancel, writer: SlotWriter) -> None:
    """Fetch a payload and pass its content to the writer; no frame reaches the decompressor unverified.

    Raises:
        ProaError: ``DIGEST``, ``FRAMES``, or as the source and the belt do.
    """
    reader = ChunkReader(source.blob(blob.digest, blob.size))
    for frame in frames.frames:
        cancel.check()
        decompress_into(reader.take(frame.compressed), frame, writer.room(frame.size))
    while reader.take(1 << 16):  # the seek table: the source checks the whole blob at its end
        pass


def watched(chunks: Iterable[bytes], cancel: Cancel) -> Iterator[bytes]:
    """The same chunks, until a stop is requested."""
    for chunk in chunks:
        cancel.check()
        yield chunk
