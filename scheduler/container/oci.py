"""Writes an image of one layer into an OCI layout folder (image-spec ``image-layout.md``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from container.layer import Layer, compress
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.oci.source import digest_of
from proa.core.release.document import MANIFEST_TYPE, Blob

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Description:
    """What an image says of itself.

    Attributes:
        config: How it is run (image-spec ``config.md``, ``config``).
        labels: Its labels, which the manifest has as annotations.
        made_by: The command that made it.
    """

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    made_by: str


def write(out: Path, tag: str, layer: Layer, said: Description) -> Blob:
    """Write the image; its manifest's digest, with the size of the layer as it is pulled.

    Args:
        out: The layout folder; made if it is not there.
        tag: The image's tag in it.
        layer: Its files.
        said: What it says of itself.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    tar = layer.tar()
    with LayoutDir(Reference("", "", layout=out)) as layout:
        blob = layout.push_blob(compress(tar))
        config = layout.push_blob(_json(_config(layer.date, digest_of(tar), said)))
        digest = layout.push_manifest(_json(_manifest(layer.date, config, blob, said)), tag)
    return Blob(digest, blob.size)


def _config(date: int, diff: str, said: Description) -> dict[str, Any]:
    """The image's configuration (image-spec ``config.md``)."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": _time(date),
        "config": {**said.config, "Labels": dict(said.labels)},
        "rootfs": {"type": "layers", "diff_ids": [diff]},
        "history": [{"created": _time(date), "created_by": said.made_by}],
    }


def _manifest(date: int, config: Blob, layer: Blob, said: Description) -> dict[str, Any]:
    """The manifest (image-spec ``manifest.md``)."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size}],
        "annotations": {**said.labels, "org.opencontainers.image.created": _time(date)},
    }


def _time(date: int) -> str:
    return datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
