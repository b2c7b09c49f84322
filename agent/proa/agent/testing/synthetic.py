"""Releases without a builder, out of any bytes: for tests of the agent and for measuring it."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.core.artifact.release_artifact import sign_release, write_release
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.oci.source import blob_of
from proa.core.release import frames
from proa.core.release.document import BLOCK_SIZE, FRAME_SIZE, Blob, Boot, Release, Requires, Root
from proa.core.release.verity import build_tree, tree_size
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import sha256
from proa.core.runtime.process import run
from proa.core.signing.keys import Signer

_PIECE: Final = 1 << 16
TREE_FRAME_SIZE: Final = 1 << 14
"""Bytes of a tree in one frame, as the builder has it."""


@dataclass(frozen=True)
class Recipe:
    """What a synthetic release says of itself; the defaults suit a node of compatible ``test``.

    Attributes:
        root: The file that is the root image, a multiple of 4096 bytes.
        boot: The file that is the boot image.
        uki: The file that is the kernel image in it.
        level: How hard zstd tries.
        tree_of: The image that the verity tree is made of, if it is to be another one: for tests.
    """

    root: Path
    boot: Path
    uki: Path
    name: str = "test"
    version: str = "1"
    architecture: str = "amd64"
    compatible: str = "test"
    serial: int = 1
    floor: int = 0
    expires: str = ""
    settings: str = ""
    requires: Requires = field(default_factory=lambda: Requires(1, "0.1.0", 1))
    salt: str = "5a" * 32
    level: int = 3
    tree_of: Path | None = None


def make_release(recipe: Recipe, folder: Path, signers: Sequence[Signer], work: Path, **lies: Any) -> str:
    """Put a signed release into the OCI layout ``folder``; the digest of its manifest comes back.

    Args:
        recipe: What it is made of.
        folder: The layout folder.
        signers: Whose signatures it gets.
        work: A folder for what is in between.
        lies: Fields of the document's ``root`` or ``boot`` that are to say something else than the truth, for tests
            of what a node then does.
    """
    files = {name: work / f"{recipe.version}.{name}" for name in ("root", "map", "tree", "boot", "sbom")}
    plain_tree = work / f"{recipe.version}.plain"
    with (recipe.tree_of or recipe.root).open("rb") as image, plain_tree.open("wb+") as tree:
        root_hash = build_tree(image, tree, bytes.fromhex(recipe.salt))
    maps = {name: _compress(source, files[name], recipe) for name, source in _payloads(recipe)}
    _compress(plain_tree, files["tree"], recipe, TREE_FRAME_SIZE)
    plain_tree.unlink()
    files["map"].write_bytes(frames.encode_maps(maps))
    files["sbom"].write_text("{}\n")
    release = _document(recipe, root_hash, {name: blob_of(path) for name, path in files.items()}, lies)
    digest = write_release(folder, release, files)
    with LayoutDir(Reference("", "", layout=folder)) as layout:
        sign_release(layout, digest, signers)
    return digest


def make_boot_image(path: Path, uki: Path, size: int = 2 << 20) -> None:
    """A FAT image with a kernel image at its place.

    Raises:
        ProaError: ``TOOL`` or ``TOOL_MISSING`` (mtools).
    """
    with path.open("wb") as image:
        image.truncate(size)
    run(["mformat", "-i", path, "-T", str(size // 512), "-N", "0", "::"])
    run(["mmd", "-i", path, "::/EFI", "::/EFI/proa"])
    run(["mcopy", "-i", path, uki, "::/EFI/proa/uki.efi"])


def make_noise(path: Path, size: int, seed: int) -> None:
    """Bytes that compress to about two fifths, as a root file system does; equal seeds give equal bytes."""
    source = random.Random(seed)
    with path.open("wb") as file:
        for done in range(0, size, _PIECE):
            text = source.randbytes(48) * 768
            file.write((source.randbytes(_PIECE - len(text)) + text)[: size - done])


def make_sample(path: Path, folders: Sequence[Path], size: int) -> None:
    """The content of real files, one behind the other, up to ``size`` bytes: it compresses as a root does.

    Raises:
        ProaError: ``FILE_MISSING`` when there is not that much.
    """
    with path.open("wb") as sink:
        for file in _files(folders):
            sink.write(file.read_bytes()[: size - sink.tell()])
            if sink.tell() == size:
                return
        raise ProaError(Code.FILE_MISSING, f"there are only {sink.tell()} of {size} bytes", at=folders[0])


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    yield path


def _payloads(recipe: Recipe) -> tuple[tuple[str, Path], ...]:
    return ("root", recipe.root), ("boot", recipe.boot)


def _compress(source: Path, target: Path, recipe: Recipe, frame_size: int = FRAME_SIZE) -> frames.FrameMap:
    with source.open("rb") as plain, target.open("wb") as sink:
        return frames.compress(plain, sink, frame_size=frame_size, level=recipe.level)


def _document(recipe: Recipe, root_hash: str, blobs: dict[str, Blob], lies: dict[str, Any]) -> Release:
    size, boot_size = recipe.root.stat().st_size, recipe.boot.stat().st_size
    root: dict[str, Any] = {
        "filesystem": "erofs",
        "size": size,
        "block_size": BLOCK_SIZE,
        "root_hash": root_hash,
        "salt": recipe.salt,
        "tree_size": tree_size(size),
        "frame_size": FRAME_SIZE,
    }
    boot: dict[str, Any] = {
        "size": boot_size,
        "digest": f"sha256:{sha256(recipe.boot)}",
        "uki_digest": f"sha256:{sha256(recipe.uki)}",
        "content": _content(recipe.boot),
    }
    for place in (root, boot):
        place.update({key: value for key, value in lies.items() if key in place})
    return Release(
        name=recipe.name,
        version=recipe.version,
        architecture=recipe.architecture,
        compatible=recipe.compatible,
        created="2026-01-01T00:00:00+00:00",
        serial=recipe.serial,
        floor=recipe.floor,
        root=Root(**root),
        boot=Boot(**boot),
        requires=recipe.requires,
        blobs=blobs,
        expires=recipe.expires,
        settings=recipe.settings,
    )


def _content(image: Path) -> str:
    with image.open("rb") as file:
        return frames.content_names(file)


def digest_of_range(path: Path, start: int, size: int) -> str:
    """SHA-256 over some bytes of a file, in hexadecimal: to see that they did not change."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        left = size
        while left and (data := file.read(min(left, 1 << 20))):
            hasher.update(data)
            left -= len(data)
    return hasher.hexdigest()
