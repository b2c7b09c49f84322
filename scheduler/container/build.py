"""``make image``: the container image of scheduler and proxy, as an OCI layout folder; docker is not needed.

Debian's Python, the locked wheels and Proa's own packages in one layer: no shell, no package manager. Equal inputs give
an equal image; ``SOURCE_DATE_EPOCH`` is its date, and without it the date of the newest of Debian's packages.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from container import debian, oci, software
from container.layer import Layer
from proa.core import VERSION
from proa.core.runtime.cli import run_command
from proa.scheduler.install.settings import USER

_ACCOUNTS: Final = {
    "etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nproa:x:{USER}:{USER}:proa:/:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nproa:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_CONFIG: Final = {
    "User": f"{USER}:{USER}",
    "Entrypoint": ["/usr/bin/proa-scheduler"],
    "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"],
    "WorkingDir": "/",
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
    made = oci.write(out, tag, layer, oci.Description(_CONFIG, _labels(), "python -m container.build"))
    return Image(made.digest, made.size, layer.size, tuple(listed))


def _labels() -> dict[str, str]:
    """What the image says of itself (image-spec ``annotations.md``)."""
    return {
        "org.opencontainers.image.title": "proa-scheduler",
        "org.opencontainers.image.description": "Takes the nodes of a cluster from one release to the next",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": f"debian:{debian.SUITE}",
    }


@click.command(epilog="Example: python -m container.build -o build/image")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("build/image"), help=("The layout folder to write.")
)
@click.option("--tag", default=VERSION, help="The image's tag in the layout.")
def cli(out: Path, tag: str) -> None:
    """Build the container image of scheduler and proxy as an OCI layout."""
    image = build(out, tag)
    sizes = f"{image.packed / (1 << 20):.1f} MiB to pull, {image.unpacked / (1 << 20):.1f} MiB unpacked"
    click.echo(f"oci:{out}:{tag}@{image.digest}\n{sizes}, {len(image.packages)} packages", file=sys.stdout)


if __name__ == "__main__":
    run_command(cli, "container.build")
