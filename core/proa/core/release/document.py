"""The release document: what a release is, as it is signed (docs/reference/release.md).

One OCI image manifest of ``artifactType`` :data:`ARTIFACT_TYPE` holds the document as its config and the
payload as its layers. The manifest's digest is what is signed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from proa.core.release import verity
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json

SCHEMA: Final = "proa.release/v1"
ARTIFACT_TYPE: Final = "application/vnd.proa.release.v1+json"
CONFIG_TYPE: Final = ARTIFACT_TYPE
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "root": "application/vnd.proa.root.v1+zstd",
    "map": "application/vnd.proa.map.v1",
    "tree": "application/vnd.proa.verity.v1+zstd",
    "boot": "application/vnd.proa.boot.v1+zstd",
    "sbom": "application/spdx+json",
}
"""Blob name to media type, in the order of the manifest's layers."""

LAYOUT_VERSION: Final = 1
"""The disk layout that this version writes and knows (docs/reference/layout.md)."""
LOADER_VERSION: Final = 1
"""The protocol between GRUB's frozen script and the boot state."""
BLOCK_SIZE: Final = verity.BLOCK_SIZE
"""Bytes of a verity block."""
FRAME_SIZE: Final = 128 * 1024
"""Bytes of image in one zstd frame, unless the document says otherwise."""

_HEX64 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+~-]{0,62}[A-Za-z0-9])?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)", re.ASCII)
_SALT = re.compile(r"(?:[0-9a-f]{2}){1,64}")
_MAX_SIZE: Final = 1 << 45


@dataclass(frozen=True)
class Blob:
    """A blob of the release: its digest (``sha256:...``) and its size in bytes, as fetched."""

    digest: str
    size: int


@dataclass(frozen=True)
class Root:
    """The root image and its verity tree, as they stand in ``ROOT-x``."""

    filesystem: str
    size: int
    """Bytes of the file system, a multiple of ``block_size``; the tree begins right behind it."""
    block_size: int
    root_hash: str
    """The release's true name, in hexadecimal."""
    salt: str
    """One per product line, in hexadecimal."""
    tree_size: int
    """Bytes of the verity tree without superblock."""
    frame_size: int
    """Bytes of image in one frame."""


@dataclass(frozen=True)
class Boot:
    """The image of ``UKI-x``: a small FAT file system with the signed unified kernel image."""

    size: int
    digest: str
    uki_digest: str


@dataclass(frozen=True)
class Requires:
    """What the node must have."""

    layout: int
    agent: str
    """The lowest version of the agent that may install it."""
    loader: int


@dataclass(frozen=True)
class Release:
    """The release document.

    Attributes:
        name: The product line.
        version: What people call it; a hint.
        architecture: As Debian names it, ``amd64``.
        compatible: Which kind of node may take it.
        created: When it was built (RFC 3339, UTC).
        serial: Orders releases of one product line.
        floor: The lowest serial a node may go back to once it has booted this release.
        expires: When nodes stop to install it (RFC 3339, UTC); empty for never.
    """

    name: str
    version: str
    architecture: str
    compatible: str
    created: str
    serial: int
    floor: int
    root: Root
    boot: Boot
    requires: Requires
    blobs: Mapping[str, Blob]
    expires: str = ""
    critical: tuple[str, ...] = ()
    """Names of fields that a reader must know; a name that it does not know is refused."""

    def encode(self) -> bytes:
        """The document's bytes: JSON with sorted keys, so that equal releases are equal bytes."""
        document = {"schema": SCHEMA} | dataclasses.asdict(self)
        return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()

    @property
    def slot_size(self) -> int:
        """Bytes that ``ROOT-x`` must have at least."""
        return self.root.size + self.root.tree_size


