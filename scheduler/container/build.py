"""``make image``: the container image of scheduler and proxy, as an OCI layout folder; docker is not needed.

Debian's Python, the locked wheels and Proa's own packages in one layer: no shell, no package manager. Equal inputs give
an equal image; ``SOURCE_DATE_EPOCH`` is its date, and without it the date of Debian's newest index.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from container import debian, software
from container.layer import Layer, compress
from proa.core import SCHEMA_VERSION
from proa.core.cli import run_command
from proa.core.layoutdir import LayoutDir
from proa.core.reference import Reference
from proa.core.release import MANIFEST_TYPE, Blob
from proa.core.source import digest_of

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
USER: Final = 65532
"""The user and group that the image runs as, unless the manifests say otherwise."""
_ACCOUNTS: Final = {
    "etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nproa:x:{USER}:{USER}:proa:/:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nproa:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True)
class Image:
    """What was built.

    Attributes:
        digest: Of its manifest.
        packed: Bytes of the layer as it is pulled.
        unpacked: Bytes of its files.
        packages: What is in it, each as ``NAME=VERSION``.
    """

    digest: str
    packed: int
    unpacked: int
    packages: tuple[str, ...]


def build(out: Path, tag: str) -> Image:
    """Build the image.

    Args:
        out: The layout folder; made if it is not there.
        tag: The image's tag in it.

    Raises:
        ProaError: ``PACKAGES``, ``MIRROR``; ``DEVICE`` or ``DISK_FULL``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        packages, wheels = Path(scratch) / "debs", Path(scratch) / "site"
        packages.mkdir()
        debs = debian.download(packages)
        layer = Layer(int(os.environ.get("SOURCE_DATE_EPOCH") or debs.date))
        listed = debian.add(layer, debs)
        listed += software.add(layer, wheels)
    for name, content in _ACCOUNTS.items():
        layer.write(name, content.encode())
    for name in ("proc", "sys", "dev", "run"):
        layer.folder(name)
    layer.folder("tmp", 0o1777)
    tar = layer.tar()
    with LayoutDir(Reference("", "", layout=out)) as layout:
        blob = layout.push_blob(compress(tar))
        config = layout.push_blob(_json(_config(layer.date, digest_of(tar))))
        digest = layout.push_manifest(_json(_manifest(layer.date, config, blob)), tag)
    return Image(digest, blob.size, layer.size, tuple(listed))


def _config(date: int, diff: str) -> dict[str, Any]:
    """The image's configuration (image-spec ``config.md``)."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": _time(date),
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": ["/usr/bin/proa-scheduler"],
            "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"],
            "WorkingDir": "/",
            "Labels": _labels(),
        },
        "rootfs": {"type": "layers", "diff_ids": [diff]},
        "history": [{"created": _time(date), "created_by": "python -m container.build"}],
    }


def _manifest(date: int, config: Blob, layer: Blob) -> dict[str, Any]:
    """The manifest (image-spec ``manifest.md``)."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size}],
        "annotations": _labels() | {"org.opencontainers.image.created": _time(date)},
    }


def _labels() -> dict[str, str]:
    """What the image says of itself (image-spec ``annotations.md``)."""
    return {
        "org.opencontainers.image.title": "proa-scheduler",
        "org.opencontainers.image.description": "Takes the nodes of a cluster from one release to the next",
        "org.opencontainers.image.version": SCHEMA_VERSION,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": f"debian:{debian.SUITE}",
    }


def _time(date: int) -> str:
    return datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@click.command(epilog="Example: python -m container.build -o build/image")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("build/image"), help="The layout folder.")
@click.option("--tag", default=SCHEMA_VERSION, help="The image's tag in it.")
def cli(out: Path, tag: str) -> None:
    """Build the container image of scheduler and proxy as an OCI layout."""
    image = build(out, tag)
    sizes = f"{image.packed / (1 << 20):.1f} MiB to pull, {image.unpacked / (1 << 20):.1f} MiB unpacked"
    click.echo(f"oci:{out}:{tag}@{image.digest}\n{sizes}, {len(image.packages)} packages", file=sys.stdout)


if __name__ == "__main__":
    run_command(cli, "container.build")
