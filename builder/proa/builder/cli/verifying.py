"""``proa-build verify``: a release is what its signature says, down to every block and to the kernel's root hash."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proa.builder.formats import pe
from proa.core.artifact.release_artifact import OpenedRelease, open_release
from proa.core.oci.source import Source
from proa.core.release.document import BLOCK_SIZE, Release
from proa.core.release.frames import decode_maps, decompress_stream, expected
from proa.core.release.verity import Geometry, TreeReader, check_blocks, check_tree
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Monitor, Progress, step
from proa.core.signing.trust import Trust

UKI_PATH: Final = "EFI/proa/uki.efi"
"""Where the kernel image lies in the image of ``UKI-x``."""
_WINDOW: Final = 256 * BLOCK_SIZE
"""Bytes of the root that are checked at once."""


def verify(source: Source, trust: Trust, monitor: Monitor) -> tuple[OpenedRelease, list[str]]:
    """Check everything.

    Args:
        source: The release.
        trust: The keys that must have signed it.
        monitor: Where progress goes.

    Returns:
        The release, and in words what was checked.

    Raises:
        ProaError: The first thing that does not hold.
    """
    checked: list[str] = []
    with tempfile.TemporaryDirectory(prefix="proa-verify-") as name:
        folder = Path(name)
        with step(monitor, "Signature"):
            opened = open_release(source, trust)
            checked.append(f"signed by {len(opened.signers)} of {len(trust.keys)} keys")
        with step(monitor, "Map and bill of materials"):
            decode_maps(opened.small("map"), expected=expected(opened.release))
            opened.small("sbom")
            checked.append("map and bill of materials match their digests")
        with step(monitor, "Root against its verity tree"):
            _check_root(opened, folder, monitor)
            checked.append("every block of the root matches the verity tree and the root hash")
        with step(monitor, "Kernel image"):
            _check_boot(opened, folder)
            checked.append("the kernel image carries this root hash")
    return opened, checked


def _check_root(opened: OpenedRelease, folder: Path, monitor: Monitor) -> None:
    root = opened.release.root
    geometry, salt = Geometry.of(root.size), bytes.fromhex(root.salt)
    with (folder / "tree").open("w+b") as tree:
        for data in check_tree(plain(opened, "tree", root.tree_size), geometry, root.root_hash, salt):
            tree.write(data)

        def read(offset: int, size: int) -> bytes:
            tree.seek(offset)
            return tree.read(size)

        reader = TreeReader(read, geometry, root.root_hash, salt)
        done = 0
        for window in _windows(plain(opened, "root", root.size)):
            first = done // BLOCK_SIZE
            check_blocks(window, reader.leaf_digests(first, len(window) // BLOCK_SIZE), salt, first)
            done += len(window)
            monitor.emit(Progress("root", done, root.size))


def _check_boot(opened: OpenedRelease, folder: Path) -> None:
    uki = unpack_uki(opened, folder)
    check_command_line(pe.read_sections(uki).get(".cmdline", b"").decode(errors="replace").split(), opened.release)


def unpack_uki(opened: OpenedRelease, folder: Path) -> Path:
    """The kernel image of a release, as a file of a folder, verified by its digests.

    Raises:
        ProaError: ``DIGEST``, or what reading says.
    """
    release = opened.release
    image, uki = folder / "boot.img", folder / "uki.efi"
    digest = hashlib.sha256()
    with image.open("wb") as sink:
        for data in plain(opened, "boot", release.boot.size):
            digest.update(data)
            sink.write(data)
    if f"sha256:{digest.hexdigest()}" != release.boot.digest:
        raise ProaError(Code.DIGEST, "the boot image does not match its digest", at="boot")
    process.run(("mcopy", "-n", "-i", image, f"::/{UKI_PATH}", uki), env={"MTOOLSRC": "/dev/null"})
    with uki.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if f"sha256:{found}" != release.boot.uki_digest:
        raise ProaError(Code.DIGEST, "the kernel image does not match its digest", at=UKI_PATH)
    return uki


def check_command_line(words: list[str], release: Release) -> None:
    """The kernel's signed command line must name the root that the release document names.

    Raises:
        ProaError: ``VERITY``.
    """
    root = release.root
    wanted = {
        "proa.root_hash": root.root_hash,
        "proa.salt": root.salt,
        "proa.data_blocks": str(root.size // BLOCK_SIZE),
        "proa.hash_offset": str(root.size),
    }
    for name, value in wanted.items():
        found = [word.partition("=")[2] for word in words if word.partition("=")[0] == name]
        if found != [value]:
            what = f"the kernel image has {name}={','.join(found) or 'nothing'}, but the release has {value}"
            raise ProaError(Code.VERITY, what, at=UKI_PATH)


def plain(opened: OpenedRelease, name: str, size: int) -> Iterable[bytes]:
    """The content of a blob that is kept in frames."""
    blob = opened.blob(name)
    return decompress_stream(opened.source.blob(blob.digest, blob.size), size)


def _windows(chunks: Iterable[bytes]) -> Iterable[bytes]:
    """The same bytes in pieces of whole blocks."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= _WINDOW:
            cut = len(held) - len(held) % BLOCK_SIZE
            yield bytes(held[:cut])
            del held[:cut]
    if held:
        yield bytes(held)