def decode(data: bytes) -> Release:
    """Read and check a release document.

    Fields that are not known are ignored unless ``critical`` names them; duplicate keys, numbers out of
    range and wrong types are refused.

    Raises:
        ProaError: ``RELEASE``, with the field in ``at``.
    """
    document = load_json(data, Code.RELEASE)
    fields = _Fields(document, "")
    fields.text("schema", re.compile(re.escape(SCHEMA)))
    known = {field.name for field in dataclasses.fields(Release)} | {"schema"}
    critical = tuple(fields.strings("critical")) if "critical" in document else ()
    for name in critical:
        if name not in known:
            raise ProaError(Code.RELEASE, f"needs {_shown(name)}, which this version does not know", at="critical")
    root, boot, requires = fields.child("root"), fields.child("boot"), fields.child("requires")
    blobs = fields.child("blobs")
    release = Release(
        name=fields.text("name", _NAME),
        version=fields.text("version", _VERSION),
        architecture=fields.text("architecture", _NAME),
        compatible=fields.text("compatible", _NAME),
        created=fields.time("created"),
        serial=fields.number("serial", 0, 1 << 53),
        floor=fields.number("floor", 0, 1 << 53),
        root=Root(
            filesystem=root.text("filesystem", re.compile("erofs")),
            size=root.number("size", 2 * BLOCK_SIZE, _MAX_SIZE, BLOCK_SIZE),
            block_size=root.number("block_size", BLOCK_SIZE, BLOCK_SIZE),
            root_hash=root.text("root_hash", _HEX64),
            salt=root.text("salt", _SALT),
            tree_size=root.number("tree_size", BLOCK_SIZE, _MAX_SIZE, BLOCK_SIZE),
            frame_size=root.number("frame_size", BLOCK_SIZE, 1 << 22, BLOCK_SIZE),
        ),
        boot=Boot(
            size=boot.number("size", BLOCK_SIZE, 1 << 32, BLOCK_SIZE),
            digest=boot.text("digest", _DIGEST),
            uki_digest=boot.text("uki_digest", _DIGEST),
        ),
        requires=Requires(
            layout=requires.number("layout", 1, 1 << 16),
            agent=requires.text("agent", _VERSION),
            loader=requires.number("loader", 1, 1 << 16),
        ),
        blobs={name: _blob(blobs.child(name)) for name in MEDIA_TYPES},
        expires=fields.time("expires") if document.get("expires", "") != "" else "",
        critical=critical,
    )
    if release.floor > release.serial:
        raise ProaError(Code.RELEASE, f"floor {release.floor} is above serial {release.serial}", at="floor")
    if release.root.tree_size != (right := verity.tree_size(release.root.size)):
        what = f"{release.root.tree_size} bytes, where the tree of such an image has {right}"
        raise ProaError(Code.RELEASE, what, at="root.tree_size")
    return release


@dataclass(frozen=True)
class _Fields:
    values: Mapping[str, Any]
    path: str

    def _get(self, name: str) -> Any:
        if name not in self.values:
            raise ProaError(Code.RELEASE, "a required field is missing", at=self.path + name)
        return self.values[name]

    def child(self, name: str) -> _Fields:
        value = self._get(name)
        if not isinstance(value, dict):
            raise ProaError(Code.RELEASE, "must be an object", at=self.path + name)
        return _Fields(value, f"{self.path}{name}.")

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self._get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ProaError(Code.RELEASE, f"{_shown(value)} does not match {pattern.pattern}", at=self.path + name)
        return value

    def number(self, name: str, low: int, high: int, step: int = 1) -> int:
        value = self._get(name)
        if type(value) is not int or not low <= value <= high or value % step:
            what = f"{_shown(value)} is not a number from {low} to {high}"
            raise ProaError(Code.RELEASE, what + (f", a multiple of {step}" if step > 1 else ""), at=self.path + name)
        return value

    def time(self, name: str) -> str:
        value = self._get(name)
        if isinstance(value, str) and _TIME.fullmatch(value):
            with contextlib.suppress(ValueError):
                datetime.fromisoformat(value)
                return value
        raise ProaError(Code.RELEASE, f"{_shown(value)} is not an RFC 3339 time in UTC", at=self.path + name)

    def strings(self, name: str) -> list[str]:
        value = self._get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ProaError(Code.RELEASE, "must be a list of strings", at=self.path + name)
        return value


def _shown(value: Any) -> str:
    """A value from untrusted JSON as it may stand in an error: short, and never a nested one."""
    return repr(value)[:80] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _blob(fields: _Fields) -> Blob:
    return Blob(fields.text("digest", _DIGEST), fields.number("size", 1, _MAX_SIZE))
