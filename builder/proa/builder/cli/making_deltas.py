"""``proa-build delta``: the delta between two releases, beside the newer one."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proa.builder.build.delta import Side, make_units
from proa.builder.cli.contents import Contents
from proa.core.artifact import deltas
from proa.core.oci.access import Access
from proa.core.oci.source import blob_of
from proa.core.oci.target import open_target
from proa.core.release.delta import MAX_INDEX, Delta, Unit, encode_index
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Monitor, Progress, human_bytes
from proa.core.schema.model import Report, field
from proa.core.schema.values import Count, Digest, Hash
from proa.core.signing.keys import Signer


@dataclass(frozen=True)
class MadeDelta(Report, schema="proa.delta/v1"):
    """`proa-build delta`: a delta between two releases."""

    digest: Digest | None = field("Digest of the delta's manifest; null if it was not stored.")
    old: Hash = field("Root hash of OLD.")
    new: Hash = field("Root hash of NEW.")
    bytes: Count = field("Bytes that a node fetches for the root by the delta.")
    frames: Count = field("Bytes that it fetches for the root without it.")
    units: Count = field("Rows of frames that the delta holds.")
    seconds: float = field("Time that it took, in seconds.", minimum=0)
    peak_memory: Count = field("The most memory that the process had, in bytes.")
    stored: bool = field("Whether it is beside NEW now.")


@dataclass(frozen=True)
class DeltaOrder:
    """What is asked for.

    Attributes:
        old: The release that nodes run.
        new: The release that they are to get.
        reach: How registries are reached.
        signers: Whose word the delta is.
        level: zstd's level.
        dry_run: Whether nothing is stored.
        monitor: Where progress is told.
    """

    old: Contents
    new: Contents
    reach: Access
    signers: Sequence[Signer]
    level: int
    dry_run: bool
    monitor: Monitor


def make(order: DeltaOrder) -> MadeDelta:
    """Make a delta, and store it beside NEW.

    Raises:
        ProaError: ``DELTA`` where none can be made, or what a registry says.
    """
    started = time.monotonic()
    old, new = order.old.release.root, order.new.release.root
    if old.salt != new.salt or old.root_hash == new.root_hash:
        what = "they have the same root" if old.salt == new.salt else "their salts differ, so they share no block"
        raise ProaError(Code.DELTA, f"{order.old.name} and {order.new.name}: {what}")
    with tempfile.TemporaryDirectory(prefix="proa-delta-") as name:
        files = {part: Path(name) / part for part in ("index", "units")}
        units = _write(order, files)
        blobs = {part: blob_of(path) for part, path in files.items()}
        delta = Delta(old.root_hash, old.size, new.root_hash, new.size, new.frame_size, blobs)
        digest = None if order.dry_run else _store(order, delta, files)
    frames = order.new.frame_map("root").frames
    return MadeDelta(
        digest,
        old.root_hash,
        new.root_hash,
        delta.size,
        sum(frames[number].compressed for unit in units for number in unit.frames),
        len(units),
        round(time.monotonic() - started, 3),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        not order.dry_run,
    )


def _write(order: DeltaOrder, files: dict[str, Path]) -> list[Unit]:
    root = order.new.release.root
    salt = bytes.fromhex(root.salt)
    old, new = (Side.of(one.data, salt) for one in (order.old, order.new))
    with files["units"].open("wb") as sink:
        units = make_units(
            old,
            new,
            root.frame_size,
            sink,
            level=order.level,
            progress=lambda done, total: order.monitor.emit(Progress("units", done, total)),
        )
    index = encode_index(units)
    if not units or len(index) > MAX_INDEX:
        what = "OLD has all of NEW" if not units else f"its index would have more than {MAX_INDEX} bytes"
        raise ProaError(Code.DELTA, what)
    files["index"].write_bytes(index)
    return units


def _store(order: DeltaOrder, delta: Delta, files: dict[str, Path]) -> str:
    opened = order.new.opened
    with open_target(opened.source.reference, order.reach) as target:
        return deltas.attach(target, opened.manifest_digest, delta, files, order.signers)


def text(made: MadeDelta) -> str:
    """The same for people."""
    saved = f"{human_bytes(made.bytes)} instead of {human_bytes(made.frames)} in frames"
    where = f"stored as {made.digest}" if made.stored else "not stored"
    return f"{made.old[:12]} -> {made.new[:12]}: {saved}\n{made.units} units, {made.seconds:.1f} s; {where}"
