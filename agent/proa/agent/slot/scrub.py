"""Reads a slot against its verity tree: whether what was written is still there."""

from __future__ import annotations

import hashlib
from typing import Final

from proa.agent.node.record import SlotRecord
from proa.agent.node.reports import Scrubbed
from proa.agent.node.view import Context, View, known_slot
from proa.agent.slot.region import Opener, Region, open_direct, open_for_reading
from proa.core.release.document import BLOCK_SIZE
from proa.core.release.verity import DIGEST_SIZE, Geometry, TreeReader, hash_blocks
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Progress
from proa.partition.boot.bootstate import Slot

CHUNK: Final = 1 << 20
"""Bytes that are read at a time."""
NAMED: Final = 20
"""Damaged blocks that are named."""
NOT_KNOWN: Final = "not known"
"""What is said of a kernel image without a digest to go by."""


def scrub(context: Context, view: View, slot: Slot, opener: Opener = open_direct) -> Scrubbed:
    """Read all of a slot without changing anything.

    Raises:
        ProaError: ``NOT_STAGED`` when it is not known what the slot should hold, ``DEVICE`` when it cannot be read.
    """
    known = known_slot(view, slot)
    if known is None or not known.complete:
        raise ProaError(Code.NOT_STAGED, f"nothing complete is recorded for slot {slot.value}")
    root, boot = view.extents(slot)
    with open_for_reading(root, opener) as region:
        bad, first, tree = _scrub_root(context, region, known)
    with open_for_reading(boot, opener) as region:
        kernel = check_boot(region, known)
    whole = not bad and not tree and kernel in ("", NOT_KNOWN)
    return Scrubbed(slot, whole, known.root_size // BLOCK_SIZE, bad, first, tree, kernel)


def check_boot(region: Region, known: SlotRecord) -> str:
    """What is wrong with a slot's kernel image."""
    if not known.boot_size:
        return NOT_KNOWN
    digest = hashlib.sha256()
    for start in range(0, known.boot_size, CHUNK):
        digest.update(region.read(start, min(CHUNK, known.boot_size - start)))
    return "" if f"sha256:{digest.hexdigest()}" == known.boot_digest else "its bytes differ from the release"


def _scrub_root(context: Context, region: Region, known: SlotRecord) -> tuple[int, tuple[int, ...], str]:
    bad, named = 0, list[int]()
    salt = bytes.fromhex(known.salt)
    try:
        geometry = Geometry.of(known.root_size)
        tree = tree_reader(region, known.root_hash, salt, geometry)
        for start in range(0, known.root_size, CHUNK):
            context.cancel.check()
            size = min(CHUNK, known.root_size - start)
            first = start // BLOCK_SIZE
            wanted = tree.leaf_digests(first, size // BLOCK_SIZE)
            found = hash_blocks(region.read(start, size), salt)
            if found != wanted:
                wrong = [
                    first + at // DIGEST_SIZE
                    for at in range(0, len(found), DIGEST_SIZE)
                    if found[at : at + DIGEST_SIZE] != wanted[at : at + DIGEST_SIZE]
                ]
                bad += len(wrong)
                named += wrong[: NAMED - len(named)]
            context.monitor.emit(Progress("scrub", start + size, known.root_size))
    except ProaError as error:
        if error.code is not Code.VERITY:
            raise
        return bad, tuple(named), error.message
    return bad, tuple(named), ""


def tree_reader(region: Region, root_hash: str, salt: bytes, geometry: Geometry) -> TreeReader:
    """The verity tree that lies behind the image in a root partition."""

    def read(offset: int, size: int) -> bytes:
        return region.read(geometry.hash_offset + offset, size)

    return TreeReader(read, geometry, root_hash, salt)
