"""Verity: the hash tree over the root image, and the root hash that names the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine.context import BuildContext
from proa.core.release.document import BLOCK_SIZE
from proa.core.release.verity import Geometry, build_tree
from proa.core.runtime.events import Progress


class VerityStep:
    """See the module."""

    name = "verity"
    title = "Verity tree"
    needs = ("root",)
    tools = ()
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The salt."""
        return {"salt": salt(context.config.release.name).hex()}

    def run(self, context: BuildContext, out: Path) -> None:
        """Hash the image."""
        image = context.output("root") / "root.erofs"
        size = image.stat().st_size

        def tell(done: int) -> None:
            context.monitor.emit(Progress(self.name, done, size))

        with image.open("rb") as source, (out / "root.tree").open("wb") as sink:
            root_hash = build_tree(source, sink, salt(context.config.release.name), progress=tell)
        geometry = Geometry.of(size)
        document = {
            "root_hash": root_hash,
            "salt": salt(context.config.release.name).hex(),
            "data_blocks": size // BLOCK_SIZE,
            "hash_offset": geometry.hash_offset,
            "tree_size": geometry.tree_size,
        }
        (out / "verity.json").write_text(json.dumps(document, indent=1) + "\n")


def salt(name: str) -> bytes:
    """The salt of a product line: one for all its releases, so that equal blocks have equal hashes."""
    return hashlib.sha256(f"proa salt {name}".encode()).digest()


VERITY: Final = VerityStep()
