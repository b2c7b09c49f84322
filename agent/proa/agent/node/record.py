"""What the agent remembers, in ``agent.json`` on PERSIST: slots, the floor, the trial under way, the last result.

Each part fails alone: one that an older or a newer agent wrote in a way that this one cannot read counts as not there,
is told, and stays in the file as it is until something else takes its place. A file that is no record at all is set
aside. Nothing of this can make the agent accept more: the floor also stands in the booted release, a slot without a
record is not armed, and an order that cannot be read still bars older ones.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from proa.agent.node.cause import Cause
from proa.agent.node.failure import HealthFailure
from proa.agent.node.keeping import kept
from proa.agent.node.order_book import AcceptedOrder, check, unreadable
from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, Part, document, field, keys, limits, parse
from proa.core.schema.values import CodeName, Count, Hex, Label, Time
from proa.partition.boot.bootstate import Slot

if TYPE_CHECKING:
    from proa.core.release.document import Release

Letter = Annotated[str, limits(enum=tuple(slot.value for slot in Slot))]
"""A slot, by its letter."""
_Size = Annotated[int, limits(minimum=0, maximum=(1 << 63) - 1)]


@dataclass(frozen=True)
class Bytes(Part):
    """Bytes by origin."""

    fetch: Count = field("Fetched from the registry.")
    copy: Count = field("Copied from a slot of this node.")
    keep: Count = field("Already in place.")
    write: Count = field("Written to the slot.")


@dataclass(frozen=True)
class MovedBytes(Bytes):
    """Bytes by origin, of an install that is done."""

    avoid: Count = field("Of the written, zeros that the device made itself.", default=0)


@dataclass(frozen=True)
class SlotRecord(Part):
    """What was put into a slot, or found in it when it was booted."""

    version: str = field("The release's version.")
    root_hash: Hex = field("The release's root hash.")
    salt: Hex = field("The salt of its verity tree.")
    root_size: _Size = field("Size of the file system in bytes; the tree starts right after it.")
    name: str = field("The product line.", default="")
    manifest: str = field("The release's manifest digest; empty for what the factory wrote.", default="")
    serial: _Size = field("The release's serial.", default=0)
    floor: _Size = field("The release's floor.", default=0)
    boot_size: _Size = field("Bytes of the `UKI-x` image; 0 if unknown.", default=0)
    boot_digest: str = field("The digest of that image.", default="")
    complete: bool = field("Whether the whole release was written and read back.", default=False)
    failed: bool = field("Whether its last trial returned.", default=False)
    compatible: str = field("The kind of node that the release is for; empty if unknown.", default="")
    expires: str = field("When the release expires; empty for never.", default="")
    signers: tuple[str, ...] = field("Ids of the keys that had signed it when it was installed.", default=())
    downgrade: bool = field(
        "Whether it was asked for although its serial is below one that was committed.", default=False, left_out=True
    )
    bytes: MovedBytes | None = field("What its install fetched, copied and wrote.", default=None, left_out=True)
    settings: str | None = field(
        "What it allows to be set, as JSON; empty for nothing, null if that is not known.", default=None, left_out=True
    )

    @classmethod
    def of(cls, release: Release, manifest: str, signers: tuple[str, ...] = ()) -> SlotRecord:
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
            compatible=release.compatible,
            expires=release.expires,
            signers=signers,
            settings=release.settings,
        )


@dataclass(frozen=True)
class TrialRecord(Part):
    """A trial that was armed and is neither committed nor given up."""

    slot: Letter = field("The slot that is tried.")
    version: str = field("The version of the release in it.")
    root_hash: Hex = field("The root hash of the release in it.")
    tries: Count = field("Boots that it gets.")
    seq: Count = field(
        "SEQ of the boot state that arms it: written after this record, so it may never have been written."
    )
    armed: Time = field("When it was armed.")
    boot_id: str = field("The boot in which it was armed.", default="")
    logs: tuple[Hex, ...] | None = field(
        "Digests of the kernel logs that pstore held by then: they say nothing about this trial, whatever their times.",
        default=None,
        left_out=True,
    )
    failed_before: tuple[str, ...] = field(
        "Units that had failed in that boot already: when they fail in the trial too, it was not the release.",
        default=(),
        left_out=True,
    )


@dataclass(frozen=True)
class Kept(Part):
    """What a trial made of /etc."""

    kept: str = field("The folder where it is now.")
    files: tuple[str, ...] = field("The first names of what differs.")


@dataclass(frozen=True)
class Returned(Part):
    """Why a trial came back."""

    slot: Letter = field("The slot that was tried.")
    version: str = field("The version of the release in it.")
    root_hash: Hex = field("The root hash of the release in it.")
    time: Time = field("When the return was noticed (RFC 3339).")
    reason: str = field("Why, in one sentence.")
    tries: Count = field("Attempts that it had.")
    used: Count = field("Attempts that were used.")
    failures: tuple[HealthFailure, ...] = field("What its last look at itself found.", default=())
    kernel: tuple[str, ...] = field("The last messages of the trial's kernel, if they survived.", default=())
    etc: Kept | None = field("What it changed in /etc; null if nothing.", default=None)
    code: CodeName = field(
        "`TRIAL_RETURNED`, or `NO_COMMIT_ORDER` for a healthy one that nobody ordered to be committed.",
        default=Code.TRIAL_RETURNED.name,
    )
    cause: Label = field(
        f"The cause in one word: {', '.join(f'`{one.value}`' for one in Cause)}; empty in a record of an older agent.",
        default="",
    )
    journal: str = field(
        "File with the journal of its boots (`proa-agent returned --journal`); empty if there is none.", default=""
    )


@dataclass(frozen=True)
class LastResult(Part):
    """How the last piece of work ended."""

    verb: str = field("What the step did.")
    ok: bool = field("Whether it ended well.")
    time: Time = field("When it ended (RFC 3339).")
    code: str = field("The error's code; empty if it ended well.", default="")
    message: str = field("The error's text.", default="")
    details: Mapping[str, Any] = field("Further facts, such as the version.", default={})


@dataclass(frozen=True)
class AgentRecord(Document, schema="proa.agent-state/v1"):
    """All of it."""

    floor: Count = field("The lowest serial that may be installed.", default=0)
    committed: Count = field("The highest serial that was ever committed.", default=0, left_out=True)
    slots: Mapping[Slot, SlotRecord] = field("What is in each slot of which anything is known.", default={})
    trial: TrialRecord | None = field("The trial that is armed or runs.", default=None)
    last: LastResult | None = field("The last result of a verb.", default=None)
    returned: Returned | None = field("Why the last trial returned; removed by the next activation.", default=None)
    layout: Count = field(
        "Version of the disk's layout, as the first release on this disk said it; 0 if unknown.", default=0
    )
    loader: Count = field(
        "Version of the disk's GRUB script, in the same way: both are as old as the disk, not as the release.",
        default=0,
    )
    order: AcceptedOrder | None = field("The order that the cluster gave last, and how far it has come.", default=None)
    other: Mapping[str, Any] = field("Keys of a newer version, kept as they are.", default={}, others=True)

    def with_slot(self, slot: Slot, record: SlotRecord) -> AgentRecord:
        """The same with another record of one slot."""
        return dataclasses.replace(self, slots={**self.slots, slot: record})


def load(path: Path) -> tuple[AgentRecord, str]:
    """The record, and what was wrong with the file (empty if nothing); a file that is not there is an empty record.

    Raises:
        ProaError: ``DEVICE`` if the file is there and cannot be read.
    """
    if not path.exists():
        return AgentRecord(), ""
    with files.os_errors(path):
        data = path.read_bytes()
    try:
        record, problems = read(load_json(data, Code.CONFIG_SYNTAX))
    except ProaError as error:
        return AgentRecord(), f"{path} is damaged and is ignored: {error}"
    return record, f"{path}: parts that cannot be read are ignored: {'; '.join(problems)}" if problems else ""


def read(written: Mapping[str, Any]) -> tuple[AgentRecord, tuple[str, ...]]:
    """The record in a JSON object, and what is wrong with the parts that could not be read.

    Raises:
        ProaError: ``CONFIG_VALUE`` if it is no record at all.
    """
    empty = parse(AgentRecord, {"schema": written.get("schema")})
    known, problems = keys(AgentRecord), list[str]()
    found: dict[str, Any] = {"other": {key: value for key, value in written.items() if key not in (*known, "schema")}}
    for name, value in _pieces(written, known):
        try:
            piece = getattr(parse(AgentRecord, {"schema": AgentRecord.SCHEMA, name: value}), name)
            if isinstance(piece, AcceptedOrder):
                check(piece.order)
        except ProaError as error:
            problems.append(error.message if error.message.startswith(name) else f"{name}: {error.message}")
            piece = unreadable(value) if name == "order" else None
            if piece is None:
                continue
        found[name] = {**found.get(name, {}), **piece} if name == "slots" else piece
    return dataclasses.replace(empty, **found), tuple(problems)


def _pieces(written: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """What is read by itself: each part, and of the slots each one."""
    for name in known:
        value = written.get(name)
        if name == "slots" and isinstance(value, Mapping):
            yield from ((name, {slot: one}) for slot, one in value.items())
        elif name in written:
            yield name, value


def save(path: Path, record: AgentRecord) -> None:
    """Replace the file; one that is damaged is kept beside it as ``agent.json.damaged``.

    What is in the file and was not understood stays there, as long as what it belongs to is still the same.

    Raises:
        ProaError: ``DISK_FULL`` or ``DEVICE``.
    """
    wanted = document(record)
    with files.os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            wanted = _over(path, wanted)
    files.replace(path, (json.dumps(wanted, indent=1) + "\n").encode(), 0o600)


def _over(path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """What is written over a file that is there."""
    try:
        raw = load_json(path.read_bytes(), Code.CONFIG_SYNTAX)
        before, _ = read(raw)
    except ProaError:
        path.replace(path.with_name(path.name + ".damaged"))
        return wanted
    return kept(raw, document(before), wanted)
