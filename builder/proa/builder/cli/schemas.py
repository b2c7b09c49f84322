"""The JSON Schemas of what ``proa-build`` reports, and of what the initrd leaves in ``/run/proa/boot.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.core.artifact.schemas import (
    DIGEST,
    HEX64,
    Schema,
    flag,
    listing,
    number,
    record,
    report,
    seconds,
    text,
)
from proa.core.release.document import MEDIA_TYPES
from proa.core.runtime.errors import Code
from proa.partition.cli.schemas import SLOT
from proa.partition.disk.layout import NAMES

_NAME: Final = text("The product line.")
_VERSION: Final = text("The release's version.")
_ROOT_HASH: Final = text("The release's true name.", HEX64)
_MANIFEST: Final = text("Of the manifest, which is what is signed.", DIGEST)
_BLOBS: Final = tuple(MEDIA_TYPES)


def _each_blob(what: str, value: Schema) -> Schema:
    return record(what, **dict.fromkeys(_BLOBS, value))


_CHECK: Final = report(
    "proa.check/v1",
    "`proa-build check`: every error of a configuration.",
    errors=listing(
        "Empty if there is none; the exit status is 2 otherwise.",
        record(
            "An error.",
            code=text("The stable code.", of=[code.name for code in Code]),
            message=text("What is wrong."),
            at=text("file:line:column."),
            hint=text("What is allowed, or what was probably meant."),
        ),
    ),
)

_SUMMARY: Final = report(
    "proa.summary/v1",
    "`proa-build summary`: every setting as it holds, and the layout of the disk.",
    config=text("The configuration file."),
    settings=listing(
        "In the order of docs/reference/settings.md.",
        record(
            "A setting.",
            name=text("As `disk.root`, or `file[0].path`."),
            value={"description": "Sizes in bytes, times in seconds."},
            origin=text("file:line:column, `default`, `derived`, or the option that gave it."),
        ),
    ),
    layout=record(
        "The disk.",
        disk_size=number("Bytes of the disk."),
        sector_size={"enum": [512, 4096], "description": "Bytes of a sector."},
        disk_guid=text("The disk's GUID."),
        partitions=listing(
            "In order.",
            record(
                "A partition.",
                number=number("From 1.", 1),
                name=text("Unique on the disk.", of=NAMES),
                start=number("Bytes from the start of the disk."),
                size=number("Bytes."),
                type_guid=text("The GUID of its type."),
                guid=text("Its own GUID."),
                attributes=number("GPT's attribute bits."),
            ),
        ),
        free=number("Bytes that no partition has."),
    ),
)

_BUILD: Final = report(
    "proa.build/v1",
    "`proa-build image`, and the file `build.json` in its output folder.",
    name=_NAME,
    version=_VERSION,
    serial=number("Orders the releases of a product line."),
    architecture=text("As Debian names it."),
    created=text("The time in everything built (RFC 3339, UTC)."),
    root_hash=_ROOT_HASH,
    digest=_MANIFEST,
    digests=_each_blob("Of each blob of the release.", text("A digest.", DIGEST)),
    sizes=record(
        "Bytes on the disk.",
        root=number("The root file system."),
        tree=number("Its verity tree."),
        boot=number("The image of `UKI-x`."),
    ),
    download=_each_blob("Bytes of each blob, as it is fetched.", number("Bytes.")),
    signed=flag("Whether keys were given."),
    seconds=seconds("The whole build."),
    cache_hits=number("Steps whose result was kept from an earlier build."),
    steps=listing(
        "In order.",
        record(
            "A step.",
            name=text("Its name."),
            key=text("The hash of all that went into it.", HEX64),
            digest=text("The hash of all that came out of it; empty if no other step needs it."),
            cached=flag("Whether its result was kept from an earlier build."),
            seconds=seconds("What it took."),
        ),
    ),
)

_PLAN: Final = report(
    "proa.build-plan/v1",
    "`proa-build image --dry-run`: what a build would do.",
    output=text("The output folder."),
    epoch=number("The time in everything built, in seconds since 1970."),
    signed=flag("Whether keys were given."),
    steps=listing(
        "In order.",
        record(
            "A step.",
            name=text("Its name."),
            title=text("The same for people."),
            plan=text("`kept`, or `made` and why, as far as it is known before the steps before it ran."),
        ),
    ),
)

_PUSH: Final = report(
    "proa.push/v1",
    "`proa-build push`.",
    reference=text("With the digest: what to give to nodes."),
    digest=_MANIFEST,
    version=_VERSION,
    root_hash=_ROOT_HASH,
    bytes=number("Of all blobs."),
    pushed=flag("False for a dry run."),
)

_VERIFY: Final = report(
    "proa.verify/v1",
    "`proa-build verify`, when all holds; else the exit status is 3 and the document is `proa.error/v1`.",
    reference=text("As it was given."),
    digest=_MANIFEST,
    name=_NAME,
    version=_VERSION,
    root_hash=_ROOT_HASH,
    signers=listing("The keys that have signed.", text("SHA-256 of the key's DER form.", HEX64)),
    checked=listing("What was checked, in words.", text("One thing.")),
    ok={"const": True, "description": "Always."},
)

_BOOT: Final = record(
    "`/run/proa/boot.json`: what the initrd found out about this boot. Health checks may read it.",
    schema={"const": "proa.boot/v1", "description": "The name of this schema."},
    slot=SLOT,
    disk=text("The disk."),
    root=text("The partition of the root."),
    root_hash=_ROOT_HASH,
    trial=flag("Whether this boot is a trial."),
    left=number("Tries that are left after this one."),
    first_boot=flag("Whether this is the disk's first boot."),
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "proa.boot/v1": _BOOT,
    "proa.build/v1": _BUILD,
    "proa.build-plan/v1": _PLAN,
    "proa.check/v1": _CHECK,
    "proa.push/v1": _PUSH,
    "proa.summary/v1": _SUMMARY,
    "proa.verify/v1": _VERIFY,
}
"""The schemas of this package, by name."""
