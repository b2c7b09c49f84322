"""The images of a test cluster's pods, made of one static program of ours: ``pause``, and a web server.

They need a checkout: neither the program's source nor ``container`` is in a wheel. So ``container`` is imported only
where it is used, after the program is there; ``proa-vm`` works without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proa.core.oci.source import Target
from proa.core.runtime.events import SILENT, Monitor
from proa.vm.support.tools import go_tool

USERS: Final = {"pause": 65535, "serve": 65532}
"""Whom each of them runs as, by the program's verb."""
_PROGRAM: Final = "workload"


def build(out: Path, verb: str, monitor: Monitor = SILENT) -> str:
    """Make the image of one verb, as an OCI layout folder; its digest.

    Args:
        out: The folder; made if it is not there.
        verb: One of :data:`USERS`.
        monitor: Where a build of the program is told.

    Raises:
        ProaError: ``TOOL_MISSING`` or ``TOOL`` when the program cannot be built; ``DEVICE`` or ``DISK_FULL``.
    """
    program = go_tool(_PROGRAM, monitor).read_bytes()
    from container import oci
    from container.layer import Layer

    layer = Layer(date=0)
    layer.write(_PROGRAM, program, 0o755)
    user = USERS[verb]
    config = {"User": f"{user}:{user}", "Entrypoint": [f"/{_PROGRAM}"], "Cmd": [verb], "WorkingDir": "/"}
    labels = {"org.opencontainers.image.title": verb}
    return oci.write(out, "latest", layer, oci.Description(config, labels, "proa.vm.kube.podimages")).digest


def deliver(out: Path, verb: str, target: Target, monitor: Monitor = SILENT) -> str:
    """:func:`build` it, and bring it to a repository that was opened with the tag that is meant; its digest.

    Raises:
        ProaError: as :func:`build`; ``AUTH``, ``REGISTRY``, ``NETWORK``.
    """
    build(out, verb, monitor)
    from container.push import push

    return push(out, target)
