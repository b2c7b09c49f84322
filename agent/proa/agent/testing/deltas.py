"""Deltas without a builder, between any two root images: for tests of what a node makes of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from proa.agent.testing.synthetic import Recipe
from proa.core.artifact import deltas
from proa.core.artifact.release_artifact import inspect_release
from proa.core.oci.reference import parse
from proa.core.oci.source import blob_of
from proa.core.oci.target import open_target
from proa.core.release.delta import Delta, Unit, encode_index, pack
from proa.core.release.document import BLOCK_SIZE, FRAME_SIZE
from proa.core.release.verity import build_tree
from proa.core.signing.keys import Signer

ROW: Final = 4
"""Frames of a unit."""


@dataclasses.dataclass
class Making:
    """A delta before it is stored, to be changed by those who try what a node does then.

    Attributes:
        units: What its index says.
        data: The packed units, one behind the other.
        index: The index, if it is to be another one than that of the units.
        document: Fields of the document that are to say something else.
    """

    units: list[Unit]
    data: bytearray
    index: bytes = b""
    document: dict[str, Any] = dataclasses.field(default_factory=dict)


Change = Callable[[Making], object]


def units_of(old: bytes, new: bytes) -> Making:
    """All frames that have a block which the older root lacks, each row packed against its own place in it."""
    known = {old[at : at + BLOCK_SIZE] for at in range(0, len(old), BLOCK_SIZE)}
    blocks = [new[at : at + BLOCK_SIZE] not in known for at in range(0, len(new), BLOCK_SIZE)]
    step = FRAME_SIZE // BLOCK_SIZE
    wanted = [number for number in range(-(-len(blocks) // step)) if any(blocks[number * step : (number + 1) * step])]
    made = Making([], bytearray())
    while wanted:
        row = wanted[:1]
        while wanted[len(row) :] and wanted[len(row)] == row[-1] + 1 and len(row) < ROW:
            row.append(wanted[len(row)])
        del wanted[: len(row)]
        start, end = row[0] * FRAME_SIZE, min((row[-1] + 1) * FRAME_SIZE, len(new))
        prefix = range(start // BLOCK_SIZE, min(end, len(old)) // BLOCK_SIZE)
        packed = pack(new[start:end], old[prefix.start * BLOCK_SIZE : prefix.stop * BLOCK_SIZE], 3)
        add(made, range(row[0], row[-1] + 1), prefix, packed)
    return made


def add(made: Making, frames: range, prefix: range, packed: bytes) -> None:
    """One unit more."""
    parts = (prefix,) if len(prefix) else ()
    made.units.append(Unit(frames, parts, len(made.data), len(packed), hashlib.sha256(packed).digest()))
    made.data += packed


def attach_delta(
    reference: str, old: Recipe, new: Recipe, signers: Sequence[Signer], work: Path, change: Change = id
) -> Delta:
    """Store a delta between two releases beside the newer one.

    Args:
        reference: The newer release.
        old: What the older one is made of.
        new: What the newer one is made of.
        signers: Whose signatures it gets.
        work: A folder for what is in between.
        change: What is to be wrong with it.
    """
    made = units_of(old.root.read_bytes(), new.root.read_bytes())
    change(made)
    work.mkdir(parents=True, exist_ok=True)
    files = {"index": work / "index", "units": work / "units"}
    files["index"].write_bytes(made.index or encode_index(made.units))
    files["units"].write_bytes(made.data)
    sizes = old.root.stat().st_size, new.root.stat().st_size
    roots = _root_hash(old, work), _root_hash(new, work)
    delta = Delta(roots[0], sizes[0], roots[1], sizes[1], FRAME_SIZE, {k: blob_of(path) for k, path in files.items()})
    delta = dataclasses.replace(delta, **made.document)
    with open_target(parse(reference)) as target:
        deltas.attach(target, inspect_release(target).manifest_digest, delta, files, signers)
    return delta


def _root_hash(recipe: Recipe, work: Path) -> str:
    with recipe.root.open("rb") as image, (work / "tree").open("wb+") as tree:
        return build_tree(image, tree, bytes.fromhex(recipe.salt))
