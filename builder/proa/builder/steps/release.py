"""The release: payload frames, their map, the verity tree and the document, as an OCI layout folder, signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from proa.builder.engine.context import BuildContext
from proa.builder.node import settable
from proa.core.artifact import attestations, release_artifact
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.oci.source import blob_of
from proa.core.release import frames
from proa.core.release.document import (
    BLOCK_SIZE,
    FRAME_SIZE,
    LAYOUT_VERSION,
    LOADER_VERSION,
    Blob,
    Boot,
    Release,
    Requires,
    Root,
)
from proa.core.release.frames import FrameMap
from proa.core.runtime.events import Progress
from proa.core.runtime.files import os_errors, sha256

MIN_AGENT: Final = "0.1.0"
"""The lowest version of the agent that can install what this builder writes."""
TREE_FRAME_SIZE: Final = 16 * 1024
"""Bytes of the verity tree in one zstd frame: what a node fetches for each change within 2 MiB of the root."""
_FORMAT: Final = "erofs"


class ReleaseStep:
    """See the module."""

    name = "release"
    title = "Release"
    needs = ("root", "verity", "uki", "sbom", "provenance")
    tools = ()
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """What the document says besides digests, the level, and who signs."""
        release = context.config.release
        return {
            "name": release.name,
            "version": release.version,
            "architecture": release.architecture,
            "compatible": release.compatible,
            "serial": release.serial,
            "floor": release.floor,
            "expires": release.expires,
            "requires": [LAYOUT_VERSION, MIN_AGENT, LOADER_VERSION],
            "level": context.config.build.compression,
            "signers": [key.public.id for key in context.keys.signers] if context.keys else [],
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Write it; sign it, its bills of materials and its provenance with every release key there is.

        Raises:
            ProaError: ``KEY``, ``DISK_FULL``, ``DIGEST``.
        """
        files = _write_blobs(context)
        release = _document(context, {name: blob_of(path) for name, path in files.items()})
        (out / "release.json").write_bytes(release.encode())
        digest = release_artifact.write_release(out / "release", release, files)
        signers = context.keys.signers if context.keys else ()
        with LayoutDir(Reference("", "", layout=out / "release")) as layout:
            release_artifact.sign_release(layout, digest, signers)
            attestations.attest(layout, digest, _predicates(context), signers)


def _write_blobs(context: BuildContext) -> dict[str, Path]:
    """Every blob as a file."""
    plain = {
        "boot": context.output("uki") / "boot.img",
        "root": context.output("root") / "root.erofs",
        "tree": context.output("verity") / "root.tree",
    }
    blobs = {name: context.scratch / name for name in plain}
    sizes = {"tree": TREE_FRAME_SIZE}
    maps = {
        name: _compress(context, name, path, blobs[name], sizes.get(name, FRAME_SIZE)) for name, path in plain.items()
    }
    blobs["map"] = context.scratch / "map"
    blobs["map"].write_bytes(frames.encode_maps({name: maps[name] for name in ("boot", "root")}))
    blobs["sbom"] = context.output("sbom") / "sbom.spdx.json"
    return blobs


def _compress(context: BuildContext, name: str, source: Path, target: Path, frame_size: int) -> FrameMap:
    total = source.stat().st_size

    def progress(done: int) -> None:
        context.monitor.emit(Progress(f"compress {name}", done, total))

    with os_errors(target), source.open("rb") as reader, target.open("wb") as writer:
        level = context.config.build.compression
        return frames.compress(reader, writer, frame_size=frame_size, level=level, progress=progress)


def _predicates(context: BuildContext) -> dict[str, Any]:
    files = {
        attestations.SPDX: context.output("sbom") / "sbom.spdx.json",
        attestations.CYCLONEDX: context.output("sbom") / "sbom.cdx.json",
        attestations.PROVENANCE: context.output("provenance") / "provenance.json",
    }
    return {kind: json.loads(path.read_text()) for kind, path in files.items()}


def _document(context: BuildContext, blobs: Mapping[str, Blob]) -> Release:
    release = context.config.release
    return Release(
        name=release.name,
        version=release.version,
        architecture=release.architecture,
        compatible=release.compatible,
        created=datetime.fromtimestamp(context.epoch, UTC).isoformat(),
        serial=release.serial,
        floor=release.floor,
        root=_root(context),
        boot=_boot(context),
        requires=Requires(LAYOUT_VERSION, MIN_AGENT, LOADER_VERSION),
        blobs=blobs,
        expires=release.expires,
        settings=settable.listed(context.config),
    )


def _root(context: BuildContext) -> Root:
    verity: dict[str, Any] = json.loads((context.output("verity") / "verity.json").read_text())
    return Root(
        filesystem=_FORMAT,
        size=verity["hash_offset"],
        block_size=BLOCK_SIZE,
        root_hash=verity["root_hash"],
        salt=verity["salt"],
        tree_size=verity["tree_size"],
        frame_size=FRAME_SIZE,
    )


def _boot(context: BuildContext) -> Boot:
    uki = context.output("uki")
    image = uki / "boot.img"
    with image.open("rb") as file:
        content = frames.content_names(file)
    return Boot(image.stat().st_size, f"sha256:{sha256(image)}", f"sha256:{sha256(uki / 'uki.efi')}", content)


RELEASE: Final = ReleaseStep()
