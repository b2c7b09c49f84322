"""What the agent remembers, in ``agent.json`` on PERSIST: slots, the floor, the trial under way, the last result.

A file that is damaged, or says what cannot be, is set aside and an empty record takes its place: nothing in it can
make the agent accept more, since the floor also stands in the booted release, and a slot without a record is not armed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proa.agent.node.failure import Failure
from proa.agent.node.typed import Count, Hex, Label, Letter, Time, Word, build, checked
from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.partition.boot.bootstate import Slot

if TYPE_CHECKING:
    from proa.agent.node.order_book import AcceptedOrder
    from proa.core.release.document import Release

SCHEMA: Final = "proa.agent-state/v1"


@dataclass(frozen=True)
class SlotRecord:
    """What was put into a slot, or found in it when it was booted."""

    version: str
    root_hash: Hex
    salt: Hex
    root_size: Count
    """Bytes of the file system; the tree begins right behind it."""
    name: str = ""
    manifest: str = ""
    """The release's manifest digest; empty for what the factory wrote."""
    serial: Count = 0
    floor: Count = 0
    boot_size: Count = 0
    """Bytes of the ``UKI-x`` image; 0 when it is not known."""
    boot_digest: str = ""
    complete: bool = False
    """Whether all of it was written and read back."""
    failed: bool = False
    """Whether its last trial came back."""

    @classmethod
    def of(cls, release: Release, manifest: str) -> SlotRecord:
        """The record of a release that is going to be written: not complete yet."""
        return cls(
            version=release.version,
            root_hash=release.root.root_hash,
            salt=release.root.salt,
            root_size=release.root.size,
            name=release.name,
            manifest=manifest,
            serial=release.serial,
            floor=release.floor,
            boot_size=release.boot.size,
            boot_digest=release.boot.digest,
        )


@dataclass(frozen=True)
class TrialRecord:
    """A trial that was armed and is neither committed nor given up."""

    slot: Letter
    version: str
    root_hash: Hex
    tries: Count
    seq: Count
    """SEQ of the boot state that arms it: written after this record, so it may not have come to that."""
    armed: Time
    """When."""
    boot_id: str = ""
    """The boot in which it was armed."""


@dataclass(frozen=True)
class Kept:
    """What a trial made of /etc."""

    kept: str
    """The folder where it is now."""
    files: tuple[str, ...]
    """The first names of what differs."""


@dataclass(frozen=True)
class Returned:
    """Why a trial came back."""

    slot: Letter
    version: str
    root_hash: Hex
    time: Time
    """When that was noticed."""
    reason: str
    tries: Count
    used: Count
    failures: tuple[Failure, ...] = ()
    """What its last look at itself found."""
    kernel: tuple[str, ...] = ()
    """The last messages of the trial's kernel, where its end left them."""
    etc: Kept | None = None
    code: Word = Code.TRIAL_RETURNED.name
    """``NO_COMMIT_ORDER`` for a healthy trial that nobody ordered to be committed."""
    cause: Label = ""
    """A :class:`proa.agent.node.cause.Cause`; empty in what an older agent wrote."""


@dataclass(frozen=True)
class Result:
    """How the last piece of work ended."""

    verb: str
    ok: bool
    time: Time
    """When it ended."""
    code: str = ""
    """The error's code; empty if it went well."""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """All of it.

    Attributes:
        floor: The lowest serial that may be installed.
        slots: What is in each slot; none for a slot that nothing is known about.
        trial: The trial that is armed or runs.
        last: The last result of a verb.
        returned: Why the last trial came back; taken away by the next activation.
        layout: Version of the disk's layout, as the first release on this disk said it; 0 for not known.
        loader: Version of the disk's GRUB script, in the same way: both are as old as the disk, not as the release.
        order: The order that the cluster gave last, and how far it has come.
        other: Keys of a newer version of this program, kept as they are.
    """

    floor: int = 0
    slots: Mapping[Slot, SlotRecord] = field(default_factory=dict)
    trial: TrialRecord | None = None
    last: Result | None = None
    returned: Returned | None = None
    layout: int = 0
    loader: int = 0
    order: AcceptedOrder | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    def with_slot(self, slot: Slot, record: SlotRecord) -> Record:
        """The same with another record of one slot."""
        return dataclasses.replace(self, slots={**self.slots, slot: record})

    def document(self) -> dict[str, Any]:
        """As JSON keys and values."""
        return {
            **self.other,
            "schema": SCHEMA,
            "floor": self.floor,
            "slots": {slot.value: dataclasses.asdict(record) for slot, record in self.slots.items()},
            "trial": dataclasses.asdict(self.trial) if self.trial else None,
            "last": dataclasses.asdict(self.last) if self.last else None,
            "returned": dataclasses.asdict(self.returned) if self.returned else None,
            "layout": self.layout,
            "loader": self.loader,
            "order": self.order.document() if self.order else None,
        }


def load(path: Path) -> tuple[Record, str]:
    """The record, and what was wrong with the file (empty if nothing); a file that is not there is an empty record.

    Raises:
        ProaError: ``DEVICE`` if the file is there and cannot be read.
    """
    if not path.exists():
        return Record(), ""
    with files.os_errors(path):
        data = path.read_bytes()
    try:
        return _decode(load_json(data, Code.CONFIG_SYNTAX)), ""
    except (ProaError, TypeError, ValueError, KeyError) as error:
        return Record(), f"{path} is damaged and counts as empty: {error}"


def save(path: Path, record: Record) -> None:
    """Replace the file; a damaged one is kept beside it as ``agent.json.damaged``.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    with files.os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and load(path)[1]:
            path.replace(path.with_name(path.name + ".damaged"))
    files.replace(path, (json.dumps(record.document(), indent=1) + "\n").encode(), 0o600)


def _decode(document: dict[str, Any]) -> Record:
    if document.pop("schema") != SCHEMA:
        raise ValueError(f"not {SCHEMA}")
    slots = checked(document.pop("slots"), Mapping)
    return Record(
        floor=checked(document.pop("floor"), Count),
        slots={Slot(name): build(SlotRecord, values) for name, values in slots.items()},
        trial=checked(document.pop("trial", None), TrialRecord | None),
        last=checked(document.pop("last", None), Result | None),
        returned=checked(document.pop("returned", None), Returned | None),
        layout=checked(document.pop("layout", 0), Count),
        loader=checked(document.pop("loader", 0), Count),
        order=_order(document.pop("order", None)),
        other=document,
    )


def _order(values: object) -> AcceptedOrder | None:
    """The last order; what reads it is imported where there was one."""
    if values is None:
        return None
    from proa.agent.node.order_book import read

    return read(values)
