"""The last steps on a tree: bytecode that stays valid, and the file system image."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

from proa.builder.node.software import SITE
from proa.builder.node.tree import Tree
from proa.core.release.document import BLOCK_SIZE
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

CHUNK_SIZE: Final = 65536
"""Bytes of a chunk; files are laid out so that equal content lies alike in each release (docs/explanation)."""


def compile_python(tree: Tree) -> None:
    """Compile every module to bytecode that is bound to its source's hash and not looked at again (PEP 552).

    Times in the image are all the same, so that bytecode bound to times would be stale at every start.
    """
    folders = [f"/usr/lib/{path.name}" for path in sorted(tree.path("/usr/lib").glob("python3*"))]
    argv = ("python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", *folders, SITE)
    tree.run(argv, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1")


def make_image(tree: Tree, image: Path, *, epoch: int, name: str) -> None:
    """Write the tree as EROFS.

    Args:
        tree: The tree.
        image: The file to write.
        epoch: Every time in the image, in seconds since 1970.
        name: The product line; the file system's UUID follows from it.

    Raises:
        ProaError: ``TOOL`` or ``DISK_FULL``.
    """
    done = process.run(
        (
            "mkfs.erofs",
            "--quiet",
            f"-T{epoch}",
            f"-U{uuid.uuid5(uuid.NAMESPACE_URL, f'proa:root:{name}')}",
            f"--chunksize={CHUNK_SIZE}",
            image,
            tree.root,
        ),
        check=False,
    )
    if done.status != 0:
        code = Code.DISK_FULL if b"No space left" in done.stdout + done.stderr else Code.TOOL
        raise process.failure(done, code)
    if image.stat().st_size % BLOCK_SIZE:
        raise ProaError(
            Code.INTERNAL, f"the image has {image.stat().st_size} bytes, which is not a multiple of the block size"
        )
