"""The JSON Schema of what ``proa-disk`` reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.core.artifact.schemas import HEX64, Schema, flag, listing, nullable, number, record, report, text
from proa.partition.boot.bootstate import TRIES_MAX, Slot
from proa.partition.disk.layout import NAMES

NAME: Final = "proa.disk/v1"
SLOT: Final = text("A slot.", of=[slot.value for slot in Slot])

_PARTITION: Final[Mapping[str, Schema]] = {
    "number": number("From 1.", 1),
    "name": text("Unique on the disk.", of=NAMES),
    "offset": number("Bytes from the start of the disk."),
    "size": number("Bytes."),
    "type": text("The GUID of its type."),
    "guid": text("Its own GUID."),
}
_HOLDS: Final = record(
    "What was found in it.",
    kind=text("What it is.", of=["empty", "fat", "erofs", "ext4", "unknown"]),
    size=nullable(number("Bytes of the file system, where it says so.")),
    name=text("Its label or UUID, where it has one."),
)
_STATE: Final = record(
    "A valid copy of the boot state.",
    seq=number("The higher one counts.", 1),
    good=SLOT,
    trial=nullable(SLOT),
    left=number(f"Tries that are left, at most {TRIES_MAX}."),
    alt=flag("Whether the slot that is not good is known to be good too."),
)
_SLOT: Final = record(
    "A slot.",
    holds=text("Whether both its partitions hold something.", of=["empty", "half", "filled"]),
    uki=text("What `UKI-x` holds."),
    root=text("What `ROOT-x` holds."),
)
_BOOTED: Final = record(
    "The slot that this machine runs from.",
    slot=SLOT,
    root_hash=text("Of the verity device that is the root.", HEX64),
    root_device=text("The partition below it."),
    loader_agrees=nullable(flag("Whether the firmware's variable names the same disk; null if there is none.")),
)


def _layout(**more: Schema) -> dict[str, Schema]:
    return {
        "disk_size": number("Bytes of the disk."),
        "sector_size": {"enum": [512, 4096], "description": "Bytes of a logical sector."},
        "guid": text("The disk's own GUID."),
        "unallocated": number("Bytes behind the last partition."),
        "grown": flag("Whether the first boot has grown PERSIST and given the disk its own GUIDs."),
        "partitions": listing("In order.", record("A partition.", **_PARTITION, **more)),
    }


SCHEMAS: Final[Mapping[str, Schema]] = {
    NAME: {
        "description": "A disk, as the verbs of `proa-disk` tell it.",
        "anyOf": [
            report(NAME, "`plan`, `create` and `grow`: a layout.", **_layout()),
            report(
                NAME,
                "`show`: a disk as it is.",
                disk=text("The device or image file."),
                **_layout(holds=_HOLDS),
                booted=nullable(_BOOTED),
                slots=record("Both slots.", **{slot.value: _SLOT for slot in Slot}),
                state=record(
                    "The boot state (docs/reference/boot-state.md).",
                    counts=nullable(number("The copy that counts; null if none is valid.", 1)),
                    copies=listing("Both copies; null for one that is not valid.", nullable(_STATE)),
                ),
            ),
            report(
                NAME,
                "`reset`: what was emptied.",
                disk=text("The device or image file."),
                reset=text("The partition.", of=["PERSIST"]),
                size=number("Bytes of it."),
                when=text("`next-boot` for the disk that the machine runs from.", of=["now", "next-boot"]),
                dry_run=flag("Whether nothing was done."),
            ),
        ],
    }
}
"""The schemas of this package, by name."""
