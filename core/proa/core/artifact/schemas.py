"""JSON Schemas (draft 2020-12) of what crosses a process: reports, documents; and the few words to write them in.

Every package has a module ``schemas`` with its table ``SCHEMAS``; ``docs/reference/json.md`` and the files beside it
are generated from all of them. Objects are open, because keys may be added at any time and readers must bear it;
:func:`closed` is for tests, which want to know of every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proa.core.release.document import MEDIA_TYPES
from proa.core.runtime.errors import Code, Exit

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
HEX64: Final = "^[0-9a-f]{64}$"
DIGEST: Final = "^sha256:[0-9a-f]{64}$"


def text(what: str, pattern: str = "", of: Iterable[str] = ()) -> Schema:
    """A string: any, one that matches a pattern, or one of a few."""
    words = list(of)
    limits: Schema = {"enum": words} if words else {"pattern": pattern} if pattern else {}
    return {"type": "string", "description": what} | limits


def number(what: str, low: int = 0) -> Schema:
    """A whole number, not below ``low``."""
    return {"type": "integer", "description": what, "minimum": low}


def seconds(what: str) -> Schema:
    """A span of time in seconds."""
    return {"type": "number", "description": what, "minimum": 0}


def flag(what: str) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": what}


def listing(what: str, items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "description": what, "items": items}


def mapping(what: str, values: Schema) -> Schema:
    """An object with keys that are not known beforehand."""
    return {"type": "object", "description": what, "additionalProperties": values}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}], "description": schema.get("description", "")}


def record(what: str, optional: Iterable[str] = (), /, **properties: Schema) -> Schema:
    """An object; all keys but the ``optional`` ones are always there."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "description": what, "required": required, "properties": properties}


def report(name: str, what: str, optional: Iterable[str] = (), /, **properties: Schema) -> Schema:
    """What a command prints with ``--json``: its own name and the version come first."""
    head: Mapping[str, Schema] = {
        "schema": {"const": name, "description": "The name of this schema."},
        "proa": text("The version of Proa that wrote it."),
    }
    return record(what, optional, **head, **properties)


def closed(schema: Schema) -> Schema:
    """The same schema with no key allowed that it does not name."""
    strict: Schema = {}
    for key, value in schema.items():
        if isinstance(value, list):
            strict[key] = [closed(item) if isinstance(item, dict) else item for item in value]
        else:
            strict[key] = closed(value) if isinstance(value, dict) else value
    # A property may itself be called "properties"; none of ours is.
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        strict.setdefault("additionalProperties", False)
    return strict


def _error(*, bundle: bool) -> Schema:
    properties = {
        "code": text("The stable code (docs/reference/errors.md).", of=[code.name for code in Code]),
        "message": text("What happened."),
        "at": text("Where: file:line:column, a device, a URL; empty if nowhere in particular."),
        "hint": text("What to do about it."),
        "exit": {"enum": [int(status) for status in Exit], "description": "The exit status of the command."},
    }
    if not bundle:
        return report("proa.error/v1", "One of several errors.", **properties)
    several = listing("All of them, when there are several.", _error(bundle=False))
    what = "How a command failed, on standard output in place of its report."
    return report("proa.error/v1", what, ["errors"], **properties, errors=several)


_BLOB: Final = record(
    "A blob.",
    digest=text("Of the blob as it is fetched.", DIGEST),
    size=number("Bytes of it.", 1),
)

RELEASE: Final = record(
    "The release document: what a release is, as it is signed. `proa-build inspect --json` adds the keys `proa`,"
    " `reference`, `digest` and `packages`.",
    ["critical", "expires", "proa", "reference", "digest", "packages"],
    schema={"const": "proa.release/v1", "description": "The name of this schema."},
    name=text("The product line."),
    version=text("What people call it; a hint."),
    architecture=text("As Debian names it, `amd64`."),
    compatible=text("Which kind of node may take it."),
    created=text("When it was built (RFC 3339, UTC)."),
    serial=number("Orders the releases of a product line."),
    floor=number("The lowest serial that a node may go back to once it has booted this release."),
    expires=text("When nodes stop to install it (RFC 3339, UTC); empty for never."),
    critical=listing("Fields that a reader must know; one that it does not know is refused.", text("A field.")),
    root=record(
        "The root file system and its verity tree, as they stand in `ROOT-x`.",
        filesystem=text("The kind of file system.", of=["erofs"]),
        size=number("Bytes of the file system; the tree begins right behind it."),
        block_size=number("Bytes of a verity block."),
        root_hash=text("The release's true name.", HEX64),
        salt=text("Of the tree; one per product line."),
        tree_size=number("Bytes of the tree, which has no superblock."),
        frame_size=number("Bytes of image in one zstd frame."),
    ),
    boot=record(
        "The image of `UKI-x`: a small FAT file system with the signed unified kernel image.",
        size=number("Bytes of the image."),
        digest=text("Of the image, uncompressed.", DIGEST),
        uki_digest=text("Of the file /EFI/proa/uki.efi in it.", DIGEST),
    ),
    requires=record(
        "What the node must have.",
        layout=number("The version of its disk's layout.", 1),
        agent=text("The lowest version of the agent."),
        loader=number("The version of the protocol between GRUB's script and the boot state.", 1),
    ),
    blobs=record("Every other blob of the release.", **dict.fromkeys(MEDIA_TYPES, _BLOB)),
    proa=text("The version of Proa that wrote it."),
    reference=text("Where it was looked for."),
    digest=text("Of the manifest.", DIGEST),
    packages=listing(
        "What is inside, from the bill of materials.",
        record("A package.", name=text("Its name."), version=text("Its version.")),
    ),
)
"""The release document, and what ``inspect`` prints."""

TRUST: Final = record(
    "`trust.json`: whom a node believes, besides the keys in the folder; in `/etc/proa` it can only tighten.",
    ["threshold", "compatible", "floor", "deny"],
    schema={"const": "proa.trust/v1", "description": "The name of this schema."},
    threshold=number("How many different keys must have signed.", 1),
    compatible=text("The only `compatible` that a release may have; empty for any."),
    floor=number("The lowest serial that may be installed."),
    deny=listing("What is never installed.", text("A version, root hash or manifest digest.")),
)
"""The file ``trust.json``."""

SCHEMAS: Final[Mapping[str, Schema]] = {
    "proa.error/v1": _error(bundle=True),
    "proa.release/v1": RELEASE,
    "proa.trust/v1": TRUST,
}
"""The schemas of this package, by name."""
