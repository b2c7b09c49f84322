"""Whether a node that runs one build would take the release of another: found out without booting anything."""

from __future__ import annotations

import mmap
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from proa.agent.node.policy import Door, Policy, Subject
from proa.builder.formats.erofs import Image
from proa.core.artifact.release_artifact import OpenedRelease, open_release
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.signing import trust
from proa.core.signing.trust import Trust
from proa.partition.disk.readtable import read_layout

_SLOT: Final = "ROOT-A"
"""What a fresh disk boots from."""


def check_acceptance(disk: Path, release: Path) -> None:
    """Ask what the node asks: signature, kind of node, serial, deny list, expiry.

    Args:
        disk: The disk image of the build that the node runs.
        release: The OCI layout of the release that it is to be upgraded to.

    Raises:
        ProaError: What the node would refuse it with; ``NO_DISK`` or ``VERITY`` where the disk image is none.
    """
    believed = trust_of(disk)
    with open_source(parse(f"oci:{release}")) as source:
        try:
            opened = open_release(source, believed)
        except ProaError as error:
            hint = "Sign it with a key that the older build lists under [trust], or rehearse from a build that does."
            raise ProaError(error.code, f"the node would refuse it: {error.message}", at=release, hint=hint) from error
    policy = Policy(believed.compatible, believed.floor, frozenset(believed.deny))
    policy.check(Door.INSTALL, _subject(opened, release), datetime.now(UTC))


def trust_of(disk: Path) -> Trust:
    """Whom a node believes that boots a disk image for the first time.

    Raises:
        ProaError: ``NO_TRUST`` if its root says nothing of that, ``NO_DISK`` or ``VERITY`` if there is no such root.
    """
    extent = next((one for one in read_layout(disk).partitions if one.name == _SLOT), None)
    if extent is None:
        raise ProaError(Code.NO_DISK, f"it has no partition {_SLOT}", at=disk, hint="Name the output of a build.")
    with os_errors(disk), disk.open("rb") as file, tempfile.TemporaryDirectory(prefix="proa-trust-") as name:
        with mmap.mmap(file.fileno(), extent.size, offset=extent.start, prot=mmap.PROT_READ) as data:
            image = Image(data)
            for path in image.files(str(trust.FOLDER)):
                (Path(name) / Path(path).name).write_bytes(image.read(path))
        try:
            return trust.load(Path(name), None)
        except ProaError as error:
            raise ProaError(error.code, f"{trust.FOLDER} of its root: {error.message}", at=disk) from error


def _subject(opened: OpenedRelease, release: Path) -> Subject:
    document = opened.release
    names = (opened.manifest_digest, document.root.root_hash, document.version)
    what = f"the release in {release}"
    return Subject(what, document.compatible, document.serial, names, document.expires, opened.signers)
