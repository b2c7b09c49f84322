"""``make push-image TO=REF``: brings the built image to a registry; neither docker nor skopeo is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from proa.core.oci.options import access, registry_options
from proa.core.oci.reference import Reference, parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import Payload, Target, read_descriptor
from proa.core.oci.target import open_target
from proa.core.runtime.cli import run_command


def push(folder: Path, target: Target) -> str:
    """Copy the image of a layout folder, blob by blob; the tag is set last. The manifest's digest comes back.

    Args:
        folder: The layout folder, which holds one image.
        target: The repository, opened with the tag that is meant; ``latest`` without one.

    Raises:
        ProaError: ``NOT_FOUND`` when there is no image; ``AUTH``, ``REGISTRY``, ``NETWORK``.
    """
    with open_source(Reference("", "", layout=folder)) as source:
        digest = source.resolve()
        data = source.manifest(digest)
        manifest = json.loads(data)
        for part in (manifest["config"], *manifest["layers"]):
            blob = read_descriptor(part)
            path = folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
            target.push_blob(Payload.of(path))
    return target.push_manifest(data, target.reference.tag or "latest")


@click.command(epilog="Example: python -m container.push build/image registry.example.net/proa-scheduler:stable")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("target", metavar="REF")
@registry_options
def cli(folder: Path, target: str, **reach: Any) -> None:
    """Push the image that lies in FOLDER; prints REF@sha256:..."""
    where = parse(target)
    with open_target(where, access(reach)) as registry:
        digest = push(folder, registry)
    click.echo(str(where.pinned(digest)))


if __name__ == "__main__":
    run_command(cli, "container.push")
